"""What the mesh needs of a network; ZeroMQ is one, the simulator's memory twin another.

Rules: everything is called on the loop. A closed wire calls nobody back. `send` never waits; False
means that the connection is gone. Nobody promises that what was sent arrives.
"""

from __future__ import annotations

from typing import Protocol

from denoagents._native.packet import Packet


class Receiver(Protocol):
    """Who hears what comes over one wire."""

    def connected(self) -> None:
        """A dialed connection stands; once."""

    def received(self, packets: list[Packet]) -> None:
        """Packets came, in order; junk among them has kind 0."""

    def lost(self) -> None:
        """The dialed connection is gone, or never came to be; once, after the last packet."""


class Watcher(Receiver, Protocol):
    """Who hears what comes to a listening wire, and of the connections themselves."""

    def came(self, descriptor: int) -> None:
        """A connection was accepted; it has said nothing yet."""

    def went(self, descriptor: int) -> None:
        """A connection is over."""


class Put(Protocol):
    """Hand one packet to the network; `route` says to whom on a listening wire."""

    def __call__(  # noqa: PLR0913, PLR0917 - the header's fields; a record costs a microsecond
        self,
        route: bytes | None,
        kind: int,
        flags: int,
        seq: int,
        ack: int,
        now_ns: int,
        placement_version: int,
        count: int,
        raw_length: int,
        body: bytes,
        /,
    ) -> bool: ...


class Wire(Protocol):
    """One socket: a dialed connection, or the listening end of many."""

    @property
    def send(self) -> Put: ...

    def send_datagram(self, route: bytes | None, packet: bytes) -> bool:
        """Send a packet that is complete with its own header."""

    def watch(self) -> None:
        """Look whether a wake-up was missed; called about once a second."""

    def close(self, linger_ms: int = 0) -> None:
        """Close; what was sent may still leave within `linger_ms`."""


class Transport(Protocol):
    """Makes wires."""

    def listen(self, endpoint: str, receiver: Watcher) -> tuple[Wire, str]:
        """Listen at `endpoint`; returns the endpoint with the real port too.

        Raises: `LinkError` when it cannot, `ConfigurationError` when `endpoint` is no address.
        """

    def dial(self, endpoint: str, receiver: Receiver) -> Wire:
        """Start to connect, once.

        Raises: `UsageError` when `endpoint` is no address, `LinkError` when no socket is to be had.
        """

    async def close(self) -> None:
        """Wait for the lingers of the wires, all closed before, and let go of everything."""
