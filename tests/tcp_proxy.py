"""A small TCP proxy that resets, stalls and damages the connections that pass through it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from random import Random
from typing import Self


class TcpProxy:
    """Listens on a port of its own and passes bytes to and from `port`."""

    def __init__(self, port: int, seed: int = 0) -> None:
        self.target = port
        self.port = 0
        self.chance = Random(seed)
        self.damage_share = 0.0
        """The share of chunks in which one bit is flipped, once the greetings are over."""
        self.resets = 0
        self.damaged = 0
        self.passed_bytes = 0
        self._passing = asyncio.Event()
        self._passing.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *error: object) -> None:
        self._server.close()
        self._passing.set()
        self.reset()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def endpoint(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    def reset(self) -> int:
        """End all connections by RST, both sides; what is under way is lost. Returns how many."""
        for writer in self._writers:
            raw = writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        ended = len(self._writers) // 2
        self.resets += ended
        self._writers.clear()
        return ended

    def stall(self) -> None:
        """Pass nothing on, and close nothing: a network that loses everything."""
        self._passing.clear()

    def go_on(self) -> None:
        self._passing.set()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._connect(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        both = {writer, back}
        self._writers |= both
        try:
            await asyncio.gather(self._pump(reader, back), self._pump(there, writer))
        finally:
            self._writers -= both
            for one in both:
                one.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        passed = 0
        with contextlib.suppress(ConnectionError, OSError):
            while chunk := await reader.read(65536):
                await self._passing.wait()
                passed += len(chunk)
                if passed > 1000 and self.chance.random() < self.damage_share:
                    chunk = self._flip(chunk)
                self.passed_bytes += len(chunk)
                writer.write(chunk)
                await writer.drain()
        writer.transport.abort()

    def _flip(self, chunk: bytes) -> bytes:
        self.damaged += 1
        at = self.chance.randrange(len(chunk))
        return chunk[:at] + bytes([chunk[at] ^ 1 << self.chance.randrange(8)]) + chunk[at + 1 :]
