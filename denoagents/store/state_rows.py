"""The rows of the embedded state store: what a change becomes, and how damage is seen.

Rules:
    An actor is one *head* and any number of *parts* (its state, outgoing messages, handled ones,
    floors, reminders, effects). Each part carries a digest of its key and content; the head
    carries the sum and the count of its parts' digests, and a digest of itself. So a flipped bit,
    a lost row and a row of yesterday are all seen when the actor is claimed.
    A head is found by a hash of the actor's name, and, when it is not, by the name: a damaged key
    cannot make an actor look new.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from struct import Struct
from typing import Final, NamedTuple

import msgspec
from xxhash import xxh3_64_intdigest

from denoagents.durability import Commit, Effect, Handled, Kept, Outgoing, Reminder
from denoagents.errors import CorruptError

LAYOUT: Final = 1
"""The file's user_version; a file of a newer one is refused."""

TABLES: Final = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL, digest INTEGER NOT NULL)
    WITHOUT ROWID;
CREATE TABLE heads (id INTEGER PRIMARY KEY, actor TEXT UNIQUE, fence INTEGER NOT NULL,
    schema INTEGER NOT NULL, sent INTEGER NOT NULL, waiting INTEGER NOT NULL,
    due_ms INTEGER NOT NULL, touched_ms INTEGER NOT NULL, count INTEGER NOT NULL,
    sum INTEGER NOT NULL, digest INTEGER NOT NULL);
CREATE TABLE parts (key BLOB PRIMARY KEY, content BLOB NOT NULL, at_ms INTEGER NOT NULL,
    digest INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE sequence (number INTEGER NOT NULL);
INSERT INTO sequence VALUES (0);
CREATE INDEX wakes ON heads (id) WHERE waiting > 0 OR due_ms > 0;
"""

STATE, OUTGOING, HANDLED, FLOOR, REMINDERS, EFFECT = range(1, 7)
"""Kinds of parts."""

_KEY: Final = Struct(">QBQQI")
_encode: Final = msgspec.msgpack.Encoder().encode
_outgoing: Final = msgspec.msgpack.Decoder(Outgoing).decode
_reply: Final = msgspec.msgpack.Decoder(bytes | None).decode
_reminders: Final = msgspec.msgpack.Decoder(list[Reminder]).decode
_effect: Final = msgspec.msgpack.Decoder(Effect).decode


class Part(NamedTuple):
    """One row of `parts`."""

    key: bytes
    """Actor, kind, stream, number and position, one after the other: it sorts like they do."""
    content: bytes
    at_ms: int
    digest: int

    @property
    def kind(self) -> int:
        """STATE and its kin."""
        return self.key[8]

    @property
    def stream(self) -> int:
        """Whose number it is; 0 where that goes without saying."""
        return int.from_bytes(self.key[9:17], "big")

    @property
    def number(self) -> int:
        """Its number in the stream."""
        return int.from_bytes(self.key[17:25], "big")

    @property
    def is_whole(self) -> bool:
        """Whether it is what was written."""
        return self.digest == _digest(self.key, self.content, self.at_ms)


class Span(NamedTuple):
    """Parts with `low` <= key < `high`, all of one actor, kind and stream."""

    low: bytes
    high: bytes


@dataclass(slots=True)
class Head:
    """One row of `heads`; `actor` is None when its data was deleted and only the fence stays."""

    id: int
    actor: str | None
    fence: int = 0
    schema: int = 0
    sent: int = 0
    waiting: int = 0
    due_ms: int = 0
    touched_ms: int = 0
    count: int = 0
    sum: int = 0

    def row(self) -> tuple[object, ...]:
        """Its columns, the digest last."""
        return (self.id, self.actor, *self._numbers(), self.digest)

    @property
    def digest(self) -> int:
        """Of everything above."""
        name = b"\0" if self.actor is None else self.actor.encode()
        numbers = b"".join(n.to_bytes(8, "little", signed=True) for n in self._numbers())
        return signed(xxh3_64_intdigest(numbers + name, seed=self.id & 2**64 - 1))

    def _numbers(self) -> tuple[int, ...]:
        return (
            self.fence, self.schema, self.sent, self.waiting, self.due_ms, self.touched_ms,
            self.count, self.sum,
        )  # fmt: skip

    def change(self, digest: int, count: int) -> None:
        """Add a part's digest (count 1), or take it away (count -1)."""
        self.sum = signed((self.sum + digest * count) & 2**64 - 1)
        self.count += count


@dataclass(slots=True)
class Change:
    """What is to be done to one actor: a commit, a claim or a settlement, made into rows."""

    actor: str
    id: int
    fence: int
    is_claim: bool = False
    touches: bool = False
    """Whether it is the actor's own work: retention counts from the last of these."""
    grows: bool = False
    """Whether it may need room."""
    now_ms: int = 0
    schema: int | None = None
    sent: int = 0
    due_ms: int | None = None
    put: list[Part] = field(default_factory=list)
    drop: list[Span] = field(default_factory=list)
    size_bytes: int = 0


def id_of(actor: str) -> int:
    """The head's key for an actor's name."""
    return signed(xxh3_64_intdigest(actor.encode()))


def signed(number: int) -> int:
    """An unsigned number of 64 bits as SQLite keeps it."""
    return number - 2**64 if number >= 2**63 else number


def unsigned(number: int) -> int:
    """The opposite of `signed`."""
    return number & 2**64 - 1


def claim_of(actor: str, fence: int, now_ms: int) -> Change:
    """The change that a claim makes."""
    return Change(actor, id_of(actor), fence, is_claim=True, touches=True, now_ms=now_ms)


def settlement_of(actor: str, fence: int, numbers: Iterable[int]) -> Change:
    """The change that drops outgoing messages."""
    key = id_of(actor)
    return Change(actor, key, fence, drop=[point(_key(key, OUTGOING, 0, n)) for n in numbers])


def change_of(commit: Commit, now_ms: int) -> Change:
    """The change that a commit makes."""
    key = id_of(commit.actor)
    change = Change(
        commit.actor, key, commit.fence, touches=True, grows=True, now_ms=now_ms, sent=commit.sent
    )
    put, drop = change.put, change.drop
    if commit.state is not None:
        change.schema = commit.schema
        put.append(_part(_key(key, STATE), commit.state, now_ms))
    for one in commit.outgoing:
        put.append(_part(_key(key, OUTGOING, 0, one.number), _encode(one), now_ms))
    for effect in commit.effects:
        at = _key(key, EFFECT, effect.stream, effect.number, effect.index)
        put.append(_part(at, _encode(effect), now_ms))
    drop += [point(_key(key, OUTGOING, 0, number)) for number in commit.settled]
    if commit.handled is not None:
        stream, number = commit.handled.stream, commit.handled.number
        reply = _encode(commit.handled.reply)
        put.append(_part(_key(key, HANDLED, stream, number), reply, now_ms))
        drop.append(Span(_key(key, EFFECT, stream, number), _key(key, EFFECT, stream, number + 1)))
    if commit.floor is not None:
        stream, floor = commit.floor
        put.append(_part(_key(key, FLOOR, stream, floor), b"", now_ms))
        for kind in (HANDLED, EFFECT, FLOOR):
            drop.append(Span(_key(key, kind, stream), _key(key, kind, stream, floor)))
    if commit.reminders is not None:
        change.due_ms = min((one.due_ms for one in commit.reminders), default=0)
        if commit.reminders:
            put.append(_part(_key(key, REMINDERS), _encode(commit.reminders), now_ms))
        else:
            drop.append(point(_key(key, REMINDERS)))
    change.size_bytes = 128 * (len(put) + len(drop)) + sum(len(one.content) for one in put)
    return change


def kept_of(head: Head, parts: Sequence[Part]) -> Kept | None:
    """What is kept of an actor; raises `CorruptError` if a row is damaged, lost or too much."""
    total = sum(one.digest for one in parts)
    if not all(one.is_whole for one in parts):
        raise damaged(head.actor or "", "a row does not match its digest")
    if len(parts) != head.count or signed(total & 2**64 - 1) != head.sum:
        raise damaged(head.actor or "", "its rows do not match their sum")
    if not parts and not head.sent:
        return None
    floors: dict[int, int] = {}
    by_kind: dict[int, list[Part]] = {}
    for one in parts:
        by_kind.setdefault(one.kind, []).append(one)
    for one in by_kind.get(FLOOR, ()):
        floors[one.stream] = max(one.number, floors.get(one.stream, 0))
    try:
        return Kept(
            state=next((one.content for one in by_kind.get(STATE, ())), b""),
            schema=head.schema,
            sent=head.sent,
            outgoing=[_outgoing(one.content) for one in by_kind.get(OUTGOING, ())],
            handled=[
                Handled(one.stream, one.number, _reply(one.content))
                for one in by_kind.get(HANDLED, ())
            ],
            floors=floors,
            reminders=[r for one in by_kind.get(REMINDERS, ()) for r in _reminders(one.content)],
            effects=[_effect(one.content) for one in by_kind.get(EFFECT, ())],
        )
    except msgspec.DecodeError as error:
        raise damaged(head.actor or "", str(error)) from error


def head_of(row: Sequence[object], actor: str | None) -> Head | None:
    """The head of a row (id, numbers…, digest) whose name must be `actor`; None if damaged."""
    if not all(isinstance(one, int) for one in row):
        return None
    numbers: list[int] = [int(str(one)) for one in row]
    head = Head(numbers[0], actor, *numbers[1:-1])
    if head.digest == numbers[-1]:
        return head
    head.actor = None
    return head if head.digest == numbers[-1] else None


def numbers_of(text: str) -> list[int]:
    """The whole numbers of a text; none if there is anything else in it."""
    try:
        return [int(one) for one in text.split(" ")]
    except ValueError:
        return []


def damaged(actor: str, detail: str) -> CorruptError:
    """The error for damage to what is kept of `actor`."""
    return CorruptError(
        f"what is kept of {actor!r} is damaged ({detail}); it is not served: "
        "see `denoagents store verify`, and restore a backup"
    )


def outgoing_of(part: Part) -> Outgoing:
    """The message in a part of the kind OUTGOING."""
    return _outgoing(part.content)


def flat(rows: Iterable[Iterable[object]]) -> list[object]:
    """The values of all rows, one after the other."""
    return list(chain.from_iterable(rows))


def portions(count: int, sizes: Sequence[int] = (256, 64, 16, 4, 1)) -> Iterator[tuple[int, int]]:
    """(start, size) that cover `count` rows in few sizes: so few statements are ever compiled."""
    at = 0
    for size in sizes:
        while count - at >= size:
            yield at, size
            at += size


def all_of(actor: int) -> Span:
    """All parts of an actor, by its head's key."""
    low = unsigned(actor).to_bytes(8, "big")
    return Span(low, low + b"\xff" * (_KEY.size - 7))


def point(key: bytes) -> Span:
    """One part alone."""
    return Span(key, key + b"\0")


def _key(actor: int, kind: int, stream: int = 0, number: int = 0, position: int = 0) -> bytes:
    return _KEY.pack(unsigned(actor), kind, stream, number, position)


def _part(key: bytes, content: bytes, at_ms: int) -> Part:
    return Part(key, content, at_ms, _digest(key, content, at_ms))


def _digest(key: bytes, content: bytes, at_ms: int) -> int:
    seed = xxh3_64_intdigest(key + at_ms.to_bytes(8, "big", signed=True))
    return signed(xxh3_64_intdigest(content, seed=seed))
