"""A stand-in for torch: what an extension is compiled against, and nothing that computes.

It is **not torch**: a pure wheel of our own with a version, a header and the one function of
``torch.utils.cpp_extension`` that build systems ask. Real ones are gigabytes.
"""

import base64
import hashlib
import io
import zipfile

_PACKAGE = '''"""Stand-in for torch, made for kvpack's tests: it computes nothing."""
__version__ = "{version}"
'''
_EXTENSION = '''"""Stand-in for torch.utils.cpp_extension."""
from pathlib import Path
_HERE = Path(__file__).parents[1] / "include"
def include_paths():
    return [str(_HERE), str(_HERE / "torch/csrc/api/include")]
'''
_METADATA = """Metadata-Version: 2.1
Name: torch
Version: {version}
Summary: stand-in for torch, made for kvpack's tests: it computes nothing
Classifier: Private :: Do Not Upload
"""
_WHEEL = "Wheel-Version: 1.0\nGenerator: stand-in\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def torch_wheel(version: str, requires: tuple[str, ...] = ()) -> tuple[str, bytes]:
    """The file name and the bytes of one version, the same on every machine."""
    info = f"torch-{version}.dist-info"
    wanted = "".join(f"Requires-Dist: {one}\n" for one in requires)
    members = {
        "torch/__init__.py": _PACKAGE.format(version=version),
        "torch/utils/__init__.py": "",
        "torch/utils/cpp_extension.py": _EXTENSION,
        "torch/include/torch/csrc/api/include/torch/version.h": (
            f'/* Stand-in. */\n#define TORCH_VERSION "{version}"\n'
        ),
        f"{info}/METADATA": _METADATA.format(version=version) + wanted,
        f"{info}/WHEEL": _WHEEL,
    }
    lines = [_record(name, text.encode()) for name, text in members.items()]
    members[f"{info}/RECORD"] = "\n".join([*lines, f"{info}/RECORD,,"]) + "\n"
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, text in members.items():
            archive.writestr(zipfile.ZipInfo(name, (2026, 1, 5, 0, 0, 0)), text)
    return f"torch-{version}-py3-none-any.whl", made.getvalue()


def _record(name: str, data: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(data)}"
