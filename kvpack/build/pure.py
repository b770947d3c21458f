"""Builds a wheel without binaries, which cibuildwheel refuses to (its own advice: ``build``).

All else is as for other wheels: the locked requirements, patches, steps, the stamp, the evidence.
"""

import shlex
import tarfile
from pathlib import Path

from kvpack.build.contained import Contained
from kvpack.build.model import INPUTS, BuildPlan, Workshop
from kvpack.build.run import one_wheel
from kvpack.build.settings import setting_words
from kvpack.errors import BuildFailed
from kvpack.report import Reporter
from kvpack.tools.engine import Engine

_OUTPUT = "/output"
_SIZE = 1 << 30


def pure_wheel(
    plan: BuildPlan, shop: Workshop, engine: Engine, *, log: Path, reporter: Reporter
) -> Path:
    """Build one target; the project folder must be laid out and hold the source.

    :param log: file that gets the full output.
    :returns: the stamped wheel, in ``shop.folder``.
    :raises BuildFailed: with the last lines and the log's place.
    """
    tag = plan.inputs.target.python_tag
    folder = "/".join(filter(None, ("/project", shop.source_folder, plan.recipe.build.package)))
    where = shlex.quote(folder)
    script = [
        f"export PATH=/opt/python/{tag}-{tag}/bin:$PATH",
        f"sh /project/{INPUTS}/before-build.sh",
        f"mkdir -p /tmp/built {_OUTPUT}",
        " ".join(
            [
                "python -m build --wheel --no-isolation --outdir /tmp/built",
                *setting_words(plan),
                where,
            ]
        ),
        f"sh /project/{INPUTS}/repair.sh /tmp/built/*.whl {_OUTPUT}",
    ]
    how = Contained(plan=plan, shop=shop, engine=engine, log=log, reporter=reporter)
    taken = how.run(["bash", "-euo", "pipefail", "-c", "\n".join(script)], _OUTPUT)
    output = shop.folder / "wheels"
    output.mkdir()
    if taken is not None:
        _unpack(taken, output, log)
    return one_wheel(plan, output, log)


def _unpack(taken: Path, output: Path, log: Path) -> None:
    """The files of the output folder; what is no plain file at its top is not taken."""
    with tarfile.open(taken, encoding="utf-8", errors="surrogateescape") as tar:
        for info in tar:
            parts = [part for part in info.name.split("/") if part not in {"", "."}]
            content = tar.extractfile(info) if info.isfile() and info.size <= _SIZE else None
            # output/x.whl, ./output/x.whl or ./x.whl, as the engine has it.
            if content is None or len(parts) > 2 or not parts[-1].endswith(".whl"):  # noqa: PLR2004
                continue
            if "\0" in parts[-1] or not parts[-1].isascii():
                raise BuildFailed(
                    f"the build left a wheel called {parts[-1]!r}",
                    cause="the build replaced what kvpack put into the container",
                    hint=f"the full log is {log}",
                )
            (output / parts[-1]).write_bytes(content.read())
