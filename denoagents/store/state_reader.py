"""Reads the embedded state store, on a connection and a thread of its own."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from denoagents.durability import Kept, Wake
from denoagents.errors import FencedError
from denoagents.store.settings import StoreSettings
from denoagents.store.state_file import (
    MISREAD,
    connect,
    error_of,
    identity_of,
    read_meta,
    write_meta,
)
from denoagents.store.state_rows import Head, Part, all_of, damaged, head_of, id_of, kept_of

T = TypeVar("T")

_HEAD: Final = (
    "SELECT id, fence, schema, sent, waiting, due_ms, touched_ms, count, sum, digest"
    " FROM heads WHERE id = ?"
)


class Reader:
    """Used by one thread at a time."""

    def __init__(self, path: Path, settings: StoreSettings) -> None:
        self._path, self._settings = path, settings
        self._connection: sqlite3.Connection | None = None

    def identity(self) -> str:
        """The name of this very file on this very host."""
        return self._run(lambda connection: identity_of(connection, self._path))

    def load(self, actor: str, fence: int) -> Kept | None:
        """What is kept of an actor that was just claimed under `fence`."""
        head, kept = self._run(lambda connection: read_actor(connection, actor))
        if head is None:
            raise damaged(actor, "its head is lost")
        if head.fence > fence:
            raise FencedError(f"{actor!r} was claimed under fence {head.fence}, above {fence}")
        return kept

    def to_wake(self) -> list[Wake]:
        """The actors that have something to do without being asked."""
        rows = self._run(
            lambda connection: connection.execute(
                "SELECT actor, waiting, due_ms FROM heads"
                " WHERE (waiting > 0 OR due_ms > 0) AND actor IS NOT NULL ORDER BY actor"
            ).fetchall()
        )
        return [Wake(str(actor), 0 if waiting else int(due)) for actor, waiting, due in rows]

    def highest_fence(self) -> int:
        """The highest fence that ever claimed an actor."""
        return int(self._run(lambda connection: read_meta(connection, self._path, "fence")))

    def next_fence(self) -> int:
        """One more than all before; kept before it is told."""
        return self._run(self._next_fence)

    def close(self) -> None:
        """Let go of the file; a later call opens it again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    def _next_fence(self, connection: sqlite3.Connection) -> int:
        connection.execute("BEGIN IMMEDIATE")
        try:
            fence = int(read_meta(connection, self._path, "fence")) + 1
            write_meta(connection, "fence", str(fence))
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
        return fence

    def _run(self, action: Callable[[sqlite3.Connection], T]) -> T:
        """Do it on the open file; what fails closes the file, and the next call opens it anew."""
        try:
            if self._connection is None:
                timeout_s = self._settings.busy_timeout_s
                self._connection = connect(self._path, timeout_s=timeout_s)
            return action(self._connection)
        except (sqlite3.Error, OSError, *MISREAD) as error:
            self.close()
            raise error_of(self._path, error) from error


def read_actor(connection: sqlite3.Connection, actor: str) -> tuple[Head | None, Kept | None]:
    """One actor's head and what is kept of it, of one moment; raises `CorruptError`."""
    key = id_of(actor)
    connection.execute("BEGIN")
    try:
        row = connection.execute(_HEAD, (key,)).fetchone()
        parts = [
            Part(*one)
            for one in connection.execute(
                "SELECT * FROM parts WHERE key >= ? AND key < ? ORDER BY key", all_of(key)
            )
        ]
    finally:
        connection.execute("COMMIT")
    if row is None:
        return None, None
    head = head_of(row, actor)
    if head is None:
        raise damaged(actor, "its head does not match its digest")
    return head, kept_of(head, parts)
