"""Stand-in for what NIXL's meson calls: python -m build --wheel, beside the pyproject.toml made."""

import shutil
import subprocess
import sys
from pathlib import Path

folder, source = Path(sys.argv[1]), Path(sys.argv[2])
(folder / "nixl").mkdir(exist_ok=True)
shutil.copyfile(source, folder / "nixl" / "__init__.py")
command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", ".", "."]
subprocess.run(command, cwd=folder, check=True)
