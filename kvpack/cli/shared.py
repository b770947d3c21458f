"""Results of builds that machines share: taken before a build, given after one.

The storage is a help, not a need: one that does not answer is told once, and builds go on without.
Its credentials stay in this process: a build gets a scrubbed environment and has no network.
"""

import time
from typing import TYPE_CHECKING, Any

from kvpack.cli.context import Context
from kvpack.errors import StorageFailed, StorageUnsafe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvpack.audit.model import AuditReport
    from kvpack.build.model import BuildPlan, BuiltWheel
    from kvpack.publish.shared import Result
    from kvpack.tools.signing import PublicKey, Signer
    from kvpack.tools.stored import Found, Objects, Version

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
        """Bring a result into the store, audited here; ``None``: it has to be built.

        :raises StorageUnsafe: before a build whose result could not be shared safely.
        """
        from kvpack.publish.shared import Poisoned, action_path

        if self._silent or plan.dirty:
            return None
        found: Found | None = None
        try:
            found = self._objects.get(action_path(plan.key))
            if found is not None:
                return self._taken(plan, found.data)
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

    def _taken(self, plan: "BuildPlan", data: bytes) -> "BuiltWheel":
        from kvpack.build.sbom import sbom
        from kvpack.publish.shared import check_wheel
        from kvpack.tools.files import canonical_json

        context = self._context
        bill = canonical_json(sbom(plan.recipe, plan.inputs, plan.key, plan.libraries))
        result = self._read(plan, data)
        with context.store.scratch("shared") as folder:
            wheel = folder / result.file
            with context.console.step(f"Taking {result.file} from {self.name}"):
                self._download(result, wheel)
                check_wheel(wheel, plan, bill)
            report = self._examined(plan, wheel)
            context.store.add_file(wheel, expected=result.sha256)
        return self._judged(plan, result, report)

    def _read(self, plan: "BuildPlan", data: bytes) -> "Result":
        """Read a record, and hold it to the demanded keys.

        :raises Poisoned: if it cannot be used.
        """
        from kvpack.publish.shared import check_signature, read

        result = read(data, plan)
        if self._keys:
            check_signature(result, self._keys)
        return result

    def _download(self, result: "Result", wheel: Any) -> None:  # noqa: ANN401  # a path
        """Read the wheel; one that is cut is begun again."""
        from kvpack.publish.shared import download

        for last in (False, False, True):
            try:
                download(self._objects, result, wheel)
            except StorageFailed:
                if last:
                    raise
            else:
                return

    def _examined(self, plan: "BuildPlan", wheel: Any) -> "AuditReport":  # noqa: ANN401  # a path
        """Audit the wheel here.

        :raises Poisoned: if it does not pass.
        """
        from kvpack.cli.judge import static_report
        from kvpack.errors import WheelInvalid
        from kvpack.publish.shared import Poisoned

        try:
            report = static_report(self._context, plan, wheel)
        except WheelInvalid as error:
            raise Poisoned(error.what) from None
        if not report.passed:
            first = report.errors[0]
            count = len(report.errors)
            rest = f" (and {count - 1} more)" if count > 1 else ""
            raise Poisoned(f"its wheel breaks a rule: {first.place}: {first.message}{rest}")
        return report

    def _judged(self, plan: "BuildPlan", result: "Result", report: "AuditReport") -> "BuiltWheel":
        """Remember result and verdict, running the wheel here only if nobody did by these rules.

        :raises Poisoned: if the wheel does not pass.
        """
        from kvpack.cli.judge import judge, verdict_name
        from kvpack.cli.sharedverdict import built_of, with_trial
        from kvpack.publish.shared import Poisoned

        store, built = self._context.store, built_of(result)
        name = verdict_name(plan, result.sha256)
        whole = with_trial(plan, report, result, name)
        if whole is not None:
            store.write_record("audits", name, whole.as_json())
        verdict = judge(self._context, plan, built)
        if not verdict["passed"]:
            raise Poisoned("its wheel fails when it is run")
        record = {
            "schema": 1, "key": plan.key, "action": plan.action, "made": int(time.time()),
            "seconds": result.seconds, "root": result.root, "builder": result.builder,
            "shared": self.name,
            "wheel": {"file": built.file, "sha256": built.sha256, "size": built.size},
        }  # fmt: skip
        store.write_record("actions", plan.key, record)
        store.write_record("cells", plan.cell, {"key": plan.key, "seconds": built.seconds})
        return built

    # -- giving -----------------------------------------------------------------------------

    def give(self, plan: "BuildPlan", built: "BuiltWheel", verdict: dict[str, Any]) -> bool:
        """Share a result that passed its audit.

        :returns: whether another machine's result of the same key counts instead, with other
            bytes: take that one.
        :raises StorageUnsafe: if the storage ignores conditions.
        """
        from kvpack.cli.sharedverdict import result_of
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
            result = self._signed(plan, result_of(self._context, plan, built, verdict))
            if result is None:
                return False
            wheel = self._context.store.check(built.sha256)
            if give(self._objects, result, wheel, instead_of=bad):
                self._poisoned.pop(plan.key, None)
                console.note(f"{plan.title}: shared at {self.name}")
                return False
            return self._other_first(plan, built)
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

    def _other_first(self, plan: "BuildPlan", built: "BuiltWheel") -> bool:
        from kvpack.publish.shared import Poisoned, action_path

        found = self._objects.get(action_path(plan.key))
        try:
            first = self._read(plan, found.data) if found else None
        except Poisoned:
            return False
        if first is None or first.sha256 == built.sha256:
            return False
        self._context.console.warn(
            f"{plan.title}: another machine shared other bytes for the same key first; its wheel "
            "is taken. kvpack build --rebuild shows what differs"
        )
        return True

    def _signed(self, plan: "BuildPlan", result: "Result") -> "Result | None":
        """Sign a result, if somebody signs.

        ``None``: not by a demanded key. Sharing it would stand in the way of those who can.
        """
        from kvpack.publish.shared import Poisoned, check_signature, signed

        if self._signer is not None:
            if (self._context.store.read_record("actions", plan.key) or {}).get("shared"):
                self._context.console.note(f"{plan.title}: it was not built here, nor signed")
                return None  # whoever put it there would get a signature for it
            result = signed(result, self._signer)
        try:
            if self._keys:
                check_signature(result, self._keys)
        except Poisoned as reason:
            self._context.console.warn(f"{plan.title}: not shared: {reason} (--sign-key)")
            return None
        return result

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
