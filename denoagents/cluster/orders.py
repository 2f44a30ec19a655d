"""What the fleet tells the broker's process to do; it carries them out in the given order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from denoagents.cluster.messages import Message


@dataclass(frozen=True, slots=True)
class Send:
    """Send a message to members, encoded once."""

    to: tuple[int, ...]
    message: Message


@dataclass(frozen=True, slots=True)
class Persist:
    """Save `state`, then call `fleet.stored(number)` or `fleet.store_failed(number, reason)`."""

    number: int
    state: bytes


@dataclass(frozen=True, slots=True)
class End:
    """The incarnation is over: end its link and refuse whatever still comes from it.

    One that left by its own will (`is_clean`) says goodbye itself."""

    incarnation: int
    reason: str
    is_clean: bool = False


@dataclass(frozen=True, slots=True)
class Note:
    """Something an operator wants to know: for the log and the list of events."""

    event: str
    facts: dict[str, Any]


Order = Send | Persist | End | Note
