"""What libzmq's monitors tell: why a dialed connection is not let in, and who comes and goes.

Rules: on the loop. A monitor's FD signals only what comes after a look.
"""

from __future__ import annotations

import asyncio

from denoagents._native.gate import (
    ACCEPTED,
    DISCONNECTED,
    FAILED,
    PROTOCOL_FAILED,
    REFUSED,
    Line,
)
from denoagents._native.socket import Context, Socket
from denoagents.link.credentials import Credentials
from denoagents.link.transport import Watcher

_BURST = 64
UNCLEAR = "no key of ours fits there: it has another key, or it speaks without keys"
UNLISTED = "this process's key is not on its allow-list"


class Barrier:
    """Hears of one dialed socket's handshake; tells the credentials when it fails."""

    def __init__(
        self, context: Context, socket: Socket, endpoint: str, credentials: Credentials
    ) -> None:
        self._endpoint, self._credentials = endpoint, credentials
        events = FAILED | PROTOCOL_FAILED | REFUSED
        self._line = Line.monitor(context.address, socket.address, events)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._line.fd, self._look)
        self._is_closed = False
        self._loop.call_soon(self._look)  # the FD signals only what comes after a look

    def _look(self) -> None:
        while not self._is_closed and self._line.has_more():
            seen = self._line.event()
            if seen is None:
                continue
            is_final = seen[0] == REFUSED
            self._credentials.barred(self._endpoint, UNLISTED if is_final else UNCLEAR, is_final)

    def close(self) -> None:
        """The connection stands, or is given up."""
        if not self._is_closed:
            self._is_closed = True
            self._loop.remove_reader(self._line.fd)
            self._line.close()


class Comings:
    """Tells of each connection of a listening socket that comes and goes."""

    def __init__(self, context: Context, socket: Socket, watcher: Watcher) -> None:
        self._watcher = watcher
        self._line = Line.monitor(context.address, socket.address, ACCEPTED | DISCONNECTED)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._line.fd, self._look)
        self._is_closed = False
        self._loop.call_soon(self._look)

    def _look(self) -> None:
        for _ in range(_BURST):
            if self._is_closed or not self._line.has_more():
                return
            seen = self._line.event()
            if seen is None:
                continue
            if seen[0] == ACCEPTED:
                self._watcher.came(seen[1])
            else:
                self._watcher.went(seen[1])
        self._loop.call_soon(self._look)

    def close(self) -> None:
        """Tell of nobody any more."""
        if not self._is_closed:
            self._is_closed = True
            self._loop.remove_reader(self._line.fd)
            self._line.close()
