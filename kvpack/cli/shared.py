"""Results of builds that machines share: taken before a build, given after one.

The storage is a help, not a need: one that does not answer is told once, and builds go on without.
Its credentials stay in this process: a build gets a scrubbed environment and has no network.
"""

from typing import TYPE_CHECKING, Any, TypeVar

from kvpack.cli.context import Context
from kvpack.errors import StorageFailed, StorageUnsafe

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from kvpack.build.model import BuildPlan, BuiltLibrary, BuiltWheel
    from kvpack.cli.sharedtaken import Accept
    from kvpack.publish.shared import Result
    from kvpack.tools.signing import PublicKey, Signer
    from kvpack.tools.stored import Found, Objects, Version

T = TypeVar("T")
SHARED_HIT = "hit (shared)"
"""The state of a target that another machine built."""
SINGLE = 16
"""Keys that are asked for one by one; beyond that, all keys are listed."""


class SharedResults:
    """The storage that holds them, as one run uses it.

    :param keys: one of them must have signed what is taken; none: signatures are not asked for.
    :param signer: whoever signs what is given.
    """

    def __init__(
        self,
        context: Context,
        objects: "Objects",
        *,
        write: bool,
        keys: "Sequence[PublicKey]" = (),
        signer: "Signer | None" = None,
    ) -> None:
        self._context, self._objects, self._write = context, objects, write
        self._keys, self._signer = keys, signer
        self.name = objects.name
        self._silent = False
        """Whether it failed in this run, so that it is not asked again."""
        self._guarded = False
        self._given: set[str] = set()
        """Keys of libraries: each is needed by many wheels."""
        self._poisoned: dict[str, Version] = {}
        """Records that could not be used: a result of one's own may replace them."""

    # -- planning ---------------------------------------------------------------------------

    def mark(self, rows: list[dict[str, Any]]) -> None:
        """Mark the rows of a plan that need not be built, because there is a result of their key.

        Whether it can be used shows when it is taken: only a demanded signature is looked at here.
        """
        from kvpack.publish.shared import action_path, known_keys, signed_keys

        asked = [row for row in rows if row["state"] == "build" and not row["dirty"]]
        if self._silent or not asked:
            return
        try:
            if len(asked) > SINGLE:
                known = known_keys(self._objects)
            else:
                keys = [row["key"] for row in asked]
                known = {key for key in keys if self._objects.head(action_path(key)) is not None}
            if self._keys:
                wanted = known & {row["key"] for row in asked}
                known = signed_keys(self._objects, wanted, self._keys)
        except StorageFailed as error:
            self._give_up(error)
            return
        for row in asked:
            if row["key"] in known:
                row |= {"state": SHARED_HIT, "because": "", "shared": self.name}

    # -- building ---------------------------------------------------------------------------

    def take(self, plan: "BuildPlan") -> "BuiltWheel | None":
        """Bring a wheel into the store, audited here; ``None``: it has to be built.

        :raises StorageUnsafe: before a build whose result could not be shared safely.
        """
        from kvpack.cli.sharedtaken import accept_wheel

        return self._take(plan, accept_wheel)

    def take_library(self, plan: "BuildPlan") -> "BuiltLibrary | None":
        """Bring a native library into the store, its tar checked; ``None``: it has to be built.

        :raises StorageUnsafe: before a build whose result could not be shared safely.
        """
        from kvpack.cli.sharedtaken import accept_library

        return self._take(plan, accept_library)

    def _take(self, plan: "BuildPlan", accept: "Accept[T]") -> "T | None":
        from kvpack.publish.shared import Poisoned, action_path

        if self._silent or plan.dirty:
            return None
        found: Found | None = None
        try:
            found = self._objects.get(action_path(plan.key))
            if found is not None:
                return self._taken(plan, found.data, accept)
            self._guard()
        except Poisoned as reason:
            self._context.console.warn(
                f"{plan.title}: the shared result of key {plan.key[:12]} at {self.name} "
                f"is not used: {reason}"
            )
            if found is not None:
                self._poisoned[plan.key] = found.stat.version
        except StorageUnsafe:
            raise
        except StorageFailed as error:
            self._give_up(error)
        return None

    def _taken(self, plan: "BuildPlan", data: bytes, accept: "Accept[T]") -> "T":
        result = self._read(plan, data)
        with self._context.store.scratch("shared") as folder:
            file = folder / result.file
            with self._context.console.step(f"Taking {result.file} from {self.name}"):
                self._download(result, file)
            return accept(self._context, plan, (result, file, (self.name, bool(self._keys))))

    def _read(self, plan: "BuildPlan", data: bytes) -> "Result":
        """Read a record, and hold it to the demanded keys.

        :raises Poisoned: if it cannot be used.
        """
        from kvpack.publish.shared import check_signature, read

        result = read(data, plan)
        if self._keys:
            check_signature(result, self._keys)
        return result

    def _download(self, result: "Result", file: "Path") -> None:
        """Read the result; one that is cut is begun again."""
        from kvpack.publish.shared import download

        for last in (False, False, True):
            try:
                download(self._objects, result, file)
            except StorageFailed:
                if last:
                    raise
            else:
                return

    # -- giving -----------------------------------------------------------------------------

    def give(self, plan: "BuildPlan", built: "BuiltWheel", verdict: dict[str, Any]) -> bool:
        """Share a wheel that passed its audit.

        :returns: whether another machine's result of the same key counts instead, with other
            bytes: take that one.
        :raises StorageUnsafe: if the storage ignores conditions.
        """
        from kvpack.cli.sharedverdict import result_of

        return self._give(plan, built, lambda: result_of(self._context, plan, built, verdict))

    def give_library(self, plan: "BuildPlan", built: "BuiltLibrary") -> bool:
        """Share a native library, as ``give`` does a wheel; asked for it again, nothing is done."""
        from kvpack.cli.sharedverdict import library_result

        if plan.key in self._given:
            return False
        self._given.add(plan.key)
        return self._give(plan, built, lambda: library_result(self._context, plan, built))

    def _give(
        self,
        plan: "BuildPlan",
        built: "BuiltWheel | BuiltLibrary",
        result_of: "Callable[[], Result]",
    ) -> bool:
        from kvpack.publish.shared import give

        if not self._write or self._silent or plan.dirty:
            return False
        console = self._context.console
        try:
            bad = self._poisoned.get(plan.key)
            if built.hit and bad is None:
                stands, bad = self._stands(plan)
                if stands:
                    return False
            self._guard()
            result = self._signed(plan, result_of())
            if result is None:
                return False
            file = self._context.store.check(built.sha256)
            if give(self._objects, result, file, instead_of=bad):
                self._poisoned.pop(plan.key, None)
                console.note(f"{plan.title}: shared at {self.name}")
                return False
            return self._other_first(plan, result)
        except StorageUnsafe:
            raise
        except StorageFailed as error:
            self._give_up(error)
        return False

    def _stands(self, plan: "BuildPlan") -> "tuple[bool, Version | None]":
        """Whether a record is there that may stay; if not, the version of the one to replace."""
        from kvpack.publish.shared import Poisoned, action_path

        if not self._keys:
            return self._objects.head(action_path(plan.key)) is not None, None
        found = self._objects.get(action_path(plan.key))
        if found is None:
            return False, None
        try:
            self._read(plan, found.data)
        except Poisoned as reason:
            self._context.console.warn(f"{plan.title}: {self.name}: {reason}; it is replaced")
            return False, found.stat.version
        return True, None

    def _other_first(self, plan: "BuildPlan", mine: "Result") -> bool:
        from kvpack.publish.shared import Poisoned, action_path

        found = self._objects.get(action_path(plan.key))
        try:
            first = self._read(plan, found.data) if found else None
        except Poisoned:
            return False
        if first is None or first.sha256 == mine.sha256:
            return False
        self._context.console.warn(
            f"{plan.title}: another machine shared other bytes for the same key first; its "
            f"{mine.kind} is taken. kvpack build --rebuild shows what differs"
        )
        return True

    def _signed(self, plan: "BuildPlan", result: "Result") -> "Result | None":
        """Sign a result, if somebody signs.

        ``None``: not by a demanded key. Sharing it would stand in the way of those who can.
        """
        from kvpack.publish.shared import Poisoned, check_signature, signed

        if self._signer is not None:
            if foreign := self._foreign(plan):
                self._context.console.note(f"{plan.title}: {foreign}, nor signed")
                return None  # whoever put it there would get a signature for it
            result = signed(result, self._signer)
        try:
            if self._keys:
                check_signature(result, self._keys)
        except Poisoned as reason:
            self._context.console.warn(f"{plan.title}: not shared: {reason} (--sign-key)")
            return None
        return result

    def _foreign(self, plan: "BuildPlan") -> str:
        """What of a result nobody known vouches for; empty: nothing.

        A wheel may be built here with a library that was not: then its taker must have demanded a
        signature of the library.
        """
        records = self._context.store.read_record
        if (records("actions", plan.key) or {}).get("shared"):
            return "it was not built here"
        for one in plan.below:
            record = records("actions", one.key) or {}
            if record.get("shared") and not record.get("demanded"):
                return f"the native library {one.title} was not built here"
        return ""

    def _guard(self) -> None:
        """Probe the storage before the first write of a run; nothing is asked in read-only mode."""
        from kvpack.publish.storage import guarded

        if self._write and not self._guarded:
            self._objects = guarded(self._objects, single_writer=False)
            self._guarded = True

    def _give_up(self, error: StorageFailed) -> None:
        self._silent = True
        text = f"{error.what}: {error.cause}" if error.cause else error.what
        self._context.console.warn(f"shared results are left out of this run: {text}")
