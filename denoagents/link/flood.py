"""What one listening socket takes from those who flood it: connections, hellos, junk; all counted.

Rules: on the loop, the time is given. A connection that has said nothing valid is *unproven*; there
is room for so many, and the oldest makes way, so that an honest newcomer, proven in milliseconds,
comes through. What is over its rate loses its connection, by `shutdown` of its descriptor: libzmq
then ends it as if the peer had. Nothing here allocates for what was not accepted.
"""

from __future__ import annotations

import contextlib
import os
import socket
from dataclasses import dataclass

from denoagents._native.packet import Packet

MAX_UNPROVEN = 256
"""Connections that have said nothing valid yet."""
HELLOS_PER_S = 50
"""Of one connection; a dialer says one."""
JUNK_BYTES_PER_S = 64 << 10
"""Of one connection: what is no packet, or one that nobody may send here."""
MAX_WATCHED = 4096
_COST = 256
"""Bytes that a piece of junk counts for, whatever its size."""


@dataclass(slots=True)
class Spent:
    """What one connection has used up in this second."""

    second: int = 0
    hellos: int = 0
    junk_bytes: int = 0


class FloodGate:
    """The limits of one listening socket."""

    def __init__(self) -> None:
        self._unproven: dict[int, None] = {}
        self._spent: dict[int, Spent] = {}
        self.crowded_out = self.cut_off = 0

    # --- connections (by libzmq's monitor) ----------------------------------------------------

    def accepted(self, descriptor: int) -> None:
        """A connection came."""
        self._spent.pop(descriptor, None)
        self._unproven.pop(descriptor, None)
        self._unproven[descriptor] = None
        if len(self._unproven) > MAX_UNPROVEN:
            oldest = next(iter(self._unproven))
            del self._unproven[oldest]
            self.crowded_out += 1
            end_connection(oldest)

    def gone(self, descriptor: int) -> None:
        """A connection is over."""
        self._unproven.pop(descriptor, None)
        self._spent.pop(descriptor, None)

    # --- packets ------------------------------------------------------------------------------

    def takes_hello(self, packet: Packet, now_ns: int) -> bool:
        """Whether this connection may say one more hello; it is proven by the first."""
        if packet.fd <= 0:  # a network in memory
            return True
        spent = self._of(packet.fd, now_ns)
        spent.hellos += 1
        if spent.hellos > HELLOS_PER_S:
            self._cut(packet.fd)
            return False
        self._unproven.pop(packet.fd, None)
        return True

    def proven(self, packet: Packet) -> None:
        """A valid packet came over this connection."""
        if self._unproven:
            self._unproven.pop(packet.fd, None)

    def junk(self, packet: Packet, now_ns: int) -> None:
        """Something came that is no packet, or must not come here."""
        if packet.fd <= 0:
            return
        spent = self._of(packet.fd, now_ns)
        spent.junk_bytes += _COST + len(packet.body)
        if spent.junk_bytes > JUNK_BYTES_PER_S:
            self._cut(packet.fd)

    def cut(self, packet: Packet) -> None:
        """End the connection of this packet."""
        self._cut(packet.fd)

    def _of(self, descriptor: int, now_ns: int) -> Spent:
        second = now_ns // 1_000_000_000
        spent = self._spent.get(descriptor)
        if spent is None:
            if len(self._spent) >= MAX_WATCHED:
                del self._spent[next(iter(self._spent))]
            spent = self._spent[descriptor] = Spent(second)
        elif spent.second != second:
            spent.second, spent.hellos, spent.junk_bytes = second, 0, 0
        return spent

    def _cut(self, descriptor: int) -> None:
        self._spent.pop(descriptor, None)
        if descriptor > 0:
            self.cut_off += 1
        end_connection(descriptor)


def end_connection(descriptor: int) -> None:
    """Shut a TCP connection of libzmq down; nothing happens if it is gone, or is none."""
    if descriptor <= 2:
        return
    with contextlib.suppress(OSError):
        duplicate = os.dup(descriptor)
        with contextlib.closing(socket.socket(fileno=duplicate)) as connection:
            connection.getpeername()
            connection.shutdown(socket.SHUT_RDWR)
