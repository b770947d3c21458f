"""Stand-in for mooncake.store: it stores nothing."""

from mooncake._store import open_storage

__all__ = ["open_storage"]
