"""The pages that people read: a channel's variant matrix, and all wheels of one project.

Self-contained, from ``human.html`` beside this module: no external asset, so they work from a
folder (``file://``) as from any host. Without JavaScript only the search and the copy buttons are
missing.
"""

import html
from importlib.resources import files
from string import Template
from urllib.parse import quote

from kvpack.publish.channel import superseded
from kvpack.publish.index import HTML_KIND, Page, evidence_links, file_url
from kvpack.publish.model import Entry, Listing, Row, State

_AXES = ("Python", "glibc ≥", "architecture")


def channel_page(state: State) -> Page:
    """Give ``<channel>/index.html``: every project by accelerator, from the state alone."""
    rows = [_channel_row(name, row) for name, row in state.rows.items() if row.wheels]
    table = _table(["project", "accelerator", "newest", *_AXES, "install"], rows)
    empty = "" if rows else "<p>Nothing is listed.</p>"
    note = (
        f"State {state.serial}, release <code>{html.escape(state.head)}</code>. "
        f'<a href="../channels/{quote(state.channel)}.json">pointer</a> · '
        f'<a href="../releases/{quote(state.head)}.json">manifest</a> · '
        '<a href="../index.html">all channels</a>'
    )
    body = f"<p>{note}</p>{table}{empty}"
    return _page(f"{state.channel}/index.html", f"Channel {state.channel}", body, state.serial)


def _channel_row(name: str, row: Row) -> str:
    accelerator, project = name.split("/", 1)
    axes: list[set[str]] = [set(), set(), set()]
    for target in row.targets:
        for axis, value in zip(axes, _cells(target), strict=True):
            axis.add(value)
    shown = [" ".join(sorted(axis)) for axis in axes]
    install = (
        f"pip install {html.escape(project)}=={html.escape(row.version or '')} --index-url "
        f'<span class="base" data-path="{html.escape(accelerator)}/simple/">'
        f"…/{html.escape(accelerator)}/simple/</span>"
    )
    link = f"{quote(accelerator)}/projects/{quote(project)}.html"
    cells = [
        f'<a href="{link}">{html.escape(project)}</a>', html.escape(accelerator),
        html.escape(row.version or ""), *(html.escape(one) for one in shown), _copyable(install),
    ]  # fmt: skip
    return _row(cells)


def _cells(target: str) -> tuple[str, str, str]:
    """``cp311-manylinux_2_39_x86_64-cpu`` -> Python, glibc floor, architecture."""
    python, _, rest = target.partition("-")
    platform = rest.rpartition("-")[0].removeprefix("manylinux_")
    major, minor, arch = platform.split("_", 2)
    return python, f"{major}.{minor}", arch


def project_page(channel: str, listing: Listing, serial: int) -> Page:
    """Give ``<channel>/<accelerator>/projects/<project>.html``: every wheel with its evidence."""
    place = f"{channel}/{listing.accelerator}/projects/{listing.project}.html"
    gone = superseded(listing)
    newest = sorted(listing.entries, key=lambda entry: entry.uploaded)[::-1]
    table = _table(
        ["wheel", *_AXES, "size", "published", "requirement", "evidence"],
        [_wheel_row(listing, entry, gone.get(entry.filename)) for entry in newest],
    )
    simple = '<span class="base" data-path="../simple/">../simple/</span>'
    note = (
        f"For {html.escape(listing.accelerator)}. Index: {_copyable(simple)} "
        '<a href="../../index.html">all projects</a>'
    )
    return _page(place, listing.project, f"<p>{note}</p>{table}", serial)


def _wheel_row(listing: Listing, entry: Entry, instead: str | None) -> str:
    root = "../../../"
    proof = " ".join(
        f'<a href="{html.escape(url)}">{kind}</a>' for kind, url in evidence_links(root, entry)
    )
    line = f"{listing.project}=={entry.version} --hash=sha256:{entry.sha256}"
    link = html.escape(file_url(root, entry.path))
    mark = f' <span class="off" title="{html.escape(instead)}">superseded</span>' if instead else ""
    cells = [
        f'<a href="{link}">{html.escape(entry.filename)}</a>{mark}',
        *(html.escape(one) for one in _cells(entry.target)),
        f'<span class="whole">{_size(entry.size)}</span>',
        f'<span class="whole">{html.escape(entry.uploaded[:10])}</span>',
        _copyable(html.escape(line)), proof,
    ]  # fmt: skip
    return _row(cells)


def root_page(channels: list[str]) -> Page:
    """Give ``index.html`` of a storage: its channels."""
    items = "".join(
        f'<li><a href="{quote(name)}/index.html">{html.escape(name)}</a></li>' for name in channels
    )
    return _page("index.html", "Channels", f"<ul>{items}</ul>", 0)


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 10**6 else f"{count / 1e3:.1f} kB"


def _copyable(text: str) -> str:
    return f'<span class="line"><code>{text}</code><button type="button">copy</button></span>'


def _row(cells: list[str]) -> str:
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>\n"


def _table(columns: list[str], rows: list[str]) -> str:
    if not rows:
        return ""
    head = "".join(f"<th>{name}</th>" for name in columns)
    return (
        '<div class="scroll"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>\n{''.join(rows)}</tbody></table></div>"
    )


def _page(path: str, title: str, body: str, serial: int) -> Page:
    template = Template((files("kvpack.publish") / "human.html").read_text(encoding="utf-8"))
    search = '<input id="search" type="search" placeholder="Search" aria-label="Search">'
    text = template.substitute(
        title=html.escape(title),
        body=body,
        serial=serial,
        search=search if "<table" in body else "",
    )
    return Page(path, HTML_KIND, text.encode())
