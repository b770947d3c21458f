"""A folder of wheels as a simple index (PEP 503), so that it is a source in an order as any other.

uv adds the wheels of ``--find-links`` to those of every index; a project that the folder holds
would then be taken from wherever its highest version lies.
"""

import html
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from kvpack.errors import UsageError
from kvpack.tools.files import sha256_file


def wheels_in(folder: Path) -> dict[str, Path]:
    """The wheels of a folder by file name.

    :raises UsageError: if there is no such folder, or no wheel in it.
    """
    if not folder.is_dir():
        raise UsageError(
            f"--find-links {folder} is no folder",
            cause="there is nothing of that name" if not folder.exists() else "it is a file",
            hint="name a folder of wheels, such as dist",
        )
    found = {}
    for path in sorted(folder.glob("*.whl")):
        try:
            parse_wheel_filename(path.name)
        except InvalidWheelFilename:
            continue
        found[path.name] = path.absolute()
    if not found:
        raise UsageError(
            f"--find-links {folder} holds no wheel",
            cause="nothing was built into it yet, or its files have other names",
            hint="kvpack build puts wheels into dist/",
        )
    return found


def write_index(wheels: Mapping[str, Path], into: Path) -> str:
    """Write the pages, with hashes.

    :param into: an empty folder.
    :return: the index's URL.
    """
    projects: dict[str, list[Path]] = defaultdict(list)
    for name, path in wheels.items():
        projects[str(parse_wheel_filename(name)[0])].append(path)
    for project, paths in projects.items():
        page = into / project / "index.html"
        page.parent.mkdir()
        links = [
            f'<a href="{html.escape(path.as_uri())}#sha256={sha256_file(path)}">'
            f"{html.escape(path.name)}</a>"
            for path in paths
        ]
        page.write_text("<!DOCTYPE html>\n" + "<br>\n".join(links) + "\n", encoding="utf-8")
    listed = [f'<a href="{quote(name)}/">{name}</a>' for name in sorted(projects)]
    (into / "index.html").write_text("<!DOCTYPE html>\n" + "\n".join(listed), encoding="utf-8")
    return into.as_uri()
