"""Looks into a state store: is every row what was written, and what is there."""

from __future__ import annotations

import contextlib
import sqlite3
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from denoagents.errors import CorruptError, NotFoundError
from denoagents.store.state_file import read_meta
from denoagents.store.state_reader import read_actor
from denoagents.store.state_rows import OUTGOING, Head, Part, head_of, id_of, signed
from denoagents.store.state_upkeep import operated

MOST_PROBLEMS: Final = 100
"""More are counted, not listed."""

_HEADS: Final = (
    "SELECT actor, id, fence, schema, sent, waiting, due_ms, touched_ms, count, sum, digest"
    " FROM heads ORDER BY id"
)


@dataclass(frozen=True, slots=True)
class Verification:
    """What `verify` found."""

    actors: int
    rows: int
    problems: tuple[str, ...]
    """One sentence each; the first MOST_PROBLEMS."""
    count: int
    """Of problems."""

    @property
    def is_whole(self) -> bool:
        """Whether everything is what was written."""
        return not self.count


def verify(path: Path) -> Verification:
    """Read everything; the store may be in use meanwhile."""
    problems: list[str] = []
    actors = rows = 0
    try:
        with operated(path) as connection, _one_moment(connection):
            for (said,) in connection.execute(f"PRAGMA integrity_check({MOST_PROBLEMS})"):
                problems += [f"SQLite: {said}"] if said != "ok" else []
            for name in ("id", "fence"):
                read_meta(connection, path, name)
            heads = _heads(connection, problems)
            actors = sum(one.actor is not None for one in heads.values())
            rows = _verify_parts(connection, heads, problems)
    except CorruptError as error:
        problems.append(str(error))
    return Verification(actors, rows, tuple(problems[:MOST_PROBLEMS]), len(problems))


def show(path: Path) -> dict[str, Any]:
    """What is there, as a whole; JSON-able."""
    with operated(path) as connection, _one_moment(connection):
        waiting, due, gone = connection.execute(
            "SELECT count(*) FILTER (WHERE waiting > 0), count(*) FILTER (WHERE due_ms > 0),"
            " count(*) FILTER (WHERE actor IS NULL) FROM heads"
        ).fetchone()
        types: Counter[str] = Counter(
            str(row[0]).partition("/")[0]
            for row in connection.execute("SELECT actor FROM heads WHERE actor IS NOT NULL")
        )
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        free = connection.execute("PRAGMA freelist_count").fetchone()[0]
        size = connection.execute("PRAGMA page_size").fetchone()[0]
        log = path.with_name(f"{path.name}-wal")
        return {
            "path": str(path),
            "id": read_meta(connection, path, "id"),
            "highest_fence": int(read_meta(connection, path, "fence")),
            "actors": sum(types.values()),
            "types": dict(sorted(types.items())),
            "with_waiting_messages": waiting,
            "with_reminders": due,
            "deleted": gone,
            "bytes": pages * size,
            "free_bytes": free * size,
            "log_bytes": log.stat().st_size if log.exists() else 0,
        }


def show_actor(path: Path, address: str) -> dict[str, Any]:
    """What is kept of one actor, without the content of states and messages; JSON-able."""
    with operated(path) as connection:
        head, kept = read_actor(connection, address)
    if head is None or head.actor is None or kept is None:
        raise NotFoundError(f"the state store {path} holds nothing of {address!r}")
    return {
        "actor": address,
        "fence": head.fence,
        "schema": kept.schema,
        "touched_ms": head.touched_ms,
        "state_bytes": len(kept.state),
        "sent": kept.sent,
        "outgoing": [
            {"number": one.number, "target": one.target, "method": one.method,
             "bytes": len(one.payload)}
            for one in kept.outgoing
        ],
        "handled": len(kept.handled),
        "floors": {str(stream): floor for stream, floor in sorted(kept.floors.items())},
        "reminders": [
            {"name": one.name, "method": one.method, "due_ms": one.due_ms, "every_s": one.every_s}
            for one in kept.reminders
        ],
        "effects": [
            {"name": one.name, "number": one.number, "index": one.index,
             "is_known": one.result is not None}
            for one in kept.effects
        ],
    }  # fmt: skip


@contextlib.contextmanager
def _one_moment(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN")
    try:
        yield
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _heads(connection: sqlite3.Connection, problems: list[str]) -> dict[int, Head]:
    heads: dict[int, Head] = {}
    for actor, *numbers in connection.execute(_HEADS):
        head = head_of(numbers, actor)
        if head is None or head.actor != actor or (actor is not None and id_of(actor) != head.id):
            problems.append(f"{actor!r}: its head does not match its digest or its name")
        else:
            heads[head.id] = head
    return heads


def _verify_parts(
    connection: sqlite3.Connection, heads: dict[int, Head], problems: list[str]
) -> int:
    """Check every part and the sums; returns how many there are."""
    count = 0
    left = {
        key: Head(key, None, waiting=one.waiting, count=one.count, sum=one.sum)
        for key, one in heads.items()
    }
    for row in connection.execute("SELECT * FROM parts ORDER BY key"):
        count += 1
        part = Part(*row)
        key = signed(int.from_bytes(part.key[:8], "big"))
        name = repr(heads[key].actor) if key in heads else f"an actor without a head ({key})"
        if not part.is_whole:
            problems.append(f"{name}: a row does not match its digest")
        if key not in left:
            problems.append(f"{name}: a row")
            continue
        left[key].change(part.digest, -1)
        left[key].waiting -= part.kind == OUTGOING
    problems += [
        f"{heads[key].actor!r}: its rows do not match their sum"
        for key, one in left.items()
        if one.count or one.sum or one.waiting
    ]
    return count
