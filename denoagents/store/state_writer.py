"""The thread that writes the embedded state store: all that waits becomes one transaction.

Rules:
    Changes are done in the order in which they were handed in. Whoever waits is told after the
    transaction was committed, never before.
    A change that fails does not fail its neighbours. The later commits of the same actor that were
    handed in before its failure was told do fail: they build on what was not kept.
    After an input/output error the file is opened anew and looked through before it serves again:
    what the kernel says about pages after a failed fsync cannot be trusted.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import uniform
from threading import Condition, Event, Thread
from typing import Final

from denoagents.errors import CorruptError, FencedError, StoreError, StoreFullError
from denoagents.store.settings import StoreSettings
from denoagents.store.state_file import connect, error_of, free_bytes, read_meta, write_meta
from denoagents.store.state_group import Group, jump_numbers
from denoagents.store.state_rows import Change
from denoagents.store.state_told import Marker

LAZY_S: Final = 0.05
"""How long a write that nobody waits for may wait for company."""
LAZY_BYTES: Final = 4 << 20
"""At so many bytes of them it waits no longer."""
MOST_LAZY_BYTES: Final = 32 << 20
"""At so many bytes of them their senders wait."""
MOST_CHANGES: Final = 512
MOST_BYTES: Final = 8 << 20
"""Of one transaction: other processes wait for its end."""
LOOKED_THROUGH_BYTES: Final = 1 << 30
"""A larger file is not looked through after an error: that would take too long."""

_NEXT: Final = "UPDATE sequence SET number = number + 1 RETURNING number"

Told = Callable[[StoreError | None], None]
Outcome = tuple[Told, StoreError | None]


@dataclass(slots=True)
class Item:
    """One change that waits for its transaction."""

    change: Change
    told: Told | None = None
    """Called on the loop; None: nobody waits."""
    is_synced: bool = False
    """Whether it must survive the end of the machine."""


@dataclass(slots=True)
class Mend:
    """The failure of this actor's commit was told: what was handed in later builds on nothing."""

    actor: str
    error: StoreError


@dataclass(slots=True)
class WriterStatistics:
    """What was written since the start."""

    transactions: int = 0
    changes: int = 0
    refused: int = 0
    lost: int = 0
    """Changes that nobody waited for and that could not be written."""
    contended: int = 0
    """Times that another process held the file."""
    reopened: int = 0


class Writer:
    """Owns the connection that writes."""

    def __init__(
        self,
        path: Path,
        settings: StoreSettings,
        deliver: Callable[[list[Outcome], list[Mend]], None],
    ) -> None:
        """`deliver(outcomes, actors that failed)` is called on the writer's thread."""
        self._path, self._settings, self._deliver = path, settings, deliver
        self._condition = Condition()
        self._items: deque[Item | Mend] = deque()
        self._urgent = 0
        self._lazy_bytes = 0
        self._is_closing = False
        self._pause = Event()
        self._connection: sqlite3.Connection | None = None
        self._is_synced: bool | None = None
        self._marker: Marker | None = None
        self._must_look_through = False
        self._failed: dict[str, StoreError] = {}
        self._news: list[Mend] = []
        self._thread = Thread(target=self._run, name="denoagents-state-writer", daemon=True)
        self.statistics = WriterStatistics()

    def open(self) -> None:
        """Open the file; on any thread, before `start`."""
        try:
            self._open()
        except (sqlite3.Error, OSError) as error:
            raise error_of(self._path, error) from error

    def _open(self) -> None:
        self._connection = self._connect()
        self._marker = Marker(self._path, read_meta(self._connection, self._path, "id"))
        if self._marker.is_of_another_life:  # commits in the mode `os` may be lost
            self._begin(self._connection, True)
            jump_numbers(self._connection)
            (sequence,) = self._connection.execute(_NEXT).fetchone()
            self._connection.execute("COMMIT")
            self._marker.note(sequence, is_synced=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def add(self, item: Item | Mend) -> None:
        """Hand something in; returns at once."""
        with self._condition:
            self._items.append(item)
            if isinstance(item, Item) and item.told is not None:
                self._urgent += 1
            elif isinstance(item, Item):
                self._lazy_bytes += item.change.size_bytes
            self._condition.notify()

    @property
    def is_behind(self) -> bool:
        """Whether writes that nobody waits for come faster than they can be written."""
        return self._lazy_bytes > MOST_LAZY_BYTES

    def close(self) -> None:
        """Write what waits, and let go of the file; waits for it."""
        with self._condition:
            self._is_closing = True
            self._condition.notify()
        if self._thread.is_alive():
            self._thread.join()
        self._disconnect()
        if self._marker is not None:
            self._marker.close()

    # --- the thread -----------------------------------------------------------------------------

    def _run(self) -> None:
        while (items := self._take()) is not None:
            if items:
                self._write(items)

    def _take(self) -> list[Item] | None:
        """What the next transaction holds; None at the end."""
        with self._condition:
            while not self._items:
                if self._is_closing:
                    return None
                self._condition.wait()
            self._condition.wait_for(self._is_pressing, LAZY_S)
            return self._first()

    def _is_pressing(self) -> bool:
        return bool(self._urgent or self._is_closing or self._lazy_bytes > LAZY_BYTES)

    def _first(self) -> list[Item]:
        items: list[Item] = []
        size = 0
        while self._items and len(items) < MOST_CHANGES and size < MOST_BYTES:
            item = self._items.popleft()
            if isinstance(item, Mend):
                if items:  # what came before it must fail first
                    self._items.appendleft(item)
                    break
                if self._failed.get(item.actor) is item.error:
                    del self._failed[item.actor]
                continue
            if item.told is not None:
                self._urgent -= 1
            else:
                self._lazy_bytes -= item.change.size_bytes
            size += item.change.size_bytes
            items.append(item)
        return items

    def _write(self, items: list[Item]) -> None:
        outcomes = self._outcomes(items)
        self.statistics.changes += len(items)
        told: list[Outcome] = []
        for item, error in zip(items, outcomes, strict=True):
            self.statistics.refused += error is not None
            if item.told is not None:
                told.append((item.told, error))
            elif error is not None and item.change.touches:
                self.statistics.lost += 1
        if told:
            news, self._news = self._news, []
            self._deliver(told, news)

    def _outcomes(self, items: Sequence[Item]) -> list[StoreError | None]:
        """Do them together; if that fails, one by one, so that each has its own outcome."""
        outcomes: list[StoreError | None] = [self._refusal(item) for item in items]
        rest = [at for at, error in enumerate(outcomes) if error is None]
        if not rest:
            return outcomes
        some = [items[at] for at in rest]
        found, can_divide = self._attempt(some)
        if any(isinstance(one, StoreFullError) for one in found) and self._empty_log():
            found, can_divide = self._attempt(some)
        if can_divide and len(some) > 1:
            found = []
            for item in some:
                found.append(self._refusal(item) or self._attempt([item])[0][0])
                self._note(item, found[-1])
        for at, item, error in zip(rest, some, found, strict=True):
            outcomes[at] = error
            self._note(item, error)
        return outcomes

    def _refusal(self, item: Item) -> StoreError | None:
        """Why it is not even tried."""
        change = item.change
        if change.is_claim:
            self._failed.pop(change.actor, None)
        elif change.touches and change.actor in self._failed:
            return self._failed[change.actor]
        if change.grows and self._settings.low_mark_bytes:
            with contextlib.suppress(OSError):
                free = free_bytes(self._path)
                if free < self._settings.low_mark_bytes:
                    return StoreFullError(
                        f"the state store {self._path}: only {free} bytes are left on its disk, "
                        f"below store.low_mark = {self._settings.low_mark_bytes}: nothing new is "
                        "kept until there is room"
                    )
        return None

    def _note(self, item: Item, error: StoreError | None) -> None:
        """Remember a commit that failed for no fault of its own."""
        if error is None or isinstance(error, FencedError | CorruptError):
            return
        change = item.change
        if (
            change.touches
            and not change.is_claim
            and item.told
            and change.actor not in self._failed
        ):
            self._failed[change.actor] = error
            self._news.append(Mend(change.actor, error))

    def _attempt(self, items: Sequence[Item]) -> tuple[list[StoreError | None], bool]:
        """One transaction; (outcomes, whether it failed in a way that fewer changes may pass)."""
        try:
            connection = self._connection or self._reopen()
            self._begin(connection, any(item.is_synced for item in items))
            group = Group(connection, self._path)
            outcomes = group.run([item.change for item in items])
            if not group.has_written:  # it works on a full disk, too
                connection.execute("ROLLBACK")
                return outcomes, False
            (sequence,) = connection.execute(_NEXT).fetchone()
            connection.execute("COMMIT")
        except StoreError as error:
            self._roll_back()
            return [error] * len(items), isinstance(error, CorruptError)
        except (sqlite3.Error, OSError) as error:
            typed = error_of(self._path, error)
            name = str(getattr(error, "sqlite_errorname", ""))
            self._roll_back()
            if isinstance(error, OSError) or name.startswith("SQLITE_IOERR"):
                self._must_look_through = True
                self._disconnect()
            return [typed] * len(items), self._connection is not None
        except Exception as error:  # a bug of ours must not end the thread
            self._roll_back()
            typed = StoreError(f"the state store {self._path}: {type(error).__name__}: {error}")
            typed.__cause__ = error
            return [typed] * len(items), True
        self.statistics.transactions += 1
        if self._marker is not None:
            self._marker.note(sequence, is_synced=bool(self._is_synced))
        return outcomes, False

    def _begin(self, connection: sqlite3.Connection, is_synced: bool) -> None:
        """Take the file's lock; other processes may hold it for a while."""
        if is_synced is not self._is_synced:
            connection.execute(f"PRAGMA synchronous={'FULL' if is_synced else 'NORMAL'}")
            self._is_synced = is_synced
        waited_s = 0.0
        while True:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if not error.sqlite_errorname.startswith("SQLITE_BUSY"):
                    raise
                if waited_s >= self._settings.busy_timeout_s:
                    raise StoreError(
                        f"the state store {self._path}: another process has held it for "
                        f"{waited_s:.1f} s"
                    ) from error
            else:
                return
            self.statistics.contended += not waited_s
            pause_s = uniform(0.0002, 0.001 if waited_s < 0.05 else 0.005)
            self._pause.wait(pause_s)
            waited_s += pause_s

    # --- the file -------------------------------------------------------------------------------

    def _connect(self) -> sqlite3.Connection:
        connection = connect(self._path, timeout_s=self._settings.busy_timeout_s)
        connection.execute("PRAGMA busy_timeout=0")
        connection.execute("PRAGMA cache_size=-16384")
        self._is_synced = None
        return connection

    def _reopen(self) -> sqlite3.Connection:
        """The file anew; after an error only if it is whole and takes a write."""
        connection = self._connect()
        try:
            if self._must_look_through:
                if self._path.stat().st_size <= LOOKED_THROUGH_BYTES:
                    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
                    if found != "ok":
                        raise CorruptError(f"the state store {self._path} is damaged: {found}")
                self._begin(connection, True)
                # a write of our own covers what the failed one may have left in the log
                write_meta(connection, "fence", read_meta(connection, self._path, "fence"))
                connection.execute("COMMIT")
        except BaseException:
            connection.close()
            raise
        self._must_look_through = False
        self._connection = connection
        self.statistics.reopened += 1
        return connection

    def _empty_log(self) -> bool:
        """Make room: what the log holds goes into the file, and the log is cut."""
        if self._connection is None:
            return False
        try:
            row = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.Error:
            return False
        return not row[0]

    def _roll_back(self) -> None:
        if self._connection is not None and self._connection.in_transaction:
            try:
                self._connection.execute("ROLLBACK")
            except sqlite3.Error:
                self._disconnect()

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()
