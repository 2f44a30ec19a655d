"""What a node's view tells its node to do; the node carries them out in order, at once."""

from __future__ import annotations

from array import array
from dataclasses import dataclass

from denoagents.cluster import messages


@dataclass(frozen=True, slots=True)
class Route:
    """Send new messages for these slots to `owner`; 0: keep them here until the next Route."""

    group: str
    slots: array[int]
    owner: int


@dataclass(frozen=True, slots=True)
class Flush:
    """Call `view.flushed(incarnation, version)` when each peer has accepted all sent until now.

    A peer without a link, or with an ended one, is flushed at once."""

    version: int
    incarnations: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """Send `messages.Ack(version)` to the broker."""

    version: int


@dataclass(frozen=True, slots=True)
class Freeze:
    """Start no new turn in these slots; running turns may end; arrivals wait."""

    group: str
    slots: array[int]


@dataclass(frozen=True, slots=True)
class Ship:
    """Ship all actors of these slots but those with a running turn, then call `view.shipped`."""

    group: str
    slots: array[int]
    to: int


@dataclass(frozen=True, slots=True)
class ShipActor:
    """Ship this actor, whose turn has ended, then call `view.actor_shipped`."""

    group: str
    actor: str
    slot: int
    to: int


@dataclass(frozen=True, slots=True)
class Activate:
    """Run these slots: what was shipped first, then what was kept. `excepted` actors must wait."""

    group: str
    slots: array[int]
    excepted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ActivateActor:
    """Run this actor of an active slot; it was excepted before."""

    group: str
    actor: str


@dataclass(frozen=True, slots=True)
class Release:
    """Send this to a member, behind everything that was shipped to it."""

    to: int
    message: messages.Released


@dataclass(frozen=True, slots=True)
class Report:
    """Send this to the broker."""

    message: messages.Message


@dataclass(frozen=True, slots=True)
class Over:
    """This incarnation is dead or gone: end its link, refuse whatever still comes from it."""

    incarnation: int


@dataclass(frozen=True, slots=True)
class Drained:
    """This worker was to give up its slots, and holds none any more (or nobody could take them)."""


@dataclass(frozen=True, slots=True)
class Evicted:
    """The fleet declared this very node over: start nothing more, under no circumstances."""

    reason: str


Instruction = (
    Route
    | Flush
    | Acknowledge
    | Freeze
    | Ship
    | ShipActor
    | Activate
    | ActivateActor
    | Release
    | Report
    | Over
    | Drained
    | Evicted
)
