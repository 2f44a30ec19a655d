"""What can be tuned about links, each value with its unit and its reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Algorithm = Literal["lz4", "gzip", "none"]


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """Bounds, times and compression of all links of one node."""

    window_bytes: int = 8 << 20
    """Retained bytes at which a link's credit is used up."""
    max_payload_bytes: int = 16 << 20
    """The largest body of one batch; a larger one is refused before a byte leaves."""
    compression: Algorithm = "lz4"
    """The algorithm this node asks for (plan 5.4); a peer that lacks it names another."""
    compression_threshold_bytes: int = 1024
    """Shorter bodies are never compressed (plan 5.4)."""
    connect_timeout_s: float = 30.0
    """How long a node waits for a first connection before it says so (plan 1.4)."""
    handshake_timeout_s: float = 5.0
    """A connection without an answer to its hello is given up after this time."""
    backoff_first_s: float = 0.05
    """The life of the first unsuccessful attempt to connect; it doubles with each one."""
    backoff_longest_s: float = 5.0
    """The life of an attempt grows up to this."""
    keep_alive_s: float = 60.0
    """A dead connection is found within this time, also when nothing is sent (plan 5.5)."""
    idle_close_s: float = 300.0
    """A dialed link without traffic for this long ends, if the node lets it (plan 1.4)."""
    session_expiry_s: float = 300.0
    """An accepted session whose dialer has not come back for this long is over."""
    max_sessions: int = 16384
    """Accepted sessions kept; at the bound one without a connection makes room for a new one."""
    ack_delay_s: float = 0.005
    """How long an acknowledgement waits for a packet to travel with."""
    ack_batches: int = 8
    """This many unacknowledged batches are acknowledged without waiting."""
    drain_packets: int = 64
    """Packets taken from one socket before others have their turn."""

    def __post_init__(self) -> None:
        if not 0 <= self.max_payload_bytes < 1 << 31:
            raise ValueError("max_payload_bytes must be less than 2 GiB")

    @property
    def max_packet_bytes(self) -> int:
        """What one ZeroMQ message may have: a full body and its header."""
        return self.max_payload_bytes + 4096
