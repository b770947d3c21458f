"""The shell of a wheel that is built once for each of several minor versions of torch. Pure.

Every further build starts from the same patched source at the same place, so that what does not
depend on torch is the same bytes, and ``merge.py`` can insist on it.
"""

import shlex

from kvpack.build.model import INPUTS, BuildPlan

_KEPT = "/opt/kvpack-source"
"""The patched source, before any step."""


def requirements_of(minor: str) -> str:
    """``requirements-torch2.14.txt``."""
    return f"requirements-torch{minor}.txt"


def install(pip: str, requirements: str) -> str:
    """Install locked wheels, hashes checked by pip.

    :param pip: the program, as a shell writes it.
    """
    words = "install --quiet --no-index --no-deps --no-compile --require-hashes"
    where = f"--find-links /project/{INPUTS}/wheels -r /project/{INPUTS}/{requirements}"
    return f"{pip} {words} {where}"


def keep_source(source: str) -> str:
    """Keep the patched source for the further builds."""
    return f"cp -a {shlex.quote(source)} {_KEPT}"


def torch_script(
    plan: BuildPlan, source: str, *, preparing: list[str], build: str, repair: str
) -> str:
    """A shell script that gets the first, repaired wheel, and adds the extensions of the others.

    :param source: the source's folder in the container.
    :param preparing: what runs between the patched source and the back end.
    :param build: the front end, into ``$built``.
    :param repair: auditwheel, without its folder.
    """
    place, first = shlex.quote(source), shlex.quote(f"{source}.first")
    lines = ['wheel="$1"', f"mv {place} {first}"]
    for one in plan.inputs.torch:
        home = f"/opt/kvpack-torch/{one.minor}"
        lines += [
            f"echo 'kvpack: the build for torch {one.minor}'",
            f"python -m venv --without-pip {home}",
            install(f"python -m pip --python {home}/bin/python", requirements_of(one.minor)),
            f"cp -a {_KEPT} {place}",
            "built=$(mktemp -d) made=$(mktemp -d)",
            "(",
            f'PATH="{home}/bin:$PATH"',
            *preparing,
            build,
            ")",
            f'{repair} -w "$made" "$built"/*.whl',
            _merge(plan),
            f'rm -rf {place} "$built" "$made" {home}',
        ]
    # What changes the repaired wheel finds the tree of the first build.
    lines.append(f"mv {first} {place}")
    return "\n".join(lines) + "\n"


def _merge(plan: BuildPlan) -> str:
    patterns = " ".join(shlex.quote(one) for one in plan.recipe.build.torch_adds)
    merge = f"/opt/python/cp39-cp39/bin/python /project/{INPUTS}/merge.py"
    return f'{merge} "$wheel" "$made"/*.whl {patterns}'
