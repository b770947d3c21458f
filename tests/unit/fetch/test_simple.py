from kvpack.fetch.simple import Link, links_of
from kvpack.tools.web import Page

HTML = """<!DOCTYPE html><html><head><base href="https://files.invalid/base/"></head><body>
<a href="demo-1.0%2Bcpu-py3-none-any.whl#sha256=ABCDEF" data-requires-python="&gt;=3.11">x</a>
<a href="https://me.invalid/demo-2.0.tar.gz" data-yanked="broken">x</a>
<a href="https://[broken/demo-2.0.tar.gz">x</a><a>no link</a><a href=" demo-3.0.zip#md5=1 ">x</a>
"""


def test_html_links() -> None:
    """PEP 503, PEP 592 (yanked), and the base element of HTML."""
    page = Page(url="https://index.invalid/simple/demo/", text=HTML, content_type="text/html")
    assert links_of(page) == (
        Link(
            url="https://files.invalid/base/demo-1.0%2Bcpu-py3-none-any.whl",
            filename="demo-1.0+cpu-py3-none-any.whl",
            sha256="abcdef",
            requires_python=">=3.11",
        ),
        Link(
            url="https://me.invalid/demo-2.0.tar.gz",
            filename="demo-2.0.tar.gz",
            sha256=None,
            yanked=True,
        ),
        Link(url="https://files.invalid/base/demo-3.0.zip", filename="demo-3.0.zip", sha256=None),
    )


def test_json_links() -> None:
    """PEP 691: ``yanked`` is a boolean or the reason, ``url`` may be relative."""
    text = """{"meta": {"api-version": "1.0"}, "name": "demo", "files": [
        {"filename": "d.whl", "url": "../../d.whl", "hashes": {"sha256": "AB"},
         "requires-python": ">=3.11", "yanked": "bad"},
        {"filename": "e.whl", "url": "https://me.invalid/e.whl", "hashes": {}, "yanked": false}]}"""
    page = Page(
        url="https://index.invalid/simple/demo/",
        text=text,
        content_type="application/vnd.pypi.simple.v1+json",
    )
    assert links_of(page) == (
        Link(
            url="https://index.invalid/d.whl",
            filename="d.whl",
            sha256="ab",
            yanked=True,
            requires_python=">=3.11",
        ),
        Link(url="https://me.invalid/e.whl", filename="e.whl", sha256=None),
    )
