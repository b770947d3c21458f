"""git, hardened: a bare scratch repository that only fetches and reads; nothing is checked out.

What upstream controls (hooks, filters, attributes, submodule URLs, LFS) never runs: trees are read
as objects. What the machine configures (system, global and repository files, credential helpers,
prompts) does not count; proxies, ``~/.netrc``, ssh's keys and its configuration do.

Sources: git(1) "ENVIRONMENT VARIABLES", git-config(1); CVE-2015-7545 (``ext::``), CVE-2017-1000117
and CVE-2018-17456 (options in place of URLs), CVE-2022-39253 (links of a local clone),
CVE-2024-32004 (what a foreign clone may start).
"""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from kvpack.errors import ToolFailed
from kvpack.report import Reporter
from kvpack.tools.process import Command, Result, Runner, check, failed, run
from kvpack.tools.web import TryFailed, redact

_PASSED = (
    *("PATH", "HOME", "TMPDIR", "SSH_AUTH_SOCK", "GIT_SSL_CAINFO", "GIT_SSL_CAPATH"),
    *("http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"),
)
"""All that counts of kvpack's own environment."""
_FIXED = {
    "LC_ALL": "C",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "",
    "SSH_ASKPASS_REQUIRE": "never",
    "GIT_SSH_COMMAND": "ssh -o BatchMode=yes -o PermitLocalCommand=no",
    "GIT_LFS_SKIP_SMUDGE": "1",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
}
CONFIG = f"""\
[core]
\thooksPath = {os.devnull}
\tfsmonitor = false
\tattributesFile = {os.devnull}
\texcludesFile = {os.devnull}
\tautocrlf = false
[safe]
\tdirectory = *
[credential]
\thelper =
[protocol]
\tversion = 2
[http]
\tlowSpeedLimit = 1
\tlowSpeedTime = 60
[fetch]
\trecurseSubmodules = false
\twriteCommitGraph = false
[transfer]
\tbundleURI = false
[uploadpack]
\tallowAnySHA1InWant = true
[gc]
\tauto = 0
[maintenance]
\tauto = false
[init]
\tdefaultBranch = none
"""
"""The whole of git's configuration. ``safe.directory``: a clone that the user named is meant, also
where its files belong to somebody else (a mounted volume)."""
_QUICK, _LONG = 45, 3600
"""Seconds that a question, and a transfer, may take; a transfer that stalls ends sooner."""
GITLINK, SYMLINK, EXECUTABLE = 0o160000, 0o120000, 0o100755
EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
"""The tree without entries, which every repository has."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One entry of a tree, below no other: a file, a symbolic link or a submodule's commit."""

    path: str
    mode: int
    oid: str


@dataclass(frozen=True, kw_only=True, slots=True)
class CommitFacts:
    tree: str
    time: int
    """When it was committed: seconds since the epoch."""
    parents: tuple[str, ...]


class Git:
    """One bare repository in a scratch folder. Its folder is the caller's to remove."""

    def __init__(self, folder: Path, reporter: Reporter, *, runner: Runner = run) -> None:
        self.folder, self._reporter, self._runner = folder, reporter, runner
        folder.mkdir(parents=True, exist_ok=True)
        self._config = folder / "kvpack.gitconfig"
        self._config.write_text(CONFIG, encoding="utf-8")
        self._repository = folder / "bare"
        if not self._repository.exists():
            self._must("init", "--quiet", "--bare", "--template=", self._repository)

    # -- upstream ----------------------------------------------------------------------------

    def refs(self, url: str, *names: str) -> dict[str, str]:
        """The objects that refs of a repository name; a peeled tag ends with ``^{}``.

        :raises TryFailed: if it does not answer.
        """
        result = self._ask(url, _QUICK, "ls-remote", "--quiet", "--", url, *names)
        lines = (line.split("\t") for line in result.output.splitlines())
        return {words[1]: words[0] for words in lines if len(words) == 2}  # noqa: PLR2004

    def fetch(self, url: str, commit: str, *, depth: int = 1) -> None:
        """Bring a commit, by its hash alone if the server allows that.

        :raises TryFailed: if the repository does not answer, or has no such commit.
        """
        if self.has(commit):
            return
        self.refs(url, "HEAD")  # a host that is not there is told in seconds
        plain = ("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--force")
        try:
            self._ask(url, _LONG, *plain, f"--depth={depth}", "--", url, commit)
        except TryFailed as error:
            self._reporter.detail(f"{redact(url)}: {error.reason}; asking for all branches")
            every = ("+refs/heads/*:refs/h/*", "+refs/tags/*:refs/t/*")
            self._ask(url, _LONG, *plain, "--", url, *every)
        if not self.has(commit):
            raise TryFailed(f"it has no commit {commit}")

    # -- objects -----------------------------------------------------------------------------

    def has(self, commit: str) -> bool:
        """Whether a commit is here, with its tree."""
        return self._here("cat-file", "-e", f"{commit}^{{tree}}").code == 0

    def facts(self, commit: str) -> CommitFacts:
        text = self._must("cat-file", "commit", commit).output
        head = text.partition("\n\n")[0]
        tree = re.search(r"^tree ([0-9a-f]+)$", head, re.MULTILINE)
        when = re.search(r"^committer .*> (\d+)", head, re.MULTILINE)
        parents = tuple(re.findall(r"^parent ([0-9a-f]+)$", head, re.MULTILINE))
        if tree is None or when is None:
            raise ToolFailed(f"commit {commit} has no tree or date", cause="it is damaged")
        return CommitFacts(tree=tree[1], time=int(when[1]), parents=parents)

    def entries(self, commit: str) -> list[Entry]:
        """Everything in a commit's tree, in git's order."""
        found = []
        for row in self._bytes("ls-tree", "-r", "-z", "--full-tree", commit).split(b"\0")[:-1]:
            words, _, path = row.partition(b"\t")
            mode, _, oid = words.decode().split(" ")
            text = path.decode(errors="surrogateescape")
            found.append(Entry(path=text, mode=int(mode, 8), oid=oid))
        return found

    def contents(self, oids: Sequence[str], scratch: str) -> Iterator[bytes]:
        """The bytes of blobs, in the order asked for.

        :param scratch: a file name that nothing else in the folder has.
        """
        if not oids:
            return
        stdin = "".join(f"{oid}\n" for oid in oids).encode()
        target = self.folder / scratch
        self._must("cat-file", "--batch", "--buffer", stdin=stdin, output_to=target)
        with target.open("rb") as stream:
            for oid in oids:
                yield _one(stream, oid)
        target.unlink()

    def submodule_urls(self, oid: str) -> dict[str, str]:
        """Path -> URL, from the blob of a ``.gitmodules``."""
        rows = self._bytes("config", "--blob", oid, "-z", "--no-includes", "--list").split(b"\0")
        found: dict[str, dict[str, str]] = {}
        for row in rows:
            key, _, value = row.decode(errors="surrogateescape").partition("\n")
            section, _, rest = key.partition(".")
            name, _, variable = rest.rpartition(".")
            if section == "submodule":
                found.setdefault(name, {})[variable] = value
        return {one["path"]: one.get("url", "") for one in found.values() if "path" in one}

    def change(self, old: str, new: str) -> bytes:
        """What one commit changed against another, in words that no configuration decides."""
        return self._bytes(
            *("diff-tree", "-p", "--full-index", "--no-color", "--no-ext-diff", "--no-textconv"),
            *("--no-renames", "--no-indent-heuristic", "--diff-algorithm=myers", "--unified=3"),
            *("--inter-hunk-context=0", "--src-prefix=a/", "--dst-prefix=b/"),
            *("--ignore-submodules=none", "--submodule=short", old, new),
        )  # fmt: skip

    # -- a working tree ----------------------------------------------------------------------

    def working_files(self, folder: Path) -> list[str]:
        """What lies in a working tree, tracked or not, and is not ignored; hooks do not run."""
        data = self._bytes_of(
            *("git", "-c", "core.fsmonitor=false", "-c", f"core.hooksPath={os.devnull}"),
            *("-c", "core.untrackedCache=false", "-C", folder),
            *("ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate"),
        )
        return [path.decode(errors="surrogateescape") for path in data.split(b"\0")[:-1]]

    # -- running -----------------------------------------------------------------------------

    def environment(self, protocols: str = "") -> dict[str, str]:
        """The whole environment of a git that may use these transports."""
        found = {name: os.environ[name] for name in _PASSED if name in os.environ}
        if "GIT_SSL_CAINFO" not in found and os.environ.get("SSL_CERT_FILE"):
            found["GIT_SSL_CAINFO"] = os.environ["SSL_CERT_FILE"]
        return found | {
            **_FIXED,
            "GIT_CONFIG_GLOBAL": str(self._config),
            "GIT_CEILING_DIRECTORIES": str(self.folder.parent),
            "GIT_ALLOW_PROTOCOL": protocols or "none",
        }

    def _ask(self, url: str, seconds: float, *words: str) -> Result:
        """Run a command that speaks to ``url``.

        :raises TryFailed: if it fails.
        """
        scheme = url.partition("://")[0]
        protocols = {"http": "http:https"}.get(scheme, scheme)
        args = ["git", f"--git-dir={self._repository}", *words]
        shown = [redact(word) for word in args]
        command = Command(
            args=args,
            environment=self.environment(protocols),
            folder=self.folder,
            timeout=seconds,
            args_shown=shown,
        )
        try:
            result = self._runner(command, self._reporter)
        except ToolFailed as error:
            if "did not end within" not in error.what:
                raise
            raise TryFailed(f"no answer within {seconds:g} s", transient=True) from error
        if result.code != 0:
            raise TryFailed(_reason(result))
        return result

    def _here(self, *words: str | Path, **more: object) -> Result:
        command = Command(
            args=["git", *words] if words[0] == "init" else _in(self._repository, words),
            environment=self.environment(),
            folder=self.folder,
            **more,  # type: ignore[arg-type]  # stdin, output_to
        )
        return self._runner(command, self._reporter)

    def _must(self, *words: str | Path, **more: object) -> Result:
        result = self._here(*words, **more)
        if result.code != 0:
            raise failed(result, f"git {' '.join(map(str, words))}")
        return result

    def _bytes(self, *words: str) -> bytes:
        return self._bytes_of(*_in(self._repository, words))

    def _bytes_of(self, *args: str | Path) -> bytes:
        target = self.folder / "output"
        command = Command(
            args=args, environment=self.environment(), folder=self.folder, output_to=target
        )
        check(command, self._reporter, runner=self._runner)
        return target.read_bytes()


def _in(repository: Path, words: Iterable[str | Path]) -> list[str | Path]:
    return ["git", f"--git-dir={repository}", *words]


def _one(stream: IO[bytes], oid: str) -> bytes:
    """One answer of ``git cat-file --batch``."""
    head = stream.readline().split()
    if len(head) != 3 or head[0].decode() != oid or head[1] != b"blob":  # noqa: PLR2004
        raise ToolFailed(f"git has no blob {oid}", cause=b" ".join(head).decode(errors="replace"))
    data = stream.read(int(head[2]))
    stream.read(1)
    return data


def _reason(result: Result) -> str:
    """What git says went wrong, in a line."""
    lines = [line.strip() for line in result.errors.splitlines() if line.strip()]
    told = [line for line in lines if re.match(r"(fatal|error|remote|ssh|ERROR):", line)] or lines
    plain = (re.sub(r"^(fatal|error): (unable to access '[^']*': )?", "", one) for one in told[-3:])
    words = "; ".join(dict.fromkeys(plain))
    return words or f"git exited with code {result.code}"
