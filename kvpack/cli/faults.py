"""What the user is told about anything that went wrong: the one place that maps it."""

import errno
import traceback

from kvpack.errors import DiskFull, Interrupted, KvpackError, UsageError


def as_error(problem: BaseException) -> KvpackError:
    """What the user is told about anything that went wrong."""
    match problem:
        case KvpackError():
            return problem
        case KeyboardInterrupt():
            return Interrupted(
                "interrupted", hint="run the same command again: it goes on where this one stopped"
            )
        case OSError():
            return _os_error(problem)
        case _:
            lines = "".join(traceback.format_exception(problem)[-6:])
            return KvpackError(
                f"kvpack itself failed: {type(problem).__name__}: {problem}",
                cause="this is a bug in kvpack; nothing half-written is left",
                hint=f"report it with these lines:\n{lines}",
            )


def _os_error(failure: OSError) -> KvpackError:
    place = failure.filename or "a file"
    if failure.errno in {errno.ENOSPC, errno.EDQUOT}:
        return DiskFull(
            f"no space left on the device that holds {place}",
            hint="free some space, or name another store with --store DIR; nothing was lost",
        )
    return UsageError(
        f"{place}: {failure.strerror or failure}",
        cause="kvpack cannot read or write there",
        hint="check the path and its permissions",
    )
