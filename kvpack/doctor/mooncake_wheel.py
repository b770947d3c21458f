"""What the installed Mooncake can do, and whether that is what the file asks for."""

from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from kvpack.audit.model import ElfFile
from kvpack.doctor import mends
from kvpack.doctor.model import Finding, Mend, Severity
from kvpack.doctor.mooncake_model import Case, WheelAbility, finding, shown

_STORE = ("mooncake/store.so", "mooncake/store.*.so", "mooncake/_store.*.so", "mooncake/_store.so")
_CLIENT, _MASTER = "mooncake/mooncake_client", "mooncake/mooncake_master"
_ENGINE = ("mooncake/engine.so", "mooncake/engine.*.so")
_DMA_BUF = "IBVERBS_1.12"
"""rdma-core's version of ``ibv_reg_dmabuf_mr``."""


def ability_of(
    distribution: str, version: str, paths: Iterable[str], elf: Sequence[ElfFile]
) -> WheelAbility:
    """Read what a Mooncake can do from the names of its files and the headers of its ELF files.

    :param paths: as in RECORD, relative to site-packages.
    """
    names = set(paths)
    store = [one for one in elf if _is(one.path, _STORE)]
    owner = [one for one in elf if one.path == _CLIENT] or store
    engine = [one for one in elf if _is(one.path, _ENGINE)]
    return WheelAbility(
        distribution=distribution,
        version=version,
        store=any(_is(path, _STORE) for path in names),
        client=_CLIENT in names,
        master=_MASTER in names,
        io_uring=any(_needs(one, "liburing") for one in owner) if owner else None,
        dma_buf=any(_DMA_BUF in _verbs(one) for one in engine) if engine else None,
        etcd=any(path.rpartition("/")[2].startswith("libetcd_wrapper") for path in names),
        redis=any(_needs(one, "libhiredis") for one in engine),
    )


def _is(path: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(path, pattern) for pattern in patterns)


def _needs(elf: ElfFile, soname: str) -> bool:
    """Also as auditwheel renames it: ``liburing-9b1f5d8a.so.1.0.7``."""
    return any(one.startswith(soname) for one in elf.needed)


def _verbs(elf: ElfFile) -> tuple[str, ...]:
    return tuple(
        version
        for soname, versions in elf.symbol_versions.items()
        if soname.startswith("libibverbs")
        for version in versions
    )


def check_wheel(case: Case) -> Iterator[Finding]:
    """Nothing where no Mooncake was looked for."""
    wheel = case.wheel
    if wheel is None:
        return
    yield from _files(case, wheel)
    yield from _uring(case, wheel)
    yield from _peermem(case, wheel)
    yield from _metadata(case, wheel)
    yield from _versions(case, wheel)


def _title(wheel: WheelAbility) -> str:
    return f"{wheel.distribution} {wheel.version}"


def _newest(wheel: WheelAbility, versions: str) -> tuple[Mend, ...]:
    """Both ways to another version of the same distribution."""
    return mends.packages(wheel.python, add=[f"{wheel.distribution}{versions}"])


def _files(case: Case, wheel: WheelAbility) -> Iterator[Finding]:
    again = mends.packages(wheel.python, again=[f"{wheel.distribution}=={wheel.version}"])
    if not wheel.store:
        message = f"{_title(wheel)} has no mooncake.store: it was built without WITH_STORE"
        why = "MooncakeStoreConnector imports MooncakeDistributedStore from it"
        yield finding("wheel-store", "error", wheel.distribution, message, why=why, mend=again)
    needs: list[tuple[bool, str, Severity]] = [(wheel.master, "mooncake_master", "warning")]
    if case.mode == "standalone-store" or case.offload:
        severity: Severity = "error" if case.mode == "standalone-store" else "warning"
        needs.append((wheel.client, "mooncake_client", severity))
    for there, program, severity in needs:
        if not there:
            message = f"{_title(wheel)} has no program {program}"
            why = "it must be of the same release as the library of the ranks"
            yield finding(
                "wheel-program", severity, wheel.distribution, message, why=why, mend=again
            )


def _uring(case: Case, wheel: WheelAbility) -> Iterator[Finding]:
    environment = case.owner_environment
    names = ("MOONCAKE_OFFLOAD_USE_URING", "MOONCAKE_USE_URING")
    name = next((one for one in names if one in environment), None)
    if name is None or environment[name] not in {"true", "1"} or wheel.io_uring is not False:
        return
    message = f"{name}={environment[name]}, and {_title(wheel)} is built without liburing"
    why = (
        "Mooncake goes on with POSIX reads and writes and does not say so: its build takes "
        "liburing where it finds it, and has no option"
    )
    mend = f"{name}=false"
    place = case.variable_at(name)
    yield finding("wheel-uring", "error", place, message, why=why, environment=mend)


def _peermem(case: Case, wheel: WheelAbility) -> Iterator[Finding]:
    name = "WITH_NVIDIA_PEERMEM"
    value = case.environment.get(name)
    if value is None or value.lower() not in {"0", "false", "no", "off"}:
        return
    place, rule = f"environment: {name}", case.rules.able("peermem-at-run-time")
    if wheel.dma_buf is False:
        message = f"{name}={value}, and the engine of {_title(wheel)} has no dma-buf registration"
        mend = _newest(wheel, rule.versions)
        yield finding("wheel-dma-buf", "error", place, message, why=rule.why, mend=mend)
    elif _within(wheel, rule.versions) is False:
        message = f"{name}={value} is not read by {_title(wheel)}"
        mend = _newest(wheel, rule.versions)
        yield finding("wheel-dma-buf", "warning", place, message, why=rule.why, mend=mend)


def _metadata(case: Case, wheel: WheelAbility) -> Iterator[Finding]:
    value = case.text("metadata_server") or ""
    scheme = value.partition("://")[0]
    needs = next((one.needs for one in case.rules.metadata if one.scheme == scheme), "")
    if (needs == "etcd" and not wheel.etcd) or (needs == "redis" and not wheel.redis):
        message = f"{shown(value)} needs {needs}, and {_title(wheel)} is built without"
        mend = '"metadata_server": "P2PHANDSHAKE"'
        why = "the official CUDA wheels for aarch64 have no etcd, and no official wheel has redis"
        place = case.at("metadata_server")
        yield finding("wheel-metadata", "error", place, message, why=why, file=mend)


def _within(wheel: WheelAbility, versions: str) -> bool | None:
    """Whether the version is in a range, whatever its local part; ``None``: it has no order."""
    try:
        return SpecifierSet(versions).contains(Version(wheel.version).public, prereleases=True)
    except InvalidVersion:
        return None


def _versions(case: Case, wheel: WheelAbility) -> Iterator[Finding]:
    tenant = (case.text("tenant_id") or "").strip() or "default"
    asked: list[tuple[str, str, str, Severity]] = []
    if case.offload:
        asked.append(("disk-offload", case.at("enable_offload"), "true", "error"))
    if tenant != "default":
        asked.append(("tenant", case.at("tenant_id"), shown(tenant), "error"))
    if case.text("protocol") == "efa" and "-efa" not in wheel.distribution:
        asked.append(("efa", case.at("protocol"), '"efa"', "error"))
    if wheel.master:
        asked.append(("sound-master", wheel.distribution, wheel.version, "warning"))
    for name, place, value, severity in asked:
        rule = case.rules.able(name)
        if _within(wheel, rule.versions) is False:
            message = f"{value}: {_title(wheel)} is not {rule.versions}"
            mend = _newest(wheel, rule.versions)
            yield finding("wheel-version", severity, place, message, why=rule.why, mend=mend)
    if asked and _within(wheel, ">=0") is None:
        message = f"{shown(wheel.version)} is no version (PEP 440): what it can do is not known"
        yield finding("wheel-version", "note", wheel.distribution, message)
