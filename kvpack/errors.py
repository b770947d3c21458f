"""Every way in which kvpack fails, each with an exit code of its own.

::

    KvpackError                  1   a fault that has no class of its own (a bug: report it)
    |- UsageError                2   the command line cannot be understood
    |- CatalogueError           10   no recipes/ folder found, or no such recipe
    |- RecipeInvalid            11   a recipe has faults (all of them are listed)
    |- TargetUnavailable        12   the recipe or the roots do not offer what was selected
    |- ConfigInvalid            13   kvpack.toml or a registry's configuration has faults
    |- LockMissing              20   no lock for this recipe, or it lacks this target
    |- LockDrift                21   the lock no longer says what the recipe asks for
    |- LockInvalid              22   the lock has faults, or was edited by hand
    |- ResolutionFailed         23   no set of inputs satisfies the recipe
    |- FetchFailed              30   no place that was tried had the locked bytes
    |- DigestMismatch           31   places answered, with other bytes than the locked ones
    |- OfflineMissing           32   --offline, and the store lacks an input
    |- ArchiveUnsafe            33   an archive was refused: hostile or damaged
    |- StoreCorrupt             34   the store holds bytes that do not match their name
    |- DiskFull                 35   no space left, nothing was lost
    |- PatchFailed              36   a patch is missing or does not apply
    |- SourceUnreachable        37   a git source is nowhere to be had; its mirrors are told
    |- EngineMissing            40   no container engine that works
    |- RootFailed               41   the builder root could not be made or obtained
    |- BuildFailed              42   cibuildwheel failed; nothing was written to the output folder
    |- NotReproducible          43   --rebuild gave other bytes
    |- OptionIgnored            44   the build system ignored an option that the recipe sets
    |- AuditFailed              50   the wheel breaks a rule; it was not written
    |- WheelInvalid             51   not a wheel, or one that contradicts itself
    |- ToolFailed               60   a program that kvpack runs is missing or failed
    |- ConflictFound            70   distributions of a set cannot live in one environment
    |- RequirementsStale        71   requirements --check: the written files are not what it gives
    |- DoctorFound              72   kvpack doctor found something to mend
    |- StorageFailed            80   an object storage did not answer, refused, or gave other bytes
    |- StorageUnsafe            81   a storage ignores conditional writes: two writers lose data
    |- ReleaseIncomplete        82   a release promises targets that are absent or not proved
    |- ObjectConflict           83   an object of that name holds other bytes
    |- ChannelMoved             84   other publishers kept changing the channel
    |- ReleaseUnknown           85   the storage has no such release or channel
    |- MirrorBehind             86   a mirror is not what its primary is: missing, differing, down
    |- VerificationFailed       87   kvpack verify, bundle verify: a check failed
    |- SigningFailed            88   a key cannot be used, or its signature does not hold
    `- Interrupted             130   stopped by a signal; run the same command again

Exit code 0 is success. ``tests/unit/test_errors.py`` holds this table and the codes together.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """One fault in one place of an input that people write."""

    place: str
    """File and key path, or archive member: ``recipes/x.toml: targets.python[0]``."""
    message: str
    """What is wrong, with the value."""
    hint: str = ""
    """What to do: the nearest valid name, the next command."""

    def as_json(self) -> dict[str, str]:
        return {"place": self.place, "message": self.message, "hint": self.hint}


class KvpackError(Exception):
    """Base of all errors that kvpack raises on purpose.

    :param what: what failed, with the value and its place.
    :param cause: the likely cause, in one sentence.
    :param hint: what to do next, as a command where there is one.
    :param faults: all faults of the input, when there can be several.
    """

    exit_code: ClassVar[int] = 1

    def __init__(
        self, what: str, *, cause: str = "", hint: str = "", faults: Sequence[Fault] = ()
    ) -> None:
        super().__init__(what)
        self.what = what
        self.cause = cause
        self.hint = hint
        self.faults = tuple(faults)

    def as_json(self) -> dict[str, object]:
        return {
            "error": type(self).__name__,
            "exit-code": self.exit_code,
            "what": self.what,
            "cause": self.cause,
            "hint": self.hint,
            "faults": [fault.as_json() for fault in self.faults],
        }


class UsageError(KvpackError):
    exit_code = 2


class CatalogueError(KvpackError):
    exit_code = 10


class RecipeInvalid(KvpackError):
    exit_code = 11


class TargetUnavailable(KvpackError):
    exit_code = 12


class ConfigInvalid(KvpackError):
    exit_code = 13


class LockMissing(KvpackError):
    exit_code = 20


class LockDrift(KvpackError):
    exit_code = 21


class LockInvalid(KvpackError):
    exit_code = 22


class ResolutionFailed(KvpackError):
    exit_code = 23


class FetchFailed(KvpackError):
    exit_code = 30


class DigestMismatch(KvpackError):
    exit_code = 31


class OfflineMissing(KvpackError):
    exit_code = 32


class ArchiveUnsafe(KvpackError):
    exit_code = 33


class StoreCorrupt(KvpackError):
    exit_code = 34


class DiskFull(KvpackError):
    exit_code = 35


class PatchFailed(KvpackError):
    exit_code = 36


class EngineMissing(KvpackError):
    exit_code = 40


class RootFailed(KvpackError):
    exit_code = 41


class BuildFailed(KvpackError):
    exit_code = 42


class NotReproducible(KvpackError):
    exit_code = 43


class SourceUnreachable(KvpackError):
    exit_code = 37


class OptionIgnored(KvpackError):
    exit_code = 44


class AuditFailed(KvpackError):
    exit_code = 50


class WheelInvalid(KvpackError):
    exit_code = 51


class ConflictFound(KvpackError):
    exit_code = 70


class RequirementsStale(KvpackError):
    exit_code = 71


class DoctorFound(KvpackError):
    exit_code = 72


class ToolFailed(KvpackError):
    exit_code = 60


class StorageFailed(KvpackError):
    exit_code = 80


class StorageUnsafe(KvpackError):
    exit_code = 81


class ReleaseIncomplete(KvpackError):
    exit_code = 82


class ObjectConflict(KvpackError):
    exit_code = 83


class ChannelMoved(KvpackError):
    exit_code = 84


class ReleaseUnknown(KvpackError):
    exit_code = 85


class MirrorBehind(KvpackError):
    exit_code = 86


class VerificationFailed(KvpackError):
    exit_code = 87


class SigningFailed(KvpackError):
    exit_code = 88


class Interrupted(KvpackError):
    exit_code = 130
