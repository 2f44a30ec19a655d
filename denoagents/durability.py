"""What outlives a process: the records of durable actors, and what a store promises to keep.

Rules:
    A turn is one `Commit`: all of it is kept, or nothing. Commits of one actor take effect in the
    order of their calls; those of many actors share one write.
    A store remembers the highest fence that claimed an actor, and refuses a lower one for good.
    A row of an actor whose name begins with `JOURNAL` is a node's own: what code outside of turns
    sent.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Final, Literal, Protocol

import msgspec
from xxhash import xxh3_64_intdigest

Mode = Literal["memory", "os", "disk"]
"""What a commit survives: nothing, the end of the process (`kill -9`), the end of the machine."""

MODES: Final[tuple[Mode, ...]] = ("memory", "os", "disk")
"""From the weakest to the strongest."""

JOURNAL: Final = "~journal/"
"""`~journal/NODE` names the rows of what the node NAME sent from outside of turns."""


class Outgoing(msgspec.Struct, frozen=True, array_like=True):
    """A tell that a turn sent, or code outside of turns; kept until it is settled."""

    number: int
    """Its place in the sender's stream, from 1."""
    target: str
    """The address."""
    method: str
    priority: int
    payload: bytes


class Handled(msgspec.Struct, frozen=True, array_like=True):
    """A message that was handled, by its identity: a repeat is answered from here."""

    stream: int
    number: int
    reply: bytes | None = None
    """The encoded result of an ask; None for a tell."""


class Reminder(msgspec.Struct, frozen=True, array_like=True):
    """A message that an actor sends to itself at a time of the wall clock."""

    name: str
    method: str
    payload: bytes
    due_ms: int
    """Unix time of the next message."""
    every_s: float = 0.0
    """Seconds between two; 0 for a single one."""


class Effect(msgspec.Struct, frozen=True, array_like=True):
    """One call of an effect outside: its intent, kept before it runs, then its result."""

    stream: int
    number: int
    """The message whose turn called it."""
    index: int
    """Which call of that turn it was, from 0."""
    name: str
    arguments: bytes
    fence: int
    """The fence under which it ran."""
    result: bytes | None = None
    """None while nobody knows how it ended."""


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """Everything that is kept of one actor."""

    state: bytes = b""
    """Its fields; empty if no turn has committed any."""
    schema: int = 0
    """The version of the class that wrote `state`."""
    sent: int = 0
    """The highest number that it ever sent."""
    outgoing: list[Outgoing] = msgspec.field(default_factory=list)
    """What is not settled yet, in the order of the numbers."""
    handled: list[Handled] = msgspec.field(default_factory=list)
    """What it handled, down to the floors of the senders."""
    floors: dict[int, int] = msgspec.field(default_factory=dict)
    """Stream -> all its numbers below are settled, and their `Handled` is forgotten."""
    reminders: list[Reminder] = msgspec.field(default_factory=list)
    effects: list[Effect] = msgspec.field(default_factory=list)
    """Of messages that are not handled yet."""


class Commit(msgspec.Struct, frozen=True):
    """What one turn changes, all or nothing."""

    actor: str
    """The address."""
    fence: int
    state: bytes | None = None
    """The new state; None leaves it (and `schema`) as it is."""
    schema: int = 0
    handled: Handled | None = None
    """The message of the turn; the `Effect` rows of this message are dropped with it."""
    floor: tuple[int, int] | None = None
    """(stream, number): `Handled` and `Effect` rows of the stream below the number are dropped."""
    sent: int = 0
    """The highest number in `outgoing`, or 0 for nothing new: a store keeps the highest."""
    outgoing: tuple[Outgoing, ...] = ()
    """To add."""
    settled: tuple[int, ...] = ()
    """Numbers of outgoing messages to drop."""
    reminders: tuple[Reminder, ...] | None = None
    """All reminders from now on; None leaves them."""
    effects: tuple[Effect, ...] = ()
    """To add, or to replace by (stream, number, index)."""


class Wake(msgspec.Struct, frozen=True, array_like=True):
    """An actor that has something to do without being asked."""

    actor: str
    due_ms: int
    """Unix time of its next reminder; 0 if outgoing messages wait."""


class StateStore(Protocol):
    """Where durable actors live; called on the loop's thread, never blocks it.

    A call that fails raises `StoreError`: `FencedError` for a fence below the actor's,
    `StoreFullError` when it cannot write, `CorruptError` for a row that is damaged.
    """

    @property
    def identity(self) -> str:
        """Names the place: two nodes whose stores have the same identity share it."""

    @property
    def is_shared_between_hosts(self) -> bool:
        """Whether nodes on different hosts can share it."""

    async def open(self) -> None:
        """Make it usable; raises `StoreError`."""

    async def close(self) -> None:
        """Write what is under way, and let go."""

    async def claim(self, actor: str, fence: int) -> Kept | None:
        """What is kept of `actor`, None for nothing; from now on lower fences are refused.

        One transaction: no commit under a lower fence can come between the two. Commits that this
        node made before are seen.
        """

    def commit(self, commit: Commit, mode: Mode) -> Awaitable[None]:
        """Begin to keep it; the awaitable ends when it survives what `mode` says.

        The order of the calls for one actor is the order of the effects, whether or not somebody
        awaits. A commit in the mode `memory` ends at once and is written a little later.
        """

    def settle(self, actor: str, fence: int, numbers: Sequence[int]) -> None:
        """Drop outgoing messages that were handled; may be late, or lost with the process."""

    async def to_wake(self) -> list[Wake]:
        """The actors with outgoing messages or reminders, journals too."""

    async def highest_fence(self) -> int:
        """The highest fence of all; 0 for an empty store."""

    async def next_fence(self) -> int:
        """A fence above all that were; for nodes without a broker, once a life."""


def stream_of(name: str) -> int:
    """The stream of a durable actor's address or of a journal; never that of an incarnation."""
    return xxh3_64_intdigest(name.encode()) | 1 << 63
