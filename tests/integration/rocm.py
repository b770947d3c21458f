"""A stand-in of ROCm's image, pushed to a real registry that stands for Docker Hub.

It has what a real one has and a builder root must not get wrong: three layers, a folder that is a
link to a link (update-alternatives), a hard link, files of other owners, an older version that a
later layer removes, a list of platforms. Its library is a stub like CUDA's: no compiler is needed.
"""

import gzip
import hashlib
import io
import json
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path

from kvpack.build.stub import stub
from kvpack.names import Arch

TOOL = Path(__file__).parents[1] / "standins" / "mori" / "1.2.4" / "tools" / "make-hip-standin"
REAL = "rocm/dev-almalinux-8:7.2.1-complete"
"""What the real recipes name, below ``docker.io``."""
Content = Mapping[str, bytes | str]
"""Path -> bytes of a file; ``-> target`` of a link, ``= target`` of a hard link."""


def layer(content: Content, *, mode: int = 0o640) -> bytes:
    """A layer as a registry keeps it, of another owner and time than what a root has."""
    out = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=out, mode="wb", mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as tar,
    ):
        for path, what in content.items():
            info = tarfile.TarInfo(path)
            info.uid = info.gid = 1234
            info.uname, info.mtime, info.mode = "builder", 1_600_000_000, mode
            if isinstance(what, bytes):
                info.size = len(what)
                info.mode = 0o4755 if "/bin/" in path else mode
                tar.addfile(info, io.BytesIO(what))
                continue
            kind, _, info.linkname = what.partition(" ")
            info.type = tarfile.SYMTYPE if kind == "->" else tarfile.LNKTYPE
            tar.addfile(info)
    return out.getvalue()


def made(folder: Path, version: str = "7.2.4") -> dict[str, bytes]:
    """The files that ``make-hip-standin`` makes, by path below its prefix."""
    compiler = folder / "cc"
    library = stub(Arch.X86_64, "libamdhip64.so.7", ["hipGetDeviceCount", "hip_standin"], 100)
    (folder / "libamdhip64").write_bytes(library)
    compiler.write_text(
        f"#!{sys.executable}\nimport shutil, sys\n"
        f"shutil.copy({str(folder / 'libamdhip64')!r}, sys.argv[sys.argv.index('-o') + 1])\n"
    )
    compiler.chmod(0o755)
    prefix = folder / f"rocm-{version}"
    subprocess.run(
        ["sh", TOOL, prefix, version], check=True, stdout=subprocess.DEVNULL,
        env={"PATH": "/usr/bin:/bin", "CC": str(compiler)},
    )  # fmt: skip
    return {
        path.relative_to(prefix).as_posix(): path.read_bytes()
        for path in sorted(prefix.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def layers(folder: Path, version: str = "7.2.4") -> list[bytes]:
    """The layers of the stand-in."""
    home = f"opt/rocm-{version}"
    files: dict[str, bytes | str] = {
        f"{home}/{path}": content for path, content in made(folder, version).items()
    }
    files |= {
        f"{home}/lib/libamdhip64.so": "-> libamdhip64.so.7",
        f"{home}/lib/libamdhip64.so.7.2": f"= {home}/lib/libamdhip64.so.7",
        f"{home}/bin/hipconfig": b"#!/bin/sh\necho stand-in\n",
        f"{home}/lib/rocblas/library/kernels.co": b"kernels of a GPU",
        f"{home}/share/notes/wrong": b"a later layer removes it",
        "etc/alternatives/rocm": f"-> /{home}",
        "opt/rocm": "-> /etc/alternatives/rocm",
        "usr/bin/rocminfo": "-> /opt/rocm/bin/rocminfo",
    }
    return [
        layer({
            "etc/os-release": b"NAME=stand-in\n", "opt/rocm-6.0.0/include/old.h": b"old\n",
            "opt/rocm": "-> rocm-6.0.0",
        }),
        layer(files),
        layer({"opt/.wh.rocm-6.0.0": b"", f"{home}/share/notes/.wh..wh..opq": b"",
               f"{home}/share/notes/right": b"kept\n"}),
    ]  # fmt: skip


def push(folder: Path, registry: str, of: list[bytes], name: str = REAL) -> str:
    """Push a list of two platforms with one image each; the digest of that for linux/amd64.

    :param of: its layers; the image for linux/arm64 is another one.
    """
    layout = folder / hashlib.sha256(b"".join(of)).hexdigest()[:16]
    blobs = layout / "blobs" / "sha256"
    blobs.mkdir(parents=True, exist_ok=True)

    def blob(data: bytes, kind: str) -> dict[str, object]:
        sha256 = hashlib.sha256(data).hexdigest()
        (blobs / sha256).write_bytes(data)
        media = f"application/vnd.oci.image.{kind}"
        return {"mediaType": media, "digest": f"sha256:{sha256}", "size": len(data)}

    def text(document: Mapping[str, object]) -> bytes:
        return json.dumps(document).encode()

    listed = []
    for arch, chosen in (("arm64", [layer({"hello": b"arm64"})]), ("amd64", of)):
        plain = [f"sha256:{hashlib.sha256(gzip.decompress(one)).hexdigest()}" for one in chosen]
        config = {
            "architecture": arch, "os": "linux", "rootfs": {"type": "layers", "diff_ids": plain},
        }  # fmt: skip
        document: dict[str, object] = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": blob(text(config), "config.v1+json"),
            "layers": [blob(one, "layer.v1.tar+gzip") for one in chosen],
        }
        platform = {"platform": {"os": "linux", "architecture": arch}}
        listed.append({**blob(text(document), "manifest.v1+json"), **platform})
    media = "application/vnd.oci.image.index.v1+json"
    index = {"schemaVersion": 2, "mediaType": media, "manifests": listed}
    named = {**blob(text(index), "index.v1+json")}
    named["annotations"] = {"org.opencontainers.image.ref.name": "1"}
    (layout / "index.json").write_bytes(text({"schemaVersion": 2, "manifests": [named]}))
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    subprocess.run(
        ["skopeo", "copy", "--quiet", "--all", "--dest-tls-verify=false", f"oci:{layout}:1",
         f"docker://{registry}/{name}"],
        check=True,
    )  # fmt: skip
    return str(listed[1]["digest"])


def mirror(registry: str) -> str:
    """``kvpack.toml``: a registry is the mirror of Docker Hub."""
    return f'[registries.images.mirrors]\n"docker.io/" = ["{registry}/"]\n'
