"""ZeroMQ as the transport: native sockets watched by the event loop.

Rules: one thread, the loop's. Every dialed connection is a socket of its own that connects once; a
reconnect is a new one. The FD of a ZeroMQ socket is edge-triggered: it is drained to EAGAIN, or
looked at again in the loop's next round.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import threading

from denoagents._native.socket import CONNECTED, READABLE, Context, Socket
from denoagents.errors import ConfigurationError, LinkError, UsageError
from denoagents.link.authentication import Authentication
from denoagents.link.barrier import Barrier, Comings
from denoagents.link.credentials import Credentials
from denoagents.link.settings import LinkSettings
from denoagents.link.transport import Put, Receiver, Watcher

_LONGEST_CLOSE_MS = 2000
"""Lingers are shorter; a context that is still not closed after this time is left alone."""
_CAUSES = {
    errno.EADDRINUSE: "the port is in use; choose another, or end the process that has it",
    errno.EADDRNOTAVAIL: "this machine has no such address",
    errno.EACCES: "the port needs more rights; choose one over 1023",
}
_NO_ADDRESS = {errno.EINVAL, errno.EPROTONOSUPPORT, errno.ENODEV}


class Connection:
    """One native socket on the loop."""

    def __init__(self, socket: Socket, receiver: Receiver, *, dials: bool, burst: int) -> None:
        self.send: Put = socket.send
        self.send_datagram = socket.send_datagram
        self.socket = socket
        self._receiver = receiver
        self._dials = dials
        self._burst = burst
        self._is_connected = False
        self._is_scheduled = False
        self._is_closed = False
        self.barrier: Barrier | Comings | None = None
        self._loop = asyncio.get_running_loop()
        socket.on_input = self.watch
        self._loop.add_reader(socket.fd, self._drain)
        self.watch()

    def watch(self) -> None:
        """Look at the socket in the loop's next round."""
        if not self._is_scheduled and not self._is_closed:
            self._is_scheduled = True
            self._loop.call_soon(self._drain_soon)

    def _drain_soon(self) -> None:
        self._is_scheduled = False
        self._drain()

    def _drain(self) -> None:
        if self._is_closed:
            return
        socket = self.socket
        packets = socket.receive(self._burst)
        if packets:
            self._receiver.received(packets)
        if socket.has_more:
            self.watch()
        elif self._dials and not self._is_closed:
            self._follow(socket.look())

    def _follow(self, seen: int) -> None:
        """Tell the receiver when the dialed connection has come or gone."""
        if seen & READABLE:  # it came after the last receive, and its signal is swallowed
            self.watch()
            return
        is_connected = bool(seen & CONNECTED)
        if is_connected == self._is_connected:
            return
        self._is_connected = is_connected
        self._lift()
        if is_connected:
            self._receiver.connected()
        else:
            self._receiver.lost()

    def _lift(self) -> None:
        barrier, self.barrier = self.barrier, None
        if barrier is not None:
            barrier.close()

    def close(self, linger_ms: int = 0) -> None:
        self._lift()
        if not self._is_closed:
            self._is_closed = True
            self._loop.remove_reader(self.socket.fd)
            self.socket.close(linger_ms)


def check_loopback(endpoint: str) -> None:
    """Without keys nobody may come in from other machines: `ConfigurationError` says so."""
    host = endpoint.removeprefix("tcp://").rpartition(":")[0].strip("[]")
    try:
        is_open = not ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_open = endpoint.startswith("tcp://") and host not in {"", "localhost", "lo"}
    if is_open:
        raise ConfigurationError(
            f"{endpoint} can be reached from other machines, and no keys keep strangers out. Make "
            "them (`denoagents keys new broker --role broker`, then for each node `denoagents keys "
            "new NAME --role worker`), or listen on tcp://127.0.0.1:PORT"
        )


class ZeroMQTransport:
    """Sockets of one ZeroMQ context: its own, made at the first use, or one shared by many."""

    def __init__(
        self,
        settings: LinkSettings | None = None,
        shared: Context | None = None,
        credentials: Credentials | None = None,
    ) -> None:
        """With `credentials` everything is encrypted, and only listed keys come in."""
        self._settings = settings or LinkSettings()
        self._credentials = credentials
        self._authentication: Authentication | None = None
        self._context = shared
        self._is_shared = shared is not None

    def _socket(self, *, listens: bool) -> Socket:
        settings = self._settings
        if self._context is None:
            self._context = Context()
        try:
            socket = Socket(self._context, listens)
        except OSError as error:
            raise LinkError(f"no socket can be made: {error.strerror}") from None
        socket.configure(
            max_packet_bytes=settings.max_packet_bytes,
            receive_queue=256,
            handshake_ms=int(settings.handshake_timeout_s * 1000),
            heartbeat_ms=int(settings.keep_alive_s * 1000 / 4),
            heartbeat_timeout_ms=int(settings.keep_alive_s * 1000 / 2),
            backlog=1024,
        )
        return socket

    def listen(self, endpoint: str, receiver: Watcher) -> tuple[Connection, str]:
        keys = self._credentials
        if keys is None:
            check_loopback(endpoint)
        socket = self._socket(listens=True)
        comings: Comings | None = None
        try:
            if keys is not None:
                self._authenticate(keys)
                socket.secure(keys.public, keys.secret)
            comings = self._watch(socket, receiver)
            real = socket.bind(endpoint)
        except ConfigurationError:
            socket.close()
            raise
        except OSError as error:
            if comings is not None:
                comings.close()
            socket.close()
            if error.errno in _NO_ADDRESS:
                raise ConfigurationError(
                    f"{endpoint!r} is no address to listen on; write tcp://HOST:PORT"
                ) from None
            cause = _CAUSES.get(error.errno or 0, error.strerror)
            raise LinkError(f"cannot listen on {endpoint}: {cause}") from None
        connection = Connection(socket, receiver, dials=False, burst=self._settings.drain_packets)
        connection.barrier = comings
        return connection, real

    def _watch(self, socket: Socket, receiver: Watcher) -> Comings | None:
        return None if self._context is None else Comings(self._context, socket, receiver)

    def _authenticate(self, keys: Credentials) -> None:
        """Answer for callers, before the first can come."""
        if self._authentication is None and self._context is not None:
            self._authentication = Authentication(self._context, keys)

    def dial(self, endpoint: str, receiver: Receiver) -> Connection:
        keys = self._credentials
        server = None if keys is None else keys.server_key(endpoint)
        if keys is not None and server is None:
            raise LinkError("no key is known for it; the broker's allow-list has none")
        barrier = None
        socket = self._socket(listens=False)
        try:
            if keys is not None:
                socket.secure(keys.public, keys.secret, server)
                if self._context is not None:
                    barrier = Barrier(self._context, socket, endpoint, keys)
            socket.connect(endpoint)
        except OSError as error:
            if barrier is not None:
                barrier.close()
            socket.close()
            if error.errno in _NO_ADDRESS:
                raise UsageError(
                    f"{endpoint!r} is no address to dial; write tcp://HOST:PORT"
                ) from None
            raise LinkError(f"cannot dial {endpoint}: {error.strerror}") from None
        connection = Connection(socket, receiver, dials=True, burst=self._settings.drain_packets)
        connection.barrier = barrier
        return connection

    async def close(self) -> None:
        if self._authentication is not None:
            self._authentication.close()
        context, self._context = self._context, None
        if context is not None and not self._is_shared:
            ending = threading.Thread(target=context.close, name="link-close", daemon=True)
            ending.start()
            for _ in range(_LONGEST_CLOSE_MS):
                if not ending.is_alive():
                    return
                await asyncio.sleep(0.001)
