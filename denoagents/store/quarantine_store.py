"""Where the broker keeps messages that were given up: in memory, or in its own SQLite file.

Rules: `add` returns when the message is on the disk (`synchronous=FULL`), or raises `StoreError`.
A message is kept once, by its key; one that was removed is not kept again (of the last REMEMBERED
removals), since its sender may not have heard that it was stored. Any thread may call.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol, TypeVar

from denoagents.store.lease_store import FileLeaseStore, LeaseStore

REMEMBERED: Final = 10_000
"""Removed messages whose keys are known."""

Result = TypeVar("Result")

_TABLE: Final = (
    "CREATE TABLE IF NOT EXISTS quarantine (id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " key BLOB NOT NULL UNIQUE, at_ms INTEGER NOT NULL, header BLOB, payload BLOB)"
)


class Row(NamedTuple):
    """One message; lists leave the payload out."""

    id: int
    at_ms: int
    """Wall clock: when it was stored."""
    header: bytes
    payload: bytes = b""


class QuarantineStore(Protocol):
    """Keeps messages in the order of their arrival."""

    @property
    def is_blocking(self) -> bool:
        """Calls may wait for a disk: make them from a thread."""

    @property
    def is_durable(self) -> bool:
        """Whether messages outlive the broker."""

    def size(self) -> tuple[int, int]:
        """Messages, and bytes of their payloads."""

    def find(self, key: bytes) -> int | None:
        """The id under which `key` is, or was, kept."""

    def add(self, key: bytes, at_ms: int, header: bytes, payload: bytes) -> int:
        """Keep a message whose key is new; its id."""

    def rows(self, after: int, limit: int) -> list[Row]:
        """Up to `limit` messages with ids above `after`, without payloads."""

    def row(self, number: int) -> Row | None:
        """One message with its payload."""

    def remove(self, numbers: Sequence[int] | None) -> int:
        """Forget these messages (None: all); how many there were."""


def beside(store: LeaseStore) -> QuarantineStore:
    """In the file of the broker's store, if it has one; else in memory."""
    return (
        FileQuarantineStore(store)
        if isinstance(store, FileLeaseStore)
        else (MemoryQuarantineStore())
    )


class MemoryQuarantineStore:
    """Keeps messages until the broker ends."""

    is_blocking = is_durable = False

    def __init__(self) -> None:
        self._ids: dict[bytes, int] = {}
        self._rows: dict[int, Row] = {}
        self._numbers = 0

    def size(self) -> tuple[int, int]:
        return len(self._rows), sum(len(row.payload) for row in self._rows.values())

    def find(self, key: bytes) -> int | None:
        return self._ids.get(key)

    def add(self, key: bytes, at_ms: int, header: bytes, payload: bytes) -> int:
        self._numbers += 1
        self._ids[key] = self._numbers
        self._rows[self._numbers] = Row(self._numbers, at_ms, header, payload)
        return self._numbers

    def rows(self, after: int, limit: int) -> list[Row]:
        found = [row for row in self._rows.values() if row.id > after]
        return [row._replace(payload=b"") for row in found[:limit]]

    def row(self, number: int) -> Row | None:
        return self._rows.get(number)

    def remove(self, numbers: Sequence[int] | None) -> int:
        wanted = tuple(self._rows) if numbers is None else numbers
        count = sum(self._rows.pop(one, None) is not None for one in wanted)
        gone = [key for key, number in self._ids.items() if number not in self._rows]
        for key in gone[:-REMEMBERED]:
            del self._ids[key]
        return count

    def __repr__(self) -> str:
        return f"<MemoryQuarantineStore {len(self._rows)} messages>"


class FileQuarantineStore:
    """Keeps messages in the SQLite file of a broker's store; a removed one leaves its key."""

    is_blocking = is_durable = True

    def __init__(self, store: FileLeaseStore) -> None:
        self._store = store

    def _run(self, action: Callable[[sqlite3.Connection], Result]) -> Result:
        def with_table(connection: sqlite3.Connection) -> Result:
            connection.execute(_TABLE)
            return action(connection)

        return self._store.run(with_table)

    def size(self) -> tuple[int, int]:
        def measure(connection: sqlite3.Connection) -> tuple[int, int]:
            row: tuple[int, int] = connection.execute(
                "SELECT count(*), coalesce(sum(length(payload)), 0) FROM quarantine"
                " WHERE header IS NOT NULL"
            ).fetchone()
            return row

        return self._run(measure)

    def find(self, key: bytes) -> int | None:
        def look(connection: sqlite3.Connection) -> int | None:
            row = connection.execute("SELECT id FROM quarantine WHERE key = ?", (key,)).fetchone()
            return None if row is None else int(row[0])

        return self._run(look)

    def add(self, key: bytes, at_ms: int, header: bytes, payload: bytes) -> int:
        def write(connection: sqlite3.Connection) -> int:
            done = connection.execute(
                "INSERT INTO quarantine (key, at_ms, header, payload) VALUES (?, ?, ?, ?)",
                (key, at_ms, header, payload),
            )
            return int(done.lastrowid or 0)

        return self._run(write)

    def rows(self, after: int, limit: int) -> list[Row]:
        def read(connection: sqlite3.Connection) -> list[Row]:
            found = connection.execute(
                "SELECT id, at_ms, header FROM quarantine"
                " WHERE header IS NOT NULL AND id > ? ORDER BY id LIMIT ?",
                (after, limit),
            )
            return [Row(*one) for one in found]

        return self._run(read)

    def row(self, number: int) -> Row | None:
        def read(connection: sqlite3.Connection) -> Row | None:
            found = connection.execute(
                "SELECT id, at_ms, header, payload FROM quarantine"
                " WHERE header IS NOT NULL AND id = ?",
                (number,),
            ).fetchone()
            return None if found is None else Row(*found)

        return self._run(read)

    def remove(self, numbers: Sequence[int] | None) -> int:
        def write(connection: sqlite3.Connection) -> int:
            connection.execute("BEGIN IMMEDIATE")
            try:
                count = _clear(connection, numbers)
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")
            return count

        return self._run(write)

    def __repr__(self) -> str:
        return f"<FileQuarantineStore {self._store.path}>"


def _clear(connection: sqlite3.Connection, numbers: Sequence[int] | None) -> int:
    clear = "UPDATE quarantine SET header = NULL, payload = NULL WHERE header IS NOT NULL"
    if numbers is None:
        count = connection.execute(clear).rowcount
    else:
        one = f"{clear} AND id = ?"
        count = sum(connection.execute(one, (number,)).rowcount for number in numbers)
    connection.execute(
        "DELETE FROM quarantine WHERE header IS NULL AND id NOT IN"
        " (SELECT id FROM quarantine WHERE header IS NULL ORDER BY id DESC LIMIT ?)",
        (REMEMBERED,),
    )
    return count
