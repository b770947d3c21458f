"""``python -m kvpack``."""

import sys

from kvpack.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
