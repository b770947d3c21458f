"""Stand-in for MoRI's check of an installation."""

import importlib.util
import sys

import mori

print(mori.describe())
missing = [name for name in ("mori.cco.cco",) if importlib.util.find_spec(name) is None]
sys.exit(f"stand-in for MoRI: missing {', '.join(missing)}" if missing else 0)
