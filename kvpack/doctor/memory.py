"""The check of how much memory may be locked. Pure."""

from collections.abc import Iterator

from kvpack.doctor.model import Finding, Mend
from kvpack.doctor.patient import Patient


def memlock(patient: Patient) -> Iterator[Finding]:
    """The limit on locked memory, where RDMA devices are (Mooncake #2177, llm-d's manifests).

    Whoever has CAP_IPC_LOCK is not held to it; ``MachineFacts.memlock`` is then none.
    """
    machine, rule = patient.machine, patient.rules.memlock
    limit = machine.memlock
    if limit is None or not machine.nics or not patient.moves_memory or limit >= rule.enough:
        return
    yield Finding(
        check="memlock",
        severity="error" if limit < rule.least else "warning",
        place="ulimit -l",
        message=f"at most {_size(limit)} may be locked, and there are {len(machine.nics)} RDMA "
        "devices",
        why="registering memory fails with ENOMEM, often only under load: every registered byte "
        "is locked",
        mend=(
            Mend(tool="system", command="docker run --ulimit memlock=-1 --cap-add IPC_LOCK …"),
            Mend(tool="file", command="/etc/security/limits.d/memlock.conf: * - memlock unlimited"),
        ),
    )


def _size(count: int) -> str:
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= factor:
            return f"{count / factor:g} {unit}"
    return f"{count} bytes"
