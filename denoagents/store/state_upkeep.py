"""What may be taken out of a state store while it is in use: what is old, and one key's data.

Rules:
    An actor that is taken out leaves its fence and the highest number it sent, without its name:
    a stale owner stays fenced, and new messages are not taken for repeats of old ones.
    Deleted bytes are overwritten in the file (`secure_delete`), and the log is emptied; copies
    elsewhere (backups, snapshots of the disk) are not reached.
    Work is done in portions: each holds the file for a moment only.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Final

import msgspec

from denoagents.durability import JOURNAL
from denoagents.errors import NotFoundError
from denoagents.store.state_file import MISREAD, connect, error_of
from denoagents.store.state_rows import (
    FLOOR,
    HANDLED,
    OUTGOING,
    Head,
    Part,
    all_of,
    damaged,
    head_of,
    outgoing_of,
    signed,
)

PORTION: Final = 512
"""Rows that one transaction takes out."""
BUSY_S: Final = 10.0
"""How long workers may hold the file before an operator's command gives up."""

_HEAD: Final = (
    "SELECT actor, id, fence, schema, sent, waiting, due_ms, touched_ms, count, sum, digest"
    " FROM heads WHERE id = ?"
)
_WRITE: Final = (
    "UPDATE heads SET actor = ?, fence = ?, schema = ?, sent = ?, waiting = ?, due_ms = ?,"
    " touched_ms = ?, count = ?, sum = ?, digest = ? WHERE id = ?"
)


@dataclass(frozen=True, slots=True)
class Deletion:
    """What `delete` took out."""

    actors: tuple[str, ...]
    """The key's actor and its children."""
    messages: int
    """Undelivered messages to them, of other actors and of nodes."""
    is_erased: bool
    """Whether the log could be emptied as well: else its bytes wait for the next checkpoint."""


@dataclass(frozen=True, slots=True)
class Pruning:
    """What `prune` took out."""

    actors: int
    window_entries: int
    names: int
    """Leftovers of actors that were taken out before."""


@contextlib.contextmanager
def operated(path: Path) -> Iterator[sqlite3.Connection]:
    """The file of a store, for an operator; what SQLite reports becomes a `StoreError`."""
    try:
        connection = connect(path, timeout_s=BUSY_S, is_new_allowed=False)
        try:
            yield connection
        finally:
            connection.close()
    except (sqlite3.Error, *MISREAD) as error:
        raise error_of(path, error) from error


def delete(path: Path, address: str) -> Deletion:
    """Take out everything of one actor and its children; raises `NotFoundError`.

    A worker in which the actor lives is told with its next commit, and begins anew.
    """
    with operated(path) as connection:
        actors = [
            str(row[0])
            for row in connection.execute(
                "SELECT actor FROM heads WHERE actor = ? OR substr(actor, 1, ?) = ? ORDER BY actor",
                (address, len(address) + 1, f"{address}/"),
            )
        ]
        messages = [part for part in _parts(connection, OUTGOING) if _is_for(part, address)]
        if not actors and not messages:
            raise NotFoundError(f"the state store {path} holds nothing of {address!r}")
        for actor in actors:
            with _changed(connection) as change:
                change.forget(actor)
        for at in range(0, len(messages), PORTION):
            with _changed(connection) as change:
                for part in messages[at : at + PORTION]:
                    change.drop(part)
        return Deletion(tuple(actors), len(messages), _empty_log(connection))


def prune(path: Path, untouched_s: float, window_s: float, now_ms: int) -> Pruning:
    """Take out actors untouched for `untouched_s`, and window entries older than `window_s`.

    Actors with reminders or undelivered messages stay, and so do the journals of nodes. A message
    that is sent again after its window entry was taken out is handled again.
    """
    before_ms = now_ms - int(untouched_s * 1000)
    window_ms = now_ms - int(window_s * 1000)
    with operated(path) as connection:
        idle = [
            str(row[0])
            for row in connection.execute(
                "SELECT actor FROM heads WHERE touched_ms < ? AND waiting = 0 AND due_ms = 0"
                " AND actor IS NOT NULL AND substr(actor, 1, ?) <> ?",
                (before_ms, len(JOURNAL), JOURNAL),
            )
        ]
        actors = 0
        for at in range(0, len(idle), PORTION):
            with _changed(connection) as change:
                actors += sum(change.forget(one, before_ms) for one in idle[at : at + PORTION])
        old = [
            part
            for part in _parts(connection, HANDLED, FLOOR)
            if part.at_ms < window_ms and part.is_whole
        ]
        for at in range(0, len(old), PORTION):
            with _changed(connection) as change:
                for part in old[at : at + PORTION]:
                    change.drop(part)
        names = connection.execute(
            "DELETE FROM heads WHERE actor IS NULL AND sent = 0 AND touched_ms < ?", (before_ms,)
        ).rowcount
        _empty_log(connection)
        return Pruning(actors, len(old), names)


class _Changes:
    """Rows under way in one transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.heads: dict[int, Head] = {}

    def forget(self, actor: str, before_ms: int | None = None) -> bool:
        """Take an actor out, unless it was touched since; damaged ones too."""
        row = self._connection.execute(
            "SELECT id, fence, sent, touched_ms, waiting, due_ms FROM heads WHERE actor = ?",
            (actor,),
        ).fetchone()
        if row is None or (before_ms is not None and (row[3] >= before_ms or row[4] or row[5])):
            return False
        key, fence, sent, touched_ms = row[:4]
        self._connection.execute("DELETE FROM parts WHERE key >= ? AND key < ?", all_of(key))
        self.heads[key] = Head(key, None, fence, 0, sent, touched_ms=touched_ms)
        return True

    def drop(self, part: Part) -> None:
        """Take one part out, if it is still the same."""
        key = signed(int.from_bytes(part.key[:8], "big"))
        row = self._connection.execute(_HEAD, (key,)).fetchone()
        head = self.heads.get(key)
        if head is None and row is not None:
            head = head_of(row[1:], row[0])
        if head is None:
            raise damaged(str(row[0] if row else key), "its head")
        gone = self._connection.execute(
            "DELETE FROM parts WHERE key = ? AND digest = ?", (part.key, part.digest)
        ).rowcount
        if gone:
            head.change(part.digest, -1)
            head.waiting -= part.kind == OUTGOING
            self.heads[key] = head

    def write(self) -> None:
        """Write the heads that changed."""
        for head in self.heads.values():
            key, *columns = head.row()
            self._connection.execute(_WRITE, (*columns, key))


@contextlib.contextmanager
def _changed(connection: sqlite3.Connection) -> Iterator[_Changes]:
    """One transaction."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        changes = _Changes(connection)
        yield changes
        changes.write()
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _parts(connection: sqlite3.Connection, *kinds: int) -> Iterator[Part]:
    """All parts of these kinds, read in portions so that nobody waits for the reader."""
    last = b""
    while True:
        rows = connection.execute(
            "SELECT * FROM parts WHERE key > ? ORDER BY key LIMIT 4096", (last,)
        ).fetchall()
        if not rows:
            return
        last = rows[-1][0]
        yield from (Part(*row) for row in rows if len(row[0]) > 8 and row[0][8] in kinds)


def _is_for(part: Part, address: str) -> bool:
    try:
        target = outgoing_of(part).target
    except msgspec.DecodeError:
        return False
    return target == address or target.startswith(f"{address}/")


def _empty_log(connection: sqlite3.Connection) -> bool:
    """Copy the log into the file and cut it to nothing; readers may be in the way for a while."""
    pause = Event()
    for _ in range(50):
        busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        if not busy:
            return True
        pause.wait(0.02)
    return False
