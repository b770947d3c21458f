"""Lays out what cibuildwheel copies into the container: the source and every locked input.

The container has no network and no folder of the host (``disable_host_mount``): all it gets is this
folder, as cibuildwheel copies its working directory to ``/project``.
"""

import json
import re
import shlex
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import tomlkit

from kvpack.build.golang import place_modules
from kvpack.build.key import lock_digest
from kvpack.build.model import INPUTS, BuildPlan, Workshop
from kvpack.build.sbom import sbom
from kvpack.build.settings import config_settings, environment, setting_words
from kvpack.build.steps import (
    commands_of,
    git_head,
    repaired_script,
    repairs_of,
    steps_script,
)
from kvpack.build.torch import install, keep_source, requirements_of, torch_script
from kvpack.errors import PatchFailed
from kvpack.tools.container import PROXIES
from kvpack.tools.engine import Engine
from kvpack.tools.files import canonical_json, place_file, sha256_file, sha256_of

PATCH_MARK = "kvpack: patch failed:"
LABEL = "kvpack.build"
_SCRIPT_HEAD = "#!/bin/sh\nset -eu\n"


def lay_out(
    plan: BuildPlan, shop: Workshop, blob: Callable[[str], Path], patch: Callable[[str], Path]
) -> Path:
    """Write every file but the source into ``shop.folder/project``; returns that folder.

    :param blob: path of a verified blob by its digest.
    :param patch: path of a patch file of the recipe.
    :raises PatchFailed: if a patch's bytes are not the locked ones.
    """
    project = shop.folder / "project"
    inputs = project / INPUTS
    (inputs / "wheels").mkdir(parents=True)
    _place_environments(plan, inputs, blob)
    place_wraps(plan, shop, blob)
    place_modules(plan, inputs, blob)
    patching = place_patches(plan, shop, blob, patch)
    evidence = inputs / "evidence"
    (evidence / "kvpack").mkdir(parents=True)
    (evidence / "sboms").mkdir()
    (evidence / "kvpack" / "action.json").write_bytes(canonical_json(plan.action))
    (evidence / "kvpack" / "key").write_text(f"{plan.key}\n", encoding="utf-8")
    (evidence / "kvpack" / "lock-digest").write_text(
        f"sha256:{lock_digest(plan.inputs)}\n", encoding="utf-8"
    )
    document = sbom(plan.recipe, plan.inputs, plan.key, plan.libraries)
    (evidence / "sboms" / "kvpack.cdx.json").write_bytes(canonical_json(document))
    order = {
        "name": plan.distribution,
        "version": plan.version,
        "epoch": plan.inputs.source.epoch,
        "upstream": plan.inputs.target.version,
        "platform": plan.inputs.target.platform_tag,
    }
    (inputs / "order.json").write_text(json.dumps(order), encoding="utf-8")
    stamp = files("kvpack.build").joinpath("stamp.py").read_bytes()
    (inputs / "stamp.py").write_bytes(stamp)
    if plan.recipe.build.rename:
        rename = files("kvpack.build").joinpath("rename.py").read_bytes()
        (inputs / "rename.py").write_bytes(rename)
    if commands_of(plan):
        steps = steps_script(plan, f"/project/{shop.source_folder}")
        (inputs / "steps.sh").write_text(steps, encoding="utf-8")
    if repairs_of(plan):
        text = repaired_script(plan, f"/project/{shop.source_folder}")
        (inputs / "repaired.sh").write_text(text, encoding="utf-8")
    before = _before_build(plan, shop, patching)
    (inputs / "before-build.sh").write_text(before, encoding="utf-8")
    (inputs / "repair.sh").write_text(_repair(plan), encoding="utf-8")
    if plan.inputs.torch:
        _place_torch(plan, shop, inputs)
    return project


def _place_environments(plan: BuildPlan, inputs: Path, blob: Callable[[str], Path]) -> None:
    """The wheels of all build environments, each once, and the requirements of each."""
    environments = {"requirements.txt": plan.inputs.build}
    environments |= {requirements_of(one.minor): one.wheels for one in plan.inputs.torch}
    for name, wheels in environments.items():
        for wheel in wheels:
            path = inputs / "wheels" / wheel.file
            if not path.exists():
                place_file(blob(wheel.sha256), path)
        lines = [f"{w.project}=={w.version} --hash=sha256:{w.sha256}\n" for w in wheels]
        (inputs / name).write_text("".join(lines), encoding="utf-8")


def place_wraps(plan: BuildPlan, shop: Workshop, blob: Callable[[str], Path]) -> None:
    """What meson's subprojects would download: its cache (``settings.environment``)."""
    for wrap in plan.inputs.source.wrap:
        place_file(blob(wrap.sha256), shop.folder / "project" / INPUTS / "wraps" / wrap.file)


def place_patches(
    plan: BuildPlan, shop: Workshop, blob: Callable[[str], Path], patch: Callable[[str], Path]
) -> list[str]:
    """Lay the patches out; the shell lines that apply them, without fuzz.

    :raises PatchFailed: if a patch's bytes are not the locked ones.
    """
    folder, lines = shop.folder / "project" / INPUTS / "patches", []
    for locked in plan.inputs.patches:
        kept = patch(locked.file) if locked.file else blob(locked.sha256)
        place_file(kept, folder / locked.name)
        _check_patch(folder / locked.name, locked.sha256, plan)
        quoted = shlex.quote(locked.name)
        lines.append(
            f"patch -d /project/{shop.source_folder} -p1 -F0 --batch --no-backup-if-mismatch "
            f"-i /project/{INPUTS}/patches/{quoted} || "
            f"{{ echo '{PATCH_MARK}' {quoted}; exit 1; }}"
        )
    return lines


def _check_patch(path: Path, sha256: str, plan: BuildPlan) -> None:
    found = sha256_file(path)
    if found != sha256:
        raise PatchFailed(
            f"patches/{plan.recipe.name}/{path.name} has sha256 {found}, the lock says {sha256}",
            cause="the patch was changed after the recipe was locked",
            hint=f"kvpack lock {plan.recipe.name}, if the change is wanted",
        )


def _before_build(plan: BuildPlan, shop: Workshop, patching: list[str]) -> str:
    """Install the locked build requirements, hashes checked by pip; patch; prepare."""
    source = f"/project/{shop.source_folder}"
    lines = [install("python -m pip", "requirements.txt"), *patching, *git_head(plan, source)]
    if plan.inputs.torch:
        lines.append(keep_source(source))
    lines += _preparing(plan, source)
    return _SCRIPT_HEAD + "\n".join(lines) + "\n"


def _preparing(plan: BuildPlan, source: str) -> list[str]:
    """Shell lines between the patched source and the back end, for the Python on PATH."""
    build, lines = plan.recipe.build, []
    if commands_of(plan):
        lines.append(f"bash /project/{INPUTS}/steps.sh")
    if build.rename:
        place = shlex.quote(f"{source}/{build.package or '.'}/pyproject.toml")
        lines.append(f"python /project/{INPUTS}/rename.py {place} {plan.distribution}")
    return lines


def _repair(plan: BuildPlan) -> str:
    """auditwheel for exactly this floor, nothing of the host grafted; then the stamp.

    Further builds are made and repaired here, where cibuildwheel has one wheel of its own.
    """
    repair = f'{_auditwheel(plan)} -w "$repaired"'
    lines = [
        "repaired=$(mktemp -d)",
        # A wheel without binaries is for every platform: auditwheel has nothing to say of it.
        'case "$1" in *-none-any.whl) cp "$1" "$repaired" ;;',
        f'*) {repair} "$1" ;; esac',
        "before=",
    ]
    if plan.inputs.torch:
        lines.append(f'sh /project/{INPUTS}/torch.sh "$repaired"/*.whl')
    if repairs_of(plan):
        lines += [
            'before=$(mktemp -d)/before.whl && cp "$repaired"/*.whl "$before"',
            f'bash /project/{INPUTS}/repaired.sh "$repaired"/*.whl',
        ]
    lines.append(
        f"/opt/python/cp39-cp39/bin/python /project/{INPUTS}/stamp.py "
        f'"$repaired"/*.whl "$2" /project/{INPUTS}/order.json /project/{INPUTS}/evidence '
        '${before:+"$before"}'
    )
    return _SCRIPT_HEAD + "\n".join(lines) + "\n"


def _auditwheel(plan: BuildPlan) -> str:
    excluded = " ".join(
        f"--exclude {shlex.quote(name)}" for name in plan.recipe.audit.host_libraries
    )
    return f"auditwheel repair --plat {plan.inputs.target.platform_tag} --only-plat {excluded}"


def _place_torch(plan: BuildPlan, shop: Workshop, inputs: Path) -> None:
    """The script of the further builds, and what puts them into one wheel."""
    source = f"/project/{shop.source_folder}"
    package = "/".join(filter(None, (source, plan.recipe.build.package)))
    build = " ".join([*_BUILD, *setting_words(plan), shlex.quote(package)])
    script = torch_script(
        plan, source, preparing=_preparing(plan, source), build=build, repair=_auditwheel(plan)
    )
    (inputs / "torch.sh").write_text(_SCRIPT_HEAD + script, encoding="utf-8")
    merge = files("kvpack.build").joinpath("merge.py").read_bytes()
    (inputs / "merge.py").write_bytes(merge)


_BUILD = ("python -m build --wheel --no-isolation", '--outdir "$built"')


def label(plan: BuildPlan, shop: Workshop) -> str:
    """On a build's container: the key and the store, whose lock on that key is held."""
    return f"{LABEL}={plan.key}-{sha256_of(str(shop.folder.parent).encode())[:16]}"


def _literal(value: str) -> str:
    """What gives ``value`` itself: cibuildwheel puts it in double quotes and asks a shell."""
    return re.sub(r'([\\"$`])', r"\\\1", value)


def configuration(plan: BuildPlan, shop: Workshop, engine: Engine) -> str:
    """cibuildwheel's configuration file for this one target."""
    # Labels let the next run remove what a killed one left; limits and mounts: none but the cache.
    create = ["--network=none", f"--label={label(plan, shop)}"]
    if engine.name == "docker":
        # Its client hands the proxies of ~/.docker/config.json on to every container.
        create += [f"--env={name}=" for name in PROXIES]
    if shop.compiler_cache:
        create.append(f"--volume={shop.compiler_cache}:/ccache")
    target = plan.inputs.target
    table = {
        "build-frontend": {"name": "build", "args": ["--no-isolation"]},
        "build-verbosity": 1,
        "container-engine": {
            "name": engine.name,
            "create-args": create,
            "disable-host-mount": True,
        },
        f"manylinux-{target.arch}-image": shop.image,
        "environment": {k: _literal(v) for k, v in environment(plan, shop).items()},
        "before-build": f"sh /project/{INPUTS}/before-build.sh",
        "repair-wheel-command": f"sh /project/{INPUTS}/repair.sh {{wheel}} {{dest_dir}}",
        "audit-command": "",
        "config-settings": config_settings(plan),
    }
    return tomlkit.dumps({"tool": {"cibuildwheel": table}})
