"""Archives of stand-ins, the same bytes on every machine: what a subproject of meson downloads."""

import io
import tarfile
from pathlib import Path

HERE = Path(__file__).parent
WHEN = 1_767_614_400
"""2026-01-05, 12:00 UTC."""


def make_archive(name: str, version: str) -> tuple[str, bytes]:
    """File name and bytes of ``<name>/<version>`` as a tar; a packer would add its own version."""
    made, folder = io.BytesIO(), HERE / name / version
    with tarfile.open(fileobj=made, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                info = tarfile.TarInfo(f"{name}-{version}/{path.relative_to(folder).as_posix()}")
                info.size, info.mtime, info.mode = path.stat().st_size, WHEN, 0o644
                with path.open("rb") as content:
                    tar.addfile(info, content)
    return f"{name}-{version}.tar", made.getvalue()
