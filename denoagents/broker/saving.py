"""Saves the fleet's state without holding the loop: one operation at a time, in one thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from denoagents.cluster.orders import Persist
from denoagents.store.lease_store import LeaseStore


class Saving:
    """A store that may block, behind a call that does not."""

    def __init__(self, store: LeaseStore, on_end: Callable[[int, str], None]) -> None:
        """`on_end(number, reason)` is called on the loop; reason "" means that it is safe."""
        self._store, self._on_end = store, on_end
        self._thread: ThreadPoolExecutor | None = None

    def save(self, persist: Persist) -> None:
        """Begin to save; a store that never blocks is done at once."""
        if not self._store.is_blocking:
            self._on_end(persist.number, self._save(persist.state))
            return
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="denoagents-store")
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._thread, self._save, persist.state)
        future.add_done_callback(lambda done: self._ended(persist.number, done))

    def close(self) -> None:
        """Wait for what is under way, and let go of the store."""
        if self._thread is not None:
            self._thread.shutdown(wait=True)
        self._store.close()

    def _save(self, state: bytes) -> str:
        """The reason why it failed, or ""."""
        try:
            self._store.save(state)
        except Exception as error:
            return str(error) or type(error).__name__
        return ""

    def _ended(self, number: int, done: asyncio.Future[str]) -> None:
        if not done.cancelled():
            self._on_end(number, done.result())
