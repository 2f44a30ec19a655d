"""Where the broker keeps what must outlive it: one blob, in memory or in one SQLite file.

Rules: `save` returns when the state is on the disk (`synchronous=FULL`), or raises `StoreError`;
the state before stays readable then. After a failed write the file is closed and opened anew by the
next one: what the kernel says about pages after a failed fsync cannot be trusted. A file belongs to
one broker at a time. Every method may be called from any thread.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Final, Protocol, TypeVar

from denoagents.errors import StoreError

Result = TypeVar("Result")

APPLICATION_ID: Final = int.from_bytes(b"dAbr", "big")
"""Marks the SQLite file as a broker's store."""
LAYOUT: Final = 1
"""The file's user_version."""

_CAUSES: Final = {
    "SQLITE_FULL": "the disk is full; make room, the next change is stored again",
    "SQLITE_IOERR": "the disk reports an input/output error",
    "SQLITE_CORRUPT": "the file is damaged; move it away: members tell a new broker what they hold",
    "SQLITE_NOTADB": "the file is no broker store; give the broker another file",
    "SQLITE_BUSY": "another broker uses the file; stop it, or give this one another file",
    "SQLITE_LOCKED": "another broker uses the file; stop it, or give this one another file",
    "SQLITE_READONLY": "the file or its folder may not be written",
    "SQLITE_CANTOPEN": "the file cannot be opened; its folder must exist and be writable",
}


class LeaseStore(Protocol):
    """Keeps one blob; an engine that several brokers share fits behind this as well."""

    @property
    def is_blocking(self) -> bool:
        """`save` may wait for a disk or a network: call it from a thread."""

    def load(self) -> bytes | None:
        """What was saved last, None for nothing yet; raises `StoreError`."""

    def save(self, state: bytes) -> None:
        """Replace the state; it is safe when this returns, else `StoreError` is raised."""

    def close(self) -> None:
        """Let go of the file; a later call opens it again."""


class MemoryLeaseStore:
    """Keeps the blob in memory: for embedded nodes, tests and the simulator."""

    is_blocking = False

    def __init__(self, state: bytes | None = None) -> None:
        self.state = state

    def load(self) -> bytes | None:
        return self.state

    def save(self, state: bytes) -> None:
        self.state = state

    def close(self) -> None:
        """Nothing is open."""

    def __repr__(self) -> str:
        return "<MemoryLeaseStore>"


class FileLeaseStore:
    """Keeps the blob in one SQLite file."""

    is_blocking = True

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._connection: sqlite3.Connection | None = None
        self._lock = Lock()

    def run(self, action: Callable[[sqlite3.Connection], Result]) -> Result:
        """For other records of the broker in the same file; failures are `StoreError` as well."""
        with self._lock:
            return self._run(action)

    def load(self) -> bytes | None:
        with self._lock:
            row = self._run(self._read)
        if row is None:
            return None
        state, digest = row
        if not isinstance(state, bytes) or digest != _digest(state):
            raise self._error("SQLITE_CORRUPT", "the record does not match its digest")
        return state

    def save(self, state: bytes) -> None:
        with self._lock:
            self._run(lambda connection: self._write(connection, state))

    def close(self) -> None:
        with self._lock:
            self._close()

    # --- steps --------------------------------------------------------------------------------

    def _run(self, action: Callable[[sqlite3.Connection], Result]) -> Result:
        """Do it on the open file; a failure closes the file and becomes a `StoreError`."""
        try:
            if self._connection is None:
                self._connection = self._open()
            return action(self._connection)
        except sqlite3.Error as error:
            self._close()
            name = str(getattr(error, "sqlite_errorname", "") or "")
            raise self._error(name, str(error)) from error
        except OSError as error:
            self._close()
            raise self._error("SQLITE_IOERR", str(error)) from error

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=0.2, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA locking_mode=EXCLUSIVE")
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        """Take the file for this broker; make the table if the file is new."""
        connection.execute("BEGIN IMMEDIATE")
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        layout = connection.execute("PRAGMA user_version").fetchone()[0]
        tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
        if application == 0 and tables == 0:
            connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version={LAYOUT}")
            connection.execute(
                "CREATE TABLE state (id INTEGER PRIMARY KEY CHECK (id = 1),"
                " saved BLOB NOT NULL, digest BLOB NOT NULL)"
            )
        elif application != APPLICATION_ID:
            raise self._error("SQLITE_NOTADB", "it belongs to another program")
        elif layout != LAYOUT:
            raise StoreError(f"the broker's store {self.path} has layout {layout}, not {LAYOUT}")
        connection.execute("COMMIT")

    @staticmethod
    def _read(connection: sqlite3.Connection) -> tuple[object, object] | None:
        row: tuple[object, object] | None = connection.execute(
            "SELECT saved, digest FROM state WHERE id = 1"
        ).fetchone()
        return row

    @staticmethod
    def _write(connection: sqlite3.Connection, state: bytes) -> None:
        connection.execute(
            "INSERT INTO state (id, saved, digest) VALUES (1, ?, ?)"
            " ON CONFLICT (id) DO UPDATE SET saved = excluded.saved, digest = excluded.digest",
            (state, _digest(state)),
        )

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    def _error(self, name: str, detail: str) -> StoreError:
        known = next((said for code, said in _CAUSES.items() if name.startswith(code)), "")
        return StoreError(f"the broker's store {self.path}: {known or 'it fails'} ({detail})")

    def __repr__(self) -> str:
        return f"<FileLeaseStore {self.path}>"


def _digest(state: bytes) -> bytes:
    return hashlib.blake2b(state, digest_size=16).digest()
