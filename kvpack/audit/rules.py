"""Which rules an audit applied, as one digest: a remembered verdict counts only under the same."""

import hashlib
from importlib import resources

from kvpack.names import Sha256


def rules_digest() -> Sha256:
    """Digest of the audit's own code and data, and of auditwheel's policy table.

    No number has to be raised by hand when a check changes: its file changed.
    """
    digest = hashlib.sha256()
    own = resources.files("kvpack.audit")
    for entry in sorted(own.iterdir(), key=lambda entry: entry.name):
        if entry.name.endswith((".py", ".toml")):
            digest.update(f"{entry.name}\0".encode() + entry.read_bytes())
    table = resources.files("auditwheel").joinpath("policy", "manylinux-policy.json")
    digest.update(table.read_bytes())
    return Sha256(digest.hexdigest())
