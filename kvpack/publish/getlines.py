"""Installer lines that do what ``kvpack get`` does, with curl and sha256sum alone. Pure.

The text is the same for a shell script and for a ``RUN`` of a Dockerfile: every statement ends with
its own semicolon, so lines may be joined. It is POSIX sh (dash, bash, busybox), and curl's and
coreutils' options are those of Debian 11.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kvpack.publish.bundletext import environment_of
from kvpack.publish.getspec import Offer
from kvpack.tools.web import encode_path


@dataclass(frozen=True, kw_only=True)
class Lines:
    """What the lines are made of."""

    places: Sequence[str]
    """http, https and file URLs, in the order to try."""
    offers: Sequence[Offer]
    patience: float
    """Seconds for which a place may be silent."""
    whole: float
    """Seconds for one try."""
    slowest: int
    """Bytes per second."""
    command: str
    """What wrote them."""
    left_out: Sequence[str] = ()
    """Places that these lines cannot ask, each with the reason."""


def addresses(places: Sequence[str], public: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """What curl can ask of these places, and those that are left out, with the reason.

    :param public: storage -> the HTTP address that serves it; it may be that of a folder above.
    """
    known = {storage.rstrip("/"): address.rstrip("/") for storage, address in public.items()}
    usable, left_out = [], []
    for place in places:
        above = [one for one in known if f"{place}/".startswith(f"{one}/")]
        if above:
            nearest = max(above, key=len)
            usable.append(known[nearest] + place.removeprefix(nearest))
        elif place.startswith(("http:", "https:", "file:")):
            usable.append(place)
        else:
            scheme = place.partition(":")[0]
            left_out.append(
                f"{place}: curl cannot ask {scheme}://, and kvpack.toml names no HTTP address of "
                "it: [mirrors.public]"
            )
    return list(dict.fromkeys(usable)), left_out


def shell(lines: Lines) -> str:
    """A script: ``sh FILE [FOLDER]``."""
    head = [
        "#!/bin/sh",
        "# Takes wheels by hash from the first place that answers right, then installs them.",
        f"# Written by: {lines.command}",
        "# Needs curl, sha256sum and pip or uv. KVPACK_MIRRORS replaces the places,",
        "# KVPACK_WHEELS the folder, KVPACK_INSTALL the installer ('' downloads only).",
        *_left_out(lines),
    ]
    return "\n".join([*head, *_body(lines)]) + "\n"


def dockerfile(lines: Lines) -> str:
    """A step of a Dockerfile whose base has curl and pip."""
    places = " ".join(lines.places)
    head = [
        f"# Written by: {lines.command}",
        "# Takes wheels by hash from the first place that answers right; the base needs curl and",
        "# pip (or uv: --build-arg KVPACK_INSTALL='uv pip install --system').",
        *_left_out(lines),
        f'ARG KVPACK_MIRRORS="{places}"',
        'ARG KVPACK_INSTALL="python3 -m pip install"',
    ]
    body = _body(lines)
    return "\n".join([*head, "RUN " + " \\\n    ".join(body)]) + "\n"


def _left_out(lines: Lines) -> list[str]:
    return [f"# Left out: {one}" for one in lines.left_out]


_INSTALL = (
    'if [ -n "$install" ]; then $install --no-deps --no-index --require-hashes '
    '--find-links "$wheels" -r "$wheels/requirements.txt"; fi'
)
_FETCH = """\
fetch() {
  part="$wheels/.part";
  if printf '%s  %s\\n' "$1" "$wheels/$3" | sha256sum -c >/dev/null 2>&1; then return 0; fi;
  for turn in 1 2 3; do
    tried="";
    for mirror in $mirrors; do
      rm -f "$part";
      if curl --fail --silent --show-error --location CURL -o "$part" "$mirror/$2"; then
        if printf '%s  %s\\n' "$1" "$part" | sha256sum -c >/dev/null 2>&1; then
          mv "$part" "$wheels/$3"; echo "$3: from $mirror" >&2; return 0;
        fi;
        echo "warning: $mirror answered with WRONG BYTES for $3: thrown away" >&2;
      fi;
      tried="$tried $mirror";
      if [ "${mirrors#* }" != "$mirrors" ]; then mirrors="${mirrors#* } ${mirrors%% *}"; fi;
    done;
    sleep "$turn";
  done;
  rm -f "$part";
  echo "error: no mirror has $3 with sha256 $1:$tried" >&2; return 1;
};"""
"""SHA256, PATH, NAME. A mirror that failed goes behind the others for the files that follow."""


def _body(lines: Lines) -> list[str]:
    curl = (
        f"--connect-timeout {lines.patience:g} --speed-limit {lines.slowest} "
        f"--speed-time {max(round(lines.patience), 1)} --max-time {lines.whole:g}"
    )
    fetches = [
        f"fetch {one.sha256} {shlex.quote(encode_path(one.path))} {shlex.quote(one.filename)};"
        for one in lines.offers
    ]
    pins = [shlex.quote(line) for line in _pins(lines.offers)]
    places = shlex.quote(" ".join(lines.places))
    return [
        "set -eu;",
        f'mirrors="${{KVPACK_MIRRORS:-}}"; if [ -z "$mirrors" ]; then mirrors={places}; fi;',
        'wheels="${KVPACK_WHEELS:-kvpack-wheels}"; mkdir -p "$wheels";',
        *_FETCH.replace("CURL", curl).splitlines(),
        *fetches,
        "printf '%s\\n' " + " ".join(pins) + ' > "$wheels/requirements.txt";',
        'install="${KVPACK_INSTALL-python3 -m pip install}";',
        _INSTALL,
    ]


def _pins(offers: Sequence[Offer]) -> list[str]:
    """Requirements; each target's wheel has a local version of its own, told by markers."""
    found: dict[tuple[str, str], list[Offer]] = {}
    for one in offers:
        found.setdefault((one.project, one.version), []).append(one)
    projects = [project for project, _ in found]
    lines = []
    for (project, version), wheels in found.items():
        markers = sorted({environment_of(one.target).marker for one in wheels})
        marker = f" ; {' or '.join(markers)}" if projects.count(project) > 1 else ""
        hashes = " ".join(f"--hash=sha256:{one.sha256}" for one in wheels)
        lines.append(f"{project}=={version}{marker} {hashes}")
    return lines


def ambiguous(offers: Sequence[Offer]) -> list[str]:
    """Projects of which one environment could take several versions: floors, most of the time."""
    seen: dict[tuple[str, str], set[str]] = {}
    for one in offers:
        seen.setdefault((one.project, environment_of(one.target).marker), set()).add(one.version)
    return sorted({project for (project, _), versions in seen.items() if len(versions) > 1})
