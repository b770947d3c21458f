#!/usr/bin/env python3
"""Stand-in for NIXL's contrib/wheel_add_ucx_plugins.py, with its interface and its two traps.

UCX's modules and NIXL's plugins are copied into the libraries' folder of a repaired wheel. Unless
--skip-nixl-plugins is given the plugins are in the wheel twice, for meson-python has put them there;
and the wheel is packed anew from files that lost their mode, so its programs cannot be run.
"""

import argparse
import base64
import csv
import hashlib
import os
import shutil
import subprocess
import tempfile
import zipfile
from pathlib import Path


def patchelf(*words):
    done = subprocess.run(["patchelf", *map(str, words)], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def add(libraries, source, name):
    """Copy a folder's libraries, each once; let them find what auditwheel has renamed."""
    renamed = {path.name.split("-")[0]: path.name for path in libraries.glob("*-*.so*")}
    target = libraries / name
    target.mkdir()
    for path in sorted(source.glob("*.so*")):
        if path.is_symlink() or not path.is_file():
            continue
        copied = Path(shutil.copy(path, target))
        patchelf("--set-rpath", "$ORIGIN/..:$ORIGIN", copied)
        for needed in patchelf("--print-needed", copied).splitlines():
            if new := renamed.get(needed.split(".")[0]):
                patchelf("--replace-needed", needed, new, copied)
        print(f"stand-in for NIXL: {path.name} added")
    for file in renamed.values():
        patchelf("--set-rpath", "$ORIGIN", libraries / file)


def record(folder):
    file = next(folder.glob("*.dist-info")) / "RECORD"
    rows = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        digest = base64.urlsafe_b64encode(hashlib.sha256(path.read_bytes()).digest()).decode()
        digest = f"sha256={digest.rstrip('=')}"
        row = ("", "") if path == file else (digest, path.stat().st_size)
        rows.append((path.relative_to(folder).as_posix(), *row))
    with file.open("w", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows(rows)


def rewrite(wheel, args):
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
        libraries = folder / f"{wheel.name.split('-')[0]}.libs"
        if not libraries.is_dir():
            raise SystemExit(f"stand-in for NIXL: {wheel} has no {libraries.name}")
        add(libraries, args.ucx_plugins_dir, "ucx")
        if not args.skip_nixl_plugins:
            add(libraries, args.nixl_plugins_dir, "nixl")
        record(folder)
        with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(p for p in folder.rglob("*") if p.is_file()):
                archive.write(path, path.relative_to(folder))


default = f"/usr/local/nixl/lib/{os.uname().machine}-linux-gnu/plugins"
parser = argparse.ArgumentParser(description="stand-in for NIXL's wheel_add_ucx_plugins.py")
parser.add_argument("--ucx-plugins-dir", type=Path, default=Path("/usr/lib64/ucx"))
parser.add_argument("--nixl-plugins-dir", type=Path, default=Path(default))
parser.add_argument("--skip-nixl-plugins", action="store_true")
parser.add_argument("wheel", type=Path, nargs="+")
args = parser.parse_args()
for one in args.wheel:
    rewrite(one, args)
