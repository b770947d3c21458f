"""Whether a patch fits a tree, without fuzz: ``git apply --check`` in a folder that is no clone."""

import re
from dataclasses import dataclass
from pathlib import Path

from kvpack.report import Reporter
from kvpack.tools.git import Git
from kvpack.tools.process import Command, Runner, check, run


@dataclass(frozen=True)
class Tree:
    """A scratch copy of a source."""

    folder: Path
    git: Git
    reporter: Reporter
    runner: Runner = run

    def refuses(self, patch: bytes, *, reverse: bool = False) -> str:
        """Why a patch does not apply; empty: it does. Nothing is changed."""
        result = self.runner(self._command(patch, "--check", *(["-R"] if reverse else [])),
                             self.reporter)  # fmt: skip
        if result.code == 0:
            return ""
        lines = [line for line in result.errors.splitlines() if line.startswith("error: ")]
        told = [re.sub(r"^error: (patch failed: )?", "", line) for line in lines]
        return "; ".join(dict.fromkeys(told)) or f"git apply exited with code {result.code}"

    def apply(self, patch: bytes) -> None:
        """Change the tree.

        :raises ToolFailed: if the patch does not apply.
        """
        check(self._command(patch), self.reporter, runner=self.runner)

    def _command(self, patch: bytes, *words: str) -> Command:
        args = ("git", "apply", "-p1", "--whitespace=nowarn", *words, "-")
        # No clone above this folder counts: in one, git apply passes over what is not its own.
        environment = self.git.environment() | {"GIT_CEILING_DIRECTORIES": str(self.folder.parent)}
        return Command(args=args, environment=environment, folder=self.folder, stdin=patch)
