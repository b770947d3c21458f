"""Stand-in for mooncake.async_store."""

from mooncake import store


async def open_storage():
    return store.open_storage()
