"""Wheels for tests: sound ones, and ones that are wrong in exactly one way."""

import base64
import hashlib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

TAG = "cp311-cp311-manylinux_2_28_x86_64"


def record_line(path: str, data: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return f"{path},sha256={digest},{len(data)}\n"


@dataclass(frozen=True, kw_only=True)
class Wheel:
    """A wheel to be written; every part can be replaced by a wrong one."""

    filename: str = f"demo-1.0-{TAG}.whl"
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Members beside dist-info."""
    modes: Mapping[str, int] = field(default_factory=dict)
    """Unix mode per member, type bits included."""
    dist_info: str = "demo-1.0.dist-info"
    metadata: str = "Metadata-Version: 2.4\nName: Demo\nVersion: 1.0\n"
    purelib: str = "false"
    wheel: str | None = None
    record: str | None = None
    extra: Mapping[str, bytes] = field(default_factory=dict)
    """Members that RECORD does not list."""
    without: frozenset[str] = frozenset()
    """Files of dist-info to leave out."""

    def members(self) -> dict[str, bytes]:
        tags = "".join(f"Tag: {tag}\n" for tag in _expand(self.filename))
        text = f"Wheel-Version: 1.0\nGenerator: demo\nRoot-Is-Purelib: {self.purelib}\n{tags}"
        info = {
            "METADATA": self.metadata.encode(),
            "WHEEL": (text if self.wheel is None else self.wheel).encode(),
        }
        files = {"demo/__init__.py": b"", **self.files}
        files |= {f"{self.dist_info}/{name}": data for name, data in info.items()}
        lines = "".join(record_line(path, data) for path, data in files.items())
        record = lines + f"{self.dist_info}/RECORD,,\n" if self.record is None else self.record
        files[f"{self.dist_info}/RECORD"] = record.encode()
        gone = {f"{self.dist_info}/{name}" for name in self.without}
        return {path: data for path, data in files.items() if path not in gone} | dict(self.extra)

    def write(self, folder: Path) -> Path:
        path = folder / self.filename
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in self.members().items():
                info = zipfile.ZipInfo(name)
                info.filename = name  # ZipInfo cuts at NUL
                info.compress_type = zipfile.ZIP_DEFLATED
                info.external_attr = self.modes.get(name, 0o100644) << 16
                archive.writestr(info, data)
        return path


def _expand(filename: str) -> list[str]:
    python, abi, platforms = filename.removesuffix(".whl").split("-")[-3:]
    return [f"{python}-{abi}-{platform}" for platform in platforms.split(".")]
