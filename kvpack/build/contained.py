"""Runs a build that cibuildwheel is not for: of a native library, or of a pure wheel.

As for any other: no network, no folder of the host but a compiler cache, a scrubbed environment.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kvpack.build.failure import failure, follow
from kvpack.build.ignored import ignored, refused
from kvpack.build.model import BuildPlan, Workshop
from kvpack.build.project import label
from kvpack.build.settings import environment
from kvpack.report import Reporter
from kvpack.tools.container import Container
from kvpack.tools.engine import Engine
from kvpack.tools.process import stream


@dataclass(frozen=True, kw_only=True)
class Contained:
    """One build in one container; its project folder must be laid out and hold the source."""

    plan: BuildPlan
    shop: Workshop
    engine: Engine
    log: Path
    """Gets the full output."""
    reporter: Reporter

    def run(self, command: Sequence[str], result: str) -> Path | None:
        """Run a command, and copy a folder out as a tar; ``None`` if there is no such folder.

        :raises BuildFailed: with the last lines and the log's place.
        :raises OptionIgnored: if the log shows it.
        """
        plan, shop, engine, reporter = self.plan, self.shop, self.engine, self.reporter
        mark, lines = label(plan, shop), list[str]()
        container = Container(
            engine=engine,
            image=shop.image,
            label=mark,
            environment=environment(plan, shop),
            volumes=[f"{shop.compiler_cache}:/ccache"] if shop.compiler_cache else [],
        )
        engine.remove_containers(mark, reporter)
        try:
            name = container.create(command, reporter)
            container.give(name, shop.folder / "project", "/project", reporter)
            running = container.starting(name)
            with reporter.step(f"Building {plan.title}") as step, self.log.open("wb") as kept:
                code = stream(running, follow(lines, step), log=kept)
            if code != 0:
                raise failure(plan, None, ("its commands", code), lines, self.log)
            if error := ignored(plan, lines, self.log) or refused(plan, lines, self.log):
                raise error
            taken = shop.folder / "taken.tar"
            return taken if container.take(name, result, taken, reporter) else None
        finally:
            engine.remove_containers(mark, reporter)
