"""mooncake_config.json and the environment -> what is wrong with them. Pure: nothing is read.

::

    owner = owner_of(master_args="--enable_offload=true", client_args=None)   # mooncake_programs
    wheel = ability_of("mooncake-transfer-engine-cuda13", "0.3.14", paths, elf)  # mooncake_wheel
    found = check_config(text, "mooncake_config.json", environment=os.environ,
                         owner=owner, wheel=wheel, machine=MachineFacts(gpus=8, …))

``owner``, ``wheel`` and ``machine`` (frozen values of ``mooncake_model``) may each be ``None``:
what depends on them is then not judged, or told as a note. Faults of the command lines come as
findings too (``OwnerSettings.faults``). All ids begin with ``mooncake-``; places are ``FILE: key``,
``FILE:line:column`` (JSON), ``environment: NAME``, ``--client-args: --flag`` or a distribution.
The rules are data: ``mooncake_rules.toml``.
"""

from collections.abc import Mapping

from kvpack.doctor.model import Finding, ranked
from kvpack.doctor.mooncake_environment import check_environment
from kvpack.doctor.mooncake_json import read
from kvpack.doctor.mooncake_keys import check_keys
from kvpack.doctor.mooncake_model import Case, MachineFacts, OwnerSettings, WheelAbility
from kvpack.doctor.mooncake_offload import check_offload
from kvpack.doctor.mooncake_owner import check_devices, check_owner
from kvpack.doctor.mooncake_rules import load_rules
from kvpack.doctor.mooncake_wheel import check_wheel


def check_config(
    text: str | bytes,
    place: str,
    *,
    environment: Mapping[str, str],
    owner: OwnerSettings | None = None,
    wheel: WheelAbility | None = None,
    machine: MachineFacts | None = None,
) -> tuple[Finding, ...]:
    """All findings about a configuration, errors first. It never raises for what they hold.

    :param text: the file; bytes that are no UTF-8 are a finding.
    :param place: the file, as the user named it.
    :param environment: the one that vLLM gets; the owner's too, unless ``owner`` has another.
    """
    given, findings = read(text, place)
    case = Case(
        place=place,
        given=given or {},
        environment=environment,
        rules=load_rules(),
        owner=owner or OwnerSettings(),
        wheel=wheel,
        machine=machine or MachineFacts(),
    )
    findings += [*case.owner.faults, *check_environment(case)]
    if given is not None:
        for check in (check_keys, check_owner, check_devices, check_offload, check_wheel):
            findings += check(case)
    return ranked(findings)
