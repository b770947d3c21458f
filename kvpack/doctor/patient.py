"""Everything that the checks look at, in one frozen value, with what follows from it."""

import functools
import re
from collections import defaultdict
from dataclasses import dataclass

from kvpack.doctor.environment import Distribution, Environment
from kvpack.doctor.machine import MachineFacts
from kvpack.doctor.rules import Rules
from kvpack.names import Accelerator
from kvpack.resolve.families import Families, Family


@dataclass(frozen=True)
class Target:
    """What the environment is for, and how that is known."""

    accelerator: Accelerator
    because: str

    @property
    def cuda(self) -> str | None:
        """The CUDA major, ``13``."""
        found = re.fullmatch(r"cuda(\d+)", self.accelerator.value)
        return found.group(1) if found else None


@dataclass(frozen=True)
class Patient:
    """An environment on a machine."""

    environment: Environment
    machine: MachineFacts
    families: Families
    rules: Rules
    told: Accelerator | None = None
    """What the user said that the environment is for."""

    @functools.cached_property
    def members(self) -> dict[str, tuple[Distribution, ...]]:
        """Family -> its members that are installed, without dispatchers."""
        found: defaultdict[str, list[Distribution]] = defaultdict(list)
        for one in self.environment.distributions:
            family = self.families.family_of(one.name)
            if family is not None and family.member(one.name) is not None:
                found[family.name].append(one)
        return {name: tuple(members) for name, members in found.items()}

    @functools.cached_property
    def crowded(self) -> frozenset[str]:
        """Distributions of families that have more than one member here."""
        return frozenset(
            one.name for members in self.members.values() if len(members) > 1 for one in members
        )

    def family(self, name: str) -> Family:
        return next(one for one in self.families.family if one.name == name)

    def member(self, family: str) -> Distribution | None:
        """The one member of a family; ``None`` if there is none, or more than one."""
        found = self.members.get(family, ())
        return found[0] if len(found) == 1 else None

    @property
    def python(self) -> str:
        return self.environment.python

    @functools.cached_property
    def moves_memory(self) -> tuple[str, ...]:
        """Installed distributions that register memory with RDMA devices."""
        return tuple(one.name for family in self.rules.rdma for one in self.members.get(family, ()))

    @functools.cached_property
    def target(self) -> Target | None:
        """What the environment is for: told, torch, the CUDA libraries, the other families."""
        if self.told is not None:
            return Target(self.told, "as you said")
        return self._by_torch() or self._by_runtime() or self._by_members()

    def _by_torch(self) -> Target | None:
        torch = self.environment.torch
        if torch is None:
            return None
        major = (torch.cuda or torch.hip or "").split(".")[0]
        named = {"cuda": torch.cuda, "rocm": torch.hip}
        kind = next((name for name, value in named.items() if value), "cpu")
        try:
            accelerator = Accelerator("cpu" if kind == "cpu" else f"{kind}{major}")
        except ValueError:  # CUDA 11, ROCm 6: nothing here is built for those
            return None
        shown = {"cuda": f"of CUDA {major}", "rocm": f"of ROCm {major}"}
        what = shown.get(kind, "without an accelerator")
        return Target(accelerator, f"torch {torch.version} is {what}")

    def _by_runtime(self) -> Target | None:
        found = self.runtimes
        if len(found) != 1:
            return None
        ((major, names),) = found.items()
        try:
            return Target(Accelerator(f"cuda{major}"), f"{names[0]} is installed")
        except ValueError:
            return None

    def _by_members(self) -> Target | None:
        """The accelerator that all families with one member agree on."""
        said = {}
        for name, members in self.members.items():
            if len(members) == 1:
                member = self.family(name).member(members[0].name)
                if member is not None and member.accelerator not in {None, Accelerator.CPU}:
                    said[member.accelerator] = members[0].name
        if len(said) != 1:
            return None
        ((accelerator, name),) = said.items()
        return Target(accelerator, f"{name} is installed") if accelerator else None

    @functools.cached_property
    def runtimes(self) -> dict[str, tuple[str, ...]]:
        """CUDA major -> installed distributions of NVIDIA that carry its libraries."""
        found: defaultdict[str, list[str]] = defaultdict(list)
        for one in self.environment.distributions:
            match = re.fullmatch(self.rules.cuda.runtime, one.name)
            if match:  # from 13 on, the major is in the version alone
                found[match["major"] or one.version.split(".")[0]].append(one.name)
        return {major: tuple(names) for major, names in sorted(found.items())}
