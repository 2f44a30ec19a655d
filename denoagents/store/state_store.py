"""The embedded state store: one SQLite file a host, which its worker processes share.

Rules:
    Every method is called on the loop's thread. Two threads do the work: one writes, the other
    reads.
    The modes: `disk` is told after an fsync of the log, `os` after the write (it survives
    `kill -9`), `memory` at once: it is written within 50 ms, and lost with the process or a full
    disk. All three keep the order of one actor's commits.
    An actor whose commit failed is claimed again, or goes on with whole states: its later commits
    fail until the failure was told.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from denoagents.durability import Commit, Kept, Mode, Wake
from denoagents.errors import StoreError
from denoagents.store.settings import StoreSettings
from denoagents.store.state_file import mark_closed, mark_open
from denoagents.store.state_reader import Reader
from denoagents.store.state_rows import Change, change_of, claim_of, settlement_of
from denoagents.store.state_writer import Item, Mend, Outcome, Writer

T = TypeVar("T")


def wall_ms() -> int:
    """Unix time, in milliseconds."""
    return int(datetime.now(UTC).timestamp() * 1000)


class SqliteStateStore:
    """Keeps durable actors in one file."""

    is_shared_between_hosts = False

    def __init__(
        self,
        path: str | Path,
        settings: StoreSettings | None = None,
        now_ms: Callable[[], int] = wall_ms,
    ) -> None:
        """`now_ms` is the wall clock: retention counts by it."""
        self.path = Path(path).absolute()
        self._settings = settings or StoreSettings()
        self._now_ms = now_ms
        self._identity = ""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._writer: Writer | None = None
        self._reader: Reader | None = None
        self._thread: ThreadPoolExecutor | None = None

    @property
    def identity(self) -> str:
        """The file's own id, host, device and inode; known once it is open."""
        return self._identity

    @property
    def is_open(self) -> bool:
        """Whether it serves."""
        return self._writer is not None

    async def open(self) -> None:
        if self._writer is not None:
            return
        self._loop = asyncio.get_running_loop()
        writer = Writer(self.path, self._settings, self._deliver)
        reader = Reader(self.path, self._settings)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="denoagents-state-reader")
        try:
            await self._loop.run_in_executor(self._thread, writer.open)
            self._identity = await self._loop.run_in_executor(self._thread, reader.identity)
        except BaseException:
            writer.close()
            reader.close()
            self._thread.shutdown()
            raise
        self._writer, self._reader = writer, reader
        mark_open(self.path)
        writer.start()

    async def close(self) -> None:
        writer, self._writer = self._writer, None
        reader, self._reader = self._reader, None
        if writer is None or reader is None or self._thread is None or self._loop is None:
            return
        await self._loop.run_in_executor(self._thread, reader.close)
        await self._loop.run_in_executor(self._thread, writer.close)
        self._thread.shutdown()
        mark_closed(self.path)

    async def claim(self, actor: str, fence: int) -> Kept | None:
        self._check_open()
        await self._add(claim_of(actor, fence, self._now_ms()), is_synced=False)
        return await self._read(lambda reader: reader.load(actor, fence))

    def commit(self, commit: Commit, mode: Mode) -> Awaitable[None]:
        writer, loop = self._check_open()
        change = change_of(commit, self._now_ms())
        if mode == "memory" and not writer.is_behind:
            writer.add(Item(change))
            done: asyncio.Future[None] = loop.create_future()
            done.set_result(None)
            return done
        return self._add(change, is_synced=mode == "disk")

    def settle(self, actor: str, fence: int, numbers: Sequence[int]) -> None:
        writer, _ = self._check_open()
        if numbers:
            writer.add(Item(settlement_of(actor, fence, numbers)))

    async def to_wake(self) -> list[Wake]:
        return await self._read(lambda reader: reader.to_wake())

    async def highest_fence(self) -> int:
        return await self._read(lambda reader: reader.highest_fence())

    async def next_fence(self) -> int:
        return await self._read(lambda reader: reader.next_fence())

    def statistics(self) -> dict[str, Any]:
        """What was written since the start, JSON-able."""
        return asdict(self._writer.statistics) if self._writer is not None else {}

    # --- between the threads --------------------------------------------------------------------

    def _check_open(self) -> tuple[Writer, asyncio.AbstractEventLoop]:
        if self._writer is None or self._loop is None:
            raise StoreError(f"the state store {self.path} is not open")
        return self._writer, self._loop

    def _add(self, change: Change, *, is_synced: bool) -> asyncio.Future[None]:
        writer, loop = self._check_open()
        done: asyncio.Future[None] = loop.create_future()

        def told(error: StoreError | None) -> None:
            if done.done():
                return
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)
                done.exception()  # it may be that nobody looks

        writer.add(Item(change, told, is_synced))
        return done

    async def _read(self, action: Callable[[Reader], T]) -> T:
        _, loop = self._check_open()
        assert self._reader is not None
        return await loop.run_in_executor(self._thread, action, self._reader)

    def _deliver(self, outcomes: list[Outcome], failed: list[Mend]) -> None:
        """Called by the writer's thread."""
        assert self._loop is not None
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
            self._loop.call_soon_threadsafe(self._tell, outcomes, failed)

    def _tell(self, outcomes: list[Outcome], failed: list[Mend]) -> None:
        for told, error in outcomes:
            told(error)
        for one in failed:
            if self._writer is not None:
                self._writer.add(one)

    def __repr__(self) -> str:
        return f"<SqliteStateStore {self.path} {'open' if self.is_open else 'closed'}>"
