"""One transaction of the embedded state store: many changes of many actors, in few statements.

Rules:
    A change is refused as a whole, before any of it is done; the others of its group go on.
    The number of statements hardly depends on the number of changes: each of them gives the
    interpreter's lock away and must get it back from a busy loop.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from denoagents.errors import CorruptError, FencedError, StoreError
from denoagents.store.state_file import read_meta, write_meta
from denoagents.store.state_rows import (
    OUTGOING,
    Change,
    Head,
    Part,
    Span,
    damaged,
    flat,
    head_of,
    numbers_of,
    point,
    portions,
)

JUMP: Final = 1 << 32
"""Numbers that an actor leaves out after a restart of the machine, or from a backup."""

_HEADS: Final = (
    "SELECT group_concat(id||' '||fence||' '||schema||' '||sent||' '||waiting||' '||due_ms||' '"
    "||touched_ms||' '||count||' '||sum||' '||digest, ';') FROM heads WHERE id IN ({})"
)
_PARTS: Final = (
    "WITH span (low, high) AS (VALUES {}) SELECT group_concat(hex(p.key)||' '||p.digest, ';')"
    " FROM span CROSS JOIN parts AS p ON p.key >= span.low AND p.key < span.high"
)
_DROP: Final = "DELETE FROM parts WHERE key IN ({})"
_PUT: Final = (
    "INSERT INTO parts VALUES {} ON CONFLICT (key) DO UPDATE"
    " SET content = excluded.content, at_ms = excluded.at_ms, digest = excluded.digest"
)
_WRITE: Final = (
    "INSERT INTO heads (id, actor, fence, schema, sent, waiting, due_ms, touched_ms, count, sum,"
    " digest) VALUES {} ON CONFLICT (id) DO UPDATE SET actor = excluded.actor,"
    " fence = excluded.fence, schema = excluded.schema, sent = excluded.sent,"
    " waiting = excluded.waiting, due_ms = excluded.due_ms, touched_ms = excluded.touched_ms,"
    " count = excluded.count, sum = excluded.sum, digest = excluded.digest"
)


class Group:
    """Changes under way in one transaction that the caller has begun and will end."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection, self._path = connection, path
        self._heads: dict[int, Head | CorruptError] = {}
        self._changed: dict[int, Head] = {}
        self._rows: dict[bytes, dict[bytes, int]] = {}
        self._writes: dict[bytes, Part] = {}
        self._gone: set[bytes] = set()
        self._stored: set[int] = set()
        self._fence = 0

    def run(self, changes: Sequence[Change]) -> list[StoreError | None]:
        """Do them in order, write, and say of each why it was refused, or None."""
        self._read(changes)
        outcome: list[StoreError | None] = []
        for change in changes:
            refused = self._refusal(change)
            if refused is None:
                self._do(change)
            outcome.append(refused)
        self._write()
        return outcome

    @property
    def has_written(self) -> bool:
        """Whether there is anything to commit; a claim that changed nothing is not."""
        return bool(self._changed)

    # --- reading --------------------------------------------------------------------------------

    def _read(self, changes: Sequence[Change]) -> None:
        named = {one.id: one.actor for one in changes}
        for text in self._ask(_HEADS, "?", [(one,) for one in named]):
            numbers = numbers_of(text)
            if not numbers:
                continue
            key, actor = numbers[0], named.get(numbers[0], "")
            self._heads[key] = head_of(numbers, actor) or damaged(actor, "its head")
            self._stored.add(key)
        for missing in named.keys() - self._heads.keys():
            self._heads[missing] = self._new(missing, named[missing])
        spans = {span for one in changes for span in one.drop}
        spans |= {point(part.key) for one in changes for part in one.put}
        for text in self._ask(_PARTS, "(?,?)", list(spans)):
            with contextlib.suppress(ValueError):  # damage: missed by the sum
                key_text, digest = text.split(" ")
                part = bytes.fromhex(key_text)
                self._rows.setdefault(part[:17], {})[part] = int(digest)

    def _new(self, key: int, actor: str) -> Head | CorruptError:
        """The head of an actor that has none; one that is found by its name alone is damaged."""
        found = self._connection.execute("SELECT 1 FROM heads WHERE actor = ?", (actor,)).fetchone()
        return damaged(actor, "its head cannot be found") if found else Head(key, actor)

    def _ask(self, statement: str, form: str, asked: Sequence[tuple[object, ...]]) -> Iterator[str]:
        """The rows found, a text each."""
        for at in range(0, len(asked), 256):
            some = list(asked[at : at + 256])
            size = 1 << (len(some) - 1).bit_length()
            some += some[-1:] * (size - len(some))
            text = statement.format(",".join([form] * size))
            row = self._connection.execute(text, flat(some)).fetchone()
            yield from (row[0] or "").split(";")

    # --- doing ----------------------------------------------------------------------------------

    def _refusal(self, change: Change) -> StoreError | None:
        head = self._heads[change.id]
        if isinstance(head, CorruptError):
            return head
        if change.fence < head.fence:
            return FencedError(
                f"{change.actor!r} was claimed under fence {head.fence}: a write under "
                f"{change.fence} is refused"
            )
        if head.actor is None and not change.is_claim:
            return FencedError(f"what was kept of {change.actor!r} was deleted; claim it again")
        return None

    def _do(self, change: Change) -> None:
        head = self._heads[change.id]
        assert isinstance(head, Head)
        is_known = change.id in self._stored or change.id in self._changed
        if change.is_claim and is_known and head.actor and change.fence == head.fence:
            return
        if not change.touches and not is_known:  # nothing to settle
            return
        self._changed[change.id] = head
        head.actor, head.sent = change.actor, max(head.sent, change.sent)
        if change.touches:
            head.touched_ms = max(head.touched_ms, change.now_ms)
            if change.fence > head.fence:
                self._fence = max(self._fence, change.fence)
            head.fence = change.fence
        if change.schema is not None:
            head.schema = change.schema
        if change.due_ms is not None:
            head.due_ms = change.due_ms
        for part in change.put:
            self._put(head, part)
        for span in change.drop:
            self._drop(head, span)

    def _put(self, head: Head, part: Part) -> None:
        rows = self._rows.setdefault(part.key[:17], {})
        before = rows.get(part.key)
        if before is not None:
            head.change(before, -1)
        elif part.kind == OUTGOING:
            head.waiting += 1
        head.change(part.digest, 1)
        rows[part.key] = part.digest
        self._writes[part.key] = part
        self._gone.discard(part.key)

    def _drop(self, head: Head, span: Span) -> None:
        rows = self._rows.get(span.low[:17])
        if not rows:
            return
        for key in [one for one in rows if span.low <= one < span.high]:
            head.change(rows.pop(key), -1)
            head.waiting -= key[8] == OUTGOING
            self._writes.pop(key, None)
            self._gone.add(key)

    # --- writing --------------------------------------------------------------------------------

    def _write(self) -> None:
        gone = list(self._gone)
        for at, size in portions(len(gone)):
            self._connection.execute(_DROP.format(",".join(["?"] * size)), gone[at : at + size])
        parts = list(self._writes.values())
        for at, size in portions(len(parts)):
            self._connection.execute(
                _PUT.format(",".join(["(?,?,?,?)"] * size)), flat(parts[at : at + size])
            )
        heads = [one.row() for one in self._changed.values()]
        for at, size in portions(len(heads)):
            self._connection.execute(
                _WRITE.format(",".join(["(?,?,?,?,?,?,?,?,?,?,?)"] * size)),
                flat(heads[at : at + size]),
            )
        if self._fence:
            raise_fence(self._connection, self._path, self._fence)


def raise_fence(connection: sqlite3.Connection, path: Path, fence: int) -> int:
    """Remember that `fence` was used; returns the highest that ever was."""
    highest = int(read_meta(connection, path, "fence"))
    if fence > highest:
        write_meta(connection, "fence", str(fence))
    return max(fence, highest)


def jump_numbers(connection: sqlite3.Connection) -> None:
    """Let every actor leave out JUMP numbers: some that it sent may have been lost with their rows.

    A receiver would take a new message with such a number for a repeat of the lost one.
    """
    rows = connection.execute(
        "SELECT actor, id, fence, schema, sent, waiting, due_ms, touched_ms, count, sum, digest"
        " FROM heads WHERE sent > 0"
    ).fetchall()
    for actor, *numbers in rows:
        head = head_of(numbers, actor)
        if head is None:  # damaged: it is not served anyway
            continue
        head.sent += JUMP
        connection.execute(
            "UPDATE heads SET sent = ?, digest = ? WHERE id = ?", (head.sent, head.digest, head.id)
        )
