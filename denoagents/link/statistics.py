"""What links and meshes tell about themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["connecting", "up", "down", "over"]


@dataclass(frozen=True, slots=True)
class LinkStatistics:
    """What one link has done; bytes and packets are those of its batches on the wire."""

    peer: str
    incarnation: int
    dialed: bool
    session: int
    """The session's number among those of the dialer's incarnation."""
    state: State
    connections: int
    retained_count: int
    retained_bytes: int
    acknowledged_count: int
    packets_out: int
    bytes_out: int
    packets_in: int
    bytes_in: int
    resends: int
    duplicates: int
    batches_sent: int
    batches_accepted: int
    """When a link is quiet, this is the peer's `batches_sent`."""


@dataclass(frozen=True, slots=True)
class MeshStatistics:
    """What a mesh has and has seen."""

    links: tuple[LinkStatistics, ...]
    junk_packets: int
    """Packets that were none, or damaged."""
    stray_packets: int
    """Intact packets of connections that belong to no session."""
    refused_hellos: int
    """Dialers that were turned away with a reason."""
    unlisted_packets: int = 0
    """Packets of keys that are not let in (any more)."""
    crowded_out: int = 0
    """Connections that said nothing valid and made way for newer ones."""
    cut_off: int = 0
    """Connections that were ended for too many hellos, or too much junk."""
