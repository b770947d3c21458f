"""Keys, and wheels that carry their action as built ones do."""

from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from kvpack.build.model import BuildPlan
from kvpack.build.sbom import sbom
from kvpack.tools.files import canonical_json, sha256_of
from tests.unit.build.made import plan as demo_plan
from tests.unit.publish.made import packed

PEM = serialization.Encoding.PEM


def keypair(folder: Path, name: str, *, p256: bool = False) -> tuple[Path, Path]:
    """A private and a public key file."""
    key = ec.generate_private_key(ec.SECP256R1()) if p256 else ed25519.Ed25519PrivateKey.generate()
    form = serialization.PrivateFormat.PKCS8
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    private.write_bytes(key.private_bytes(PEM, form, serialization.NoEncryption()))
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    public.write_bytes(key.public_key().public_bytes(PEM, spki))
    return private, public


def wheel(
    folder: Path, plan: BuildPlan | None = None, *, module: str = "", more: str = "", **changes: str
) -> Path:
    """A small wheel of a plan; a change replaces a file of its evidence.

    :param module: the text of its one module.
    :param more: path of another, empty member.
    """
    made = plan or demo_plan()
    lock = canonical_json(made.action["lock"])
    inside = {
        "action.json": canonical_json(made.action).decode(),
        "key": f"{made.key}\n",
        "lock-digest": f"sha256:{sha256_of(lock)}\n",
        **{name.replace("_", "-"): text for name, text in changes.items()},
    }
    files = {f"@info/kvpack/{name}": text for name, text in inside.items()}
    bill = canonical_json(sbom(made.recipe, made.inputs, made.key, made.libraries)).decode()
    files["@info/sboms/kvpack.cdx.json"] = bill
    files[f"{made.recipe.distribution.owns[0]}/__init__.py"] = module
    files |= {more: ""} if more else {}
    target = made.inputs.target
    tag = f"{target.python_tag}-{target.python_tag}-{target.platform_tag}"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{made.distribution.replace('-', '_')}-{made.version}-{tag}.whl"
    path.write_bytes(packed(made.distribution, made.version, files, ("false", tag)))
    return path
