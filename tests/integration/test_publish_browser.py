"""The pages for people in Chromium: searched with keys, copied with clicks, pasted."""

import contextlib
import itertools
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from tests.integration.publish_servers import Site, s3
from tests.integration.test_publish import _credentials, prefix
from tests.integration.test_publish_site import plain_environment, site

pytestmark = pytest.mark.integration
__all__ = ["_credentials", "prefix", "s3", "site"]

HOST = "wheels.example"
"""A name for the loopback that no browser trusts: http:// there is no secure context."""
PIPES = """
import fcntl, os, sys
orders, answers = (fcntl.fcntl(int(one), fcntl.F_DUPFD, 10) for one in sys.argv[1:3])
os.dup2(orders, 3), os.dup2(answers, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""


class Browser:
    """Chromium without a window, driven through its debugging pipe (messages end with NUL)."""

    def __init__(self, process: "subprocess.Popen[bytes]", reads: int, writes: int) -> None:
        self._process = process
        self._reads, self._writes = reads, writes
        self._ids = itertools.count(1)
        self._rest = b""
        self._session: dict[str, str] = {}

    @classmethod
    @contextlib.contextmanager
    def started(cls, profile: Path) -> Iterator[Self]:
        program = shutil.which("chromium")
        assert program is not None, "ci/setup test installs chromium"
        reads, answers = os.pipe()
        orders, writes = os.pipe()
        process = subprocess.Popen(
            [sys.executable, "-S", "-c", PIPES, str(orders), str(answers), program, "--headless",
             "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--no-first-run",
             f"--user-data-dir={profile}", f"--host-resolver-rules=MAP {HOST} 127.0.0.1"],
            pass_fds=(orders, answers), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(orders)
        os.close(answers)
        try:
            yield cls(process, reads, writes)
        finally:
            process.terminate()
            process.wait()
            os.close(reads)
            os.close(writes)

    def call(self, method: str, **given: object) -> dict[str, Any]:
        """Order something and wait for the answer; events in between are of no interest."""
        number = next(self._ids)
        message = {"id": number, "method": method, "params": given, **self._session}
        os.write(self._writes, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self._rest:
                piece = os.read(self._reads, 1 << 16)
                assert piece, "chromium went away"
                self._rest += piece
            text, _, self._rest = self._rest.partition(b"\0")
            answer: dict[str, Any] = json.loads(text)
            if answer.get("id") == number:
                assert "error" not in answer, answer
                found: dict[str, Any] = answer["result"]
                return found

    def open(self, url: str) -> None:
        self._session = {}
        target = self.call("Target.createTarget", url=url)["targetId"]
        found = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = {"sessionId": found["sessionId"]}
        self.call("Emulation.setFocusEmulationEnabled", enabled=True)
        self.wait(f"document.readyState == 'complete' && location.href == {json.dumps(url)}")

    def ask(self, expression: str) -> Any:  # noqa: ANN401  # any JSON
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def wait(self, expression: str) -> None:
        for _ in range(400):
            if self.ask(expression):
                return
            time.sleep(0.05)
        raise AssertionError(expression)

    def click(self, element: str) -> None:
        """Click on what an expression finds, with the mouse."""
        self.ask(f"{element}.scrollIntoView({{block: 'center'}})")
        x, y = self.ask(
            f"(r => [r.x + r.width / 2, r.y + r.height / 2])({element}.getBoundingClientRect())"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def write(self, text: str) -> None:
        for letter in text:
            self.call("Input.dispatchKeyEvent", type="keyDown", text=letter, key=letter)
            self.call("Input.dispatchKeyEvent", type="keyUp", key=letter)

    def edit(self, *commands: str) -> None:
        """What ctrl-a, ctrl-v and the like do."""
        self.call("Input.dispatchKeyEvent", type="keyDown", key="v", modifiers=2, commands=commands)

    def pasted(self) -> str:
        """What the clipboard holds, pasted into the search field as a user would."""
        self.click("search")
        self.edit("paste")
        text: str = self.ask("search.value")
        self.edit("selectAll", "deleteBackward")
        return text

    def rows(self) -> list[str]:
        """The first words of the rows that are seen."""
        found: list[str] = self.ask(
            "[...document.querySelectorAll('tbody tr')].filter(r => r.checkVisibility())"
            ".map(r => r.querySelector('a').textContent)"
        )
        return found


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    with Browser.started(tmp_path / "profile") as found:
        yield found


def places(site: Site, tmp_path: Path) -> dict[str, str]:
    return {
        "loopback": site.url,
        "http": site.url.replace("127.0.0.1", HOST),
        "folder": (tmp_path / "site").as_uri(),
    }


BUTTON = (
    "[...document.querySelectorAll('tbody tr')].find(r => r.textContent.includes({}))"
    ".querySelector('button')"
)


def test_searching_with_keys(site: Site, browser: Browser) -> None:
    browser.open(f"{site.url}/stable/index.html")
    everything = ["demo-a", "demo-b", "demo-c", "demo-cu13"]
    assert browser.rows() == everything
    browser.click("search")
    browser.write("CUDA13 demo")
    assert browser.rows() == ["demo-cu13"]
    browser.write(" nobody")
    assert browser.rows() == []
    browser.edit("selectAll", "deleteBackward")
    assert browser.rows() == everything
    browser.open(f"{site.url}/stable/cpu/projects/demo-a.html")
    newer, older = browser.rows()
    browser.click("search")
    browser.write("1.0+kvp.1")
    assert browser.rows() == [older]
    assert "1.1+kvp.2" in newer


def copy(browser: Browser, button: str) -> None:
    """Click a button that says "copied" for a moment; polling may come too late for it."""
    watched = "b => { self.said = []; new MutationObserver(() => said.push(b.textContent))"
    watched += ".observe(b, {childList: true, characterData: true, subtree: true}); return true }"
    assert browser.ask(f"({watched})({button})")
    browser.click(button)
    browser.wait("said.includes('copied')")


@pytest.mark.parametrize("place", ["loopback", "http", "folder"])
def test_copying_with_clicks(site: Site, browser: Browser, tmp_path: Path, place: str) -> None:
    """Where there is a clipboard for scripts, and where there is none: http:// under a name."""
    base = places(site, tmp_path)[place]
    browser.open(f"{base}/stable/index.html")
    assert browser.ask("isSecureContext && !!navigator.clipboard") is (place != "http")
    button = BUTTON.format("'demo-cu13'")
    copy(browser, button)
    line = f"pip install demo-cu13==1.0 --index-url {base}/stable/cuda13/simple/"
    assert browser.pasted() == line
    browser.wait(f"{button}.textContent == 'copy'")
    browser.open(f"{base}/stable/cpu/projects/demo-a.html")
    copy(browser, "document.querySelector('button')")
    assert browser.pasted() == f"{base}/stable/cpu/simple/"
    copy(browser, BUTTON.format("'1.1+kvp.2'"))
    name, _, digest = browser.pasted().partition(" --hash=sha256:")
    assert name == "demo-a==1.1+kvp.2"
    assert len(digest) == 64


def test_what_was_copied_installs(site: Site, browser: Browser, tmp_path: Path) -> None:
    browser.open(f"{site.url}/stable/index.html")
    copy(browser, BUTTON.format("'demo-cu13'"))
    words = [sys.executable, "-m", *shlex.split(browser.pasted()), "--isolated", "--no-cache-dir"]
    done = subprocess.run(
        [*words, "--target", str(tmp_path / "target")], capture_output=True, text=True,
        check=False, env=plain_environment(),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert list((tmp_path / "target").glob("demo_cu13/__init__.py"))


def test_without_scripts_everything_is_there(site: Site, browser: Browser) -> None:
    browser.open("about:blank")
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    browser.call("Page.navigate", url=f"{site.url}/stable/cpu/projects/demo-a.html")
    browser.wait("document.readyState == 'complete' && !!document.querySelector('tbody')")
    assert len(browser.rows()) == 2
    links = browser.ask("[...document.querySelectorAll('tbody a')].map(a => a.textContent)")
    assert {"sbom", "audit", "action", "metadata"} <= set(links)
