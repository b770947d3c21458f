"""Releases of small, real, installable wheels; storages in memory; and what must always hold."""

import base64
import hashlib
import io
import json
import zipfile
from html.parser import HTMLParser
from urllib.parse import unquote, urljoin, urlsplit

from obstore.store import MemoryStore

from kvpack.names import Accelerator
from kvpack.publish.commit import Channel, channels_of
from kvpack.publish.gather import Prepared
from kvpack.publish.human import channel_page, project_page
from kvpack.publish.index import Page, project_pages, root_pages, serial_of
from kvpack.publish.model import EVIDENCE, Listing, Promise, Release, Wheel, file_path
from kvpack.publish.storage import stored
from kvpack.tools.objects import ObstoreObjects
from kvpack.tools.stored import Data, Objects

TARGET = "cp311-manylinux_2_36_x86_64"


def memory() -> ObstoreObjects:
    """A storage in memory that honours both conditions."""
    return ObstoreObjects("memory:///", environment={}, store=MemoryStore(), pause=lambda _: None)


def wheel_bytes(project: str, version: str, content: str = "") -> bytes:
    """A wheel that pip and uv install; ``content`` decides its bytes."""
    name = project.replace("-", "_")
    files = {f"{name}/__init__.py": f"VERSION = {version!r}\n# {content}\n"}
    return packed(project, version, files, ("true", "py3-none-any"))


def packed(project: str, version: str, files: dict[str, str], what: tuple[str, str]) -> bytes:
    """A sound wheel of some files.

    :param what: Root-Is-Purelib, and the tag.
    """
    info = f"{project.replace('-', '_')}-{version}.dist-info"
    purelib, tag = what
    members = {
        **{path.replace("@info", info): text for path, text in files.items()},
        f"{info}/METADATA": metadata(project, version),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: demo\n"
        f"Root-Is-Purelib: {purelib}\nTag: {tag}\n",
    }
    record = "".join(
        f"{path},sha256={_digest(text.encode())},{len(text)}\n" for path, text in members.items()
    )
    members[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, text in members.items():
            archive.writestr(zipfile.ZipInfo(path), text)
    return buffer.getvalue()


def metadata(project: str, version: str) -> str:
    return f"Metadata-Version: 2.4\nName: {project}\nVersion: {version}\nRequires-Python: >=3.10\n"


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def release(
    *names: str, accelerator: str = "cpu", tag: str = "py3-none-any", partial: bool = False
) -> Prepared:
    """A release of wheels named ``project==version``; equal names are equal bytes."""
    data: dict[str, Data] = {}
    wheels = []
    for name in names:
        project, _, version = name.partition("==")
        filename = f"{project.replace('-', '_')}-{version}-{tag}.whl"
        place = file_path(project, filename)
        beside = {
            "metadata": metadata(project, version).encode(),
            "audit": f'{{"about": "{name}"}}'.encode(),
            "sbom": b"{}",
            "action": json.dumps({"for": name}).encode(),
        }
        evidence = {kind: stored(place + EVIDENCE[kind], text) for kind, text in beside.items()}
        data |= {evidence[kind].path: text for kind, text in beside.items()}
        data[place] = wheel_bytes(project, version, accelerator)
        whole = stored(place, data[place])
        wheels.append(
            Wheel(
                **whole.model_dump(), filename=filename, project=project, version=version,
                accelerator=Accelerator(accelerator), target=f"{TARGET}-{accelerator}",
                key=hashlib.sha256(name.encode()).hexdigest(), requires_python=">=3.10",
                evidence=evidence,
            )
        )  # fmt: skip
    text = b"# a lock\n"
    lock = stored("locks/demo/lock.toml", text)
    data[lock.path] = text
    promise = Promise(
        recipe="demo", version="1", lock=lock, targets=tuple(wheel.target for wheel in wheels)
    )
    made = Release(created="", partial=partial, promises=(promise,), wheels=tuple(wheels))
    return Prepared(release=made.sealed(""), data=data)


class Links(HTMLParser):
    """The links of a page, with their attributes."""

    def __init__(self, text: bytes) -> None:
        super().__init__()
        self.found: list[dict[str, str]] = []
        self.feed(text.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.found.append({key: value or "" for key, value in attrs})


def listed(objects: Objects, channel: str = "stable") -> set[str]:
    """The file names that the pages of a channel list."""
    found = set()
    for stat in objects.list(f"{channel}/"):
        if stat.key.endswith("/index.html") and stat.key.count("/") == 4:
            found |= {
                unquote(urlsplit(link["href"]).path).rpartition("/")[2]
                for link in Links(must(objects, stat.key)).found
            }
    return found


def must(objects: Objects, key: str) -> bytes:
    found = objects.get(key)
    assert found is not None, key
    return found.data


def check_legal(objects: Objects) -> None:
    """Every page is that of one committed state, whole; every link leads to the right bytes."""
    for name in channels_of(objects):
        channel = Channel(objects, name)
        head = channel.must_head()
        legal: dict[str, dict[int, bytes]] = {}
        for _, state in channel.history(head):
            listings = channel.listings({row: one.listing for row, one in state.rows.items()})
            for row, listing in listings.items():
                serial = state.rows[row].serial
                folder = f"{name}/{listing.accelerator}/simple"
                for page in project_pages(folder, listing, serial):
                    legal.setdefault(page.path, {})[serial] = page.data
            for accelerator in {row.partition("/")[0] for row in state.rows}:
                rows = {r: o for r, o in state.rows.items() if r.startswith(f"{accelerator}/")}
                names = [r.partition("/")[2] for r, one in rows.items() if one.wheels]
                serial = max(one.serial for one in rows.values())
                for page in root_pages(f"{name}/{accelerator}/simple", names, serial):
                    legal.setdefault(page.path, {})[serial] = page.data
        for stat in objects.list(f"{name}/"):
            if "/simple/" in stat.key:
                data = must(objects, stat.key)
                assert legal[stat.key].get(serial_of(data)) == data, stat.key
                check_links(objects, stat.key, data)


def check_links(objects: Objects, key: str, data: bytes) -> None:
    """No link to a wheel dangles, and each digest is that of the bytes."""
    if not key.endswith(".html") or key.endswith("/simple/index.html"):
        return
    for link in Links(data).found:
        url = urlsplit(urljoin(f"http://host/{key}", link["href"]))
        path = unquote(url.path)[1:]
        wheel, meta = must(objects, path), must(objects, f"{path}.metadata")
        assert url.fragment == f"sha256={hashlib.sha256(wheel).hexdigest()}"
        assert link["data-core-metadata"] == f"sha256={hashlib.sha256(meta).hexdigest()}"


def complete(objects: Objects, channel: str = "stable") -> None:
    """The pages are those of the pointer, not merely legal."""
    check_legal(objects)
    found = Channel(objects, channel)
    state = found.must_head().state
    listings = found.listings({row: one.listing for row, one in state.rows.items()})
    for row, listing in listings.items():
        for page in pages_of(channel, listing, state.rows[row].serial):
            assert must(objects, page.path) == page.data, page.path
    human = channel_page(state)
    assert must(objects, human.path) == human.data
    assert f">{channel}</a>" in must(objects, "index.html").decode()


def pages_of(channel: str, listing: Listing, serial: int) -> list[Page]:
    folder = f"{channel}/{listing.accelerator}/simple"
    return [*project_pages(folder, listing, serial), project_page(channel, listing, serial)]
