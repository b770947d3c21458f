"""Keeps the folder of a build out of what nvcc makes, and says what of nvcc differs. Pure.

Everything with internal linkage (static ``__device__`` variables, namespaces without a name, all of
CUB) is named by nvcc after the checksum of its source's whole path, ``_<crc>_4_k_cu_<crc>``. No
option changes that: ``--frandom-seed`` replaces other numbers (rules_cuda's issue 372), and a seed
must be another one for every file anyway (``nvcc --help``). But nvcc hands the path on to the two
programs that use it, ``cudafe++`` and ``cicc``: each is called through a script.
"""

import posixpath
import re

WRAPPED = ("bin/cudafe++", "nvvm/bin/cicc")
"""NVIDIA's programs that a script stands before."""
WRAPPER = r"""#!/bin/sh
# kvpack: a source is named by its path below the folder that the build lies in, and a temporary
# folder of Python's without its random name; as gcc's -ffile-prefix-map names it in the rest.
named() {
  sed -E -e "s,^($1)/project/[^/]+/,\1./," -e "s,^($1)/tmp/tmp[a-z0-9_]{8}/,\1/tmp/tmp/," "$2"
}
before=
for word; do
  shift
  case $before in
  --orig_src_file_name | --orig_src_path_name)
    word=$(printf '%s\n' "$word" | named '' -) || exit ;;
  *)
    case $word in *.ii)
      named '# [0-9]+ "' "$word" >"$word.named" && mv "$word.named" "$word" || exit ;;
    esac ;;
  esac
  set -- "$@" "$word"
  before=$word
done
exec "${0%/*}/.${0##*/}-wrapped" "$@"
"""


def behind(path: str) -> str:
    """Where a wrapped program itself lies: beside its script, where it finds what it needs."""
    return f"{posixpath.dirname(path)}/.{posixpath.basename(path)}-wrapped"


def append_flags(source: str) -> str:
    """``NVCC_APPEND_FLAGS`` of a build whose source lies at ``source``.

    ``-objtemp``: ``nvcc -c`` names its intermediate files, which stand in the object file, after
    the object and not after its process (``nvcc --help``, ``--objdir-as-tempdir``).
    """
    return f"-objtemp -Xcompiler=-ffile-prefix-map={source}=."


_TEMPORARY = re.compile(rb"tmpxft_[0-9a-f]{8}_[0-9a-f]{8}-\d+_[\w.+-]*")
_MODULE = re.compile(rb"_[0-9a-f]{8}(?=_\d+_\w+?_[0-9a-f]{8})")
_BUILD_ID = re.compile(rb"(\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0).{20}", re.DOTALL)


def explained(a: bytes, b: bytes) -> str | None:
    """What nvcc left in two binaries that differ; ``None`` if nothing of it does."""
    told = []
    if pair := _differ(_TEMPORARY, a, b):
        told.append(
            f"names of nvcc's intermediate files hold its process ({pair}): compile with -c, and "
            "link in another step"
        )
    if pair := _differ(_MODULE, a, b):
        told.append(f"nvcc's checksums of a source's path differ ({pair})")
    if not told:
        return None
    rest = "nothing else differs" if _without(a) == _without(b) else "other bytes differ, too"
    return "; ".join([*told, rest])


def _differ(pattern: re.Pattern[bytes], a: bytes, b: bytes) -> str:
    one, two = ({match[0] for match in pattern.finditer(data)} for data in (a, b))
    if one == two:
        return ""
    return " and ".join(min(x - y, default=b"none").decode() for x, y in ((one, two), (two, one)))


def _without(data: bytes) -> bytes:
    """Without nvcc's names, and the linker's digest over them."""
    for pattern, put in ((_TEMPORARY, b""), (_MODULE, b""), (_BUILD_ID, rb"\1")):
        data = pattern.sub(put, data)
    return data
