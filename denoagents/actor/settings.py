"""What can be tuned about actors, each value with its unit and its reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Strategy = Literal["round_robin", "least_connections", "weighted"]
"""How a pool chooses the member for a request (plan 2.7)."""


@dataclass(frozen=True, slots=True)
class ActorSettings:
    """Bounds and times of the actors of one node."""

    passivate_after_s: float = 900.0
    """An actor without a turn for this long gives up its instance; its declared state is kept."""
    sweep_every_s: float = 1.0
    """How often the node looks for idle actors; each look takes a slice of them."""
    mailbox_limit: int = 8192
    """Messages waiting in one mailbox at which its senders are told to pause."""
    mailbox_reserve: int = 262_144
    """Messages waiting in one mailbox at which one more is refused as `Overloaded`: a pause takes
    effect after what is under way (a link's window, 8 MiB) has come."""
    park_limit: int = 100_000
    """Messages that wait for a destination (hand-over, link down, paused target), in all."""
    reliable_bytes: int = 500_000_000
    """Reliable messages sent and not handled yet, and answers kept for repeats (at most
    half of it); then their senders wait (plan 1.8)."""
    passivated_bytes: int = 256 << 20
    """State of passivated actors kept in memory; at the bound no more actors are passivated."""
    credit_timeout_s: float = 30.0
    """A stream's writer without credit for this long is cancelled."""
    stream_items: int = 64
    """How many items a writer may be ahead of a reader in the same process."""
    dead_letters: int = 200
    """The last messages that nobody took, kept with their reasons for `get` and logs."""
    check_local_calls: bool | None = None
    """Calls inside the process pass the codec, too, so that nobody relies on shared objects.

    None: where pytest runs, and nowhere else."""
    timeout_high_s: float = 10.0
    """Default deadline of an ask with priority high (plan 2.10)."""
    timeout_normal_s: float = 30.0
    """Default deadline of an ask with priority normal (plan 2.10)."""
    timeout_low_s: float = 60.0
    """Default deadline of an ask with priority low (plan 2.10)."""
