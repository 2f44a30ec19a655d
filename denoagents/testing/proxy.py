"""A TCP proxy on this machine that delays, throttles, slices, holds, damages and cuts what passes.

Rules: loopback to loopback only. Every property can be changed while connections are up, for one
direction or for both. A black hole holds what comes (as TCP would send it again later) and lets go
of it when the hole is closed; what one direction holds is bounded, then its sender is not read.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import struct
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Literal, Self

from denoagents.errors import UsageError

Direction = Literal["to_target", "from_target", "both"]
HELD_BYTES = 4 * 1024 * 1024
"""What one direction of one connection keeps under way."""
CHUNK_BYTES = 64 * 1024
GREETING_BYTES = 1000
"""Bytes at the start of a direction that are never damaged: the handshake of ZeroMQ."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """What happens to bytes in one direction."""

    latency_s: float = 0.0
    jitter_s: float = 0.0
    """Added to the latency, between 0 and this; order is kept."""
    rate_bytes_per_s: float = 0.0
    """0: as fast as it goes."""
    slice_bytes: int = 0
    """Pieces of at most so many bytes, each sent alone; 0: as they come."""
    damage_share: float = 0.0
    """The share of chunks in which one bit is flipped."""
    is_black_hole: bool = False

    def __post_init__(self) -> None:
        if min(self.latency_s, self.jitter_s, self.rate_bytes_per_s, self.slice_bytes) < 0:
            raise UsageError("conditions are not negative")
        if not 0 <= self.damage_share <= 1:
            raise UsageError("damage_share is a share: 0 to 1")


GOOD = Conditions()


class FaultProxy:
    """Listens on a port of its own and passes bytes to and from `port`; an async context manager.

    >>> async def slow_down(port: int) -> None:
    ...     async with FaultProxy(port, seed=1) as proxy:
    ...         proxy.set("both", latency_s=0.05, jitter_s=0.02)
    """

    def __init__(self, port: int, *, host: str = "127.0.0.1", seed: int = 0) -> None:
        if not is_loopback(host):
            raise UsageError(f"a fault proxy stays on this machine; {host!r} is another one")
        self.target = (host, port)
        self.port = 0
        self.resets = 0
        self.accepted = 0
        self.damaged = 0
        self.passed_bytes = 0
        self._seed = seed
        self._chance = Random(seed)
        self._conditions: dict[str, Conditions] = {"to_target": GOOD, "from_target": GOOD}
        self._flows: set[Flow] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        await self.listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def endpoint(self) -> str:
        """Where it listens, as denoagents writes addresses."""
        return f"tcp://127.0.0.1:{self.port}"

    @property
    def connections(self) -> int:
        """How many pass through it now."""
        return len({flow.pair for flow in self._flows})

    # --- what a test does -------------------------------------------------------------------------

    def set(self, direction: Direction = "both", **changes: Any) -> None:
        """Change conditions; what is not named stays as it is."""
        for one in directions(direction):
            self._conditions[one] = replace(self._conditions[one], **changes)
        self._wake()

    def heal(self) -> None:
        """All bytes pass at once again, in both directions; what was held leaves first."""
        self._conditions = {"to_target": GOOD, "from_target": GOOD}
        self._wake()

    def black_hole(self, direction: Direction = "both") -> None:
        """Nothing arrives and nothing is closed, until `heal`."""
        self.set(direction, is_black_hole=True)

    def reset(self, share: float = 1.0) -> int:
        """End connections by RST on both sides; what is under way is lost. Returns how many."""
        pairs = {flow.pair: flow for flow in self._flows}
        chosen = [pair for pair in sorted(pairs) if self._chance.random() < share]
        for flow in tuple(self._flows):
            if flow.pair in chosen:
                flow.abort()
        self.resets += len(chosen)
        return len(chosen)

    def reset_one(self) -> bool:
        """The same for one connection, drawn at random; False when there is none."""
        pairs = sorted({flow.pair for flow in self._flows})
        if not pairs:
            return False
        chosen = self._chance.choice(pairs)
        for flow in tuple(self._flows):
            if flow.pair == chosen:
                flow.abort()
        self.resets += 1
        return True

    def half_close(self, direction: Direction) -> int:
        """One direction of each connection ends properly (FIN), the other goes on."""
        closed = 0
        for flow in tuple(self._flows):
            if flow.direction in directions(direction):
                flow.finish()
                closed += 1
        return closed

    def refuse(self) -> None:
        """Nobody listens here any more: new connections are refused, the others stay."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def listen(self) -> None:
        """Listen (again, at the same port)."""
        if self._server is None:
            self._server = await asyncio.start_server(
                self._accept, "127.0.0.1", self.port, reuse_address=True
            )
            self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """End everything."""
        self.refuse()
        for flow in tuple(self._flows):
            flow.abort()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- connections ------------------------------------------------------------------------------

    def _wake(self) -> None:
        for flow in self._flows:
            flow.conditions = self._conditions[flow.direction]
            flow.changed.set()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._connect(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        pair = self.accepted
        try:
            back_reader, back_writer = await asyncio.open_connection(*self.target)
        except OSError:
            writer.transport.abort()
            return
        to_target = Flow(self, pair, "to_target", reader, back_writer)
        from_target = Flow(self, pair, "from_target", back_reader, writer)
        flows = {to_target, from_target}
        self._flows |= flows
        for flow in flows:
            flow.conditions = self._conditions[flow.direction]
        try:
            await asyncio.gather(*(flow.run() for flow in flows))
        finally:
            self._flows -= flows
            for flow in flows:
                flow.abort()

    def flow_chance(self, pair: int, direction: str) -> Random:
        """The chance of one direction of one connection: the same for the same seed."""
        return Random(f"{self._seed} {pair} {direction}")


class Flow:
    """One direction of one connection: what was read waits here until it is due."""

    def __init__(
        self,
        proxy: FaultProxy,
        pair: int,
        direction: Literal["to_target", "from_target"],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.pair, self.direction = pair, direction
        self.conditions = GOOD
        self.changed = asyncio.Event()
        self._proxy, self._reader, self._writer = proxy, reader, writer
        self._chance = proxy.flow_chance(pair, direction)
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._waiting_bytes = self._read_bytes = 0
        self._last_due_s = self._free_at_s = 0.0
        self._is_ended = self._is_cut = False

    def abort(self) -> None:
        """Cut, now, by RST."""
        self._is_cut = True
        self.changed.set()
        raw = self._writer.get_extra_info("socket")
        if raw is not None and raw.fileno() >= 0:
            with contextlib.suppress(OSError):
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    def finish(self) -> None:
        """What was read still passes, then this direction ends."""
        self._is_ended = True
        self.changed.set()

    async def run(self) -> None:
        """Pass bytes until the direction has ended or was cut."""
        reading = asyncio.get_running_loop().create_task(self._read())
        try:
            with contextlib.suppress(ConnectionError, OSError):
                await self._write()
        finally:
            reading.cancel()
            await asyncio.wait([reading])

    async def _read(self) -> None:
        with contextlib.suppress(ConnectionError, OSError):
            while not self._is_ended and (chunk := await self._reader.read(CHUNK_BYTES)):
                self._keep(self._damaged(chunk))
                while self._waiting_bytes > HELD_BYTES:
                    await self._until_changed()
            self.finish()
            return
        self.abort()  # the other side cut it: so do we

    def _keep(self, chunk: bytes) -> None:
        conditions = self.conditions
        delay_s = conditions.latency_s + conditions.jitter_s * self._chance.random()
        self._last_due_s = max(self._last_due_s, time.monotonic() + delay_s)
        self._waiting.append((self._last_due_s, chunk))
        self._waiting_bytes += len(chunk)
        self.changed.set()

    def _damaged(self, chunk: bytes) -> bytes:
        self._read_bytes += len(chunk)
        share = self.conditions.damage_share
        if self._read_bytes <= GREETING_BYTES or self._chance.random() >= share:
            return chunk
        self._proxy.damaged += 1
        at = self._chance.randrange(len(chunk))
        return chunk[:at] + bytes([chunk[at] ^ 1 << self._chance.randrange(8)]) + chunk[at + 1 :]

    async def _write(self) -> None:
        while not self._is_cut:
            if not self._waiting or self.conditions.is_black_hole:
                if self._is_ended and not self._waiting:
                    self._writer.write_eof()
                    return
                await self._until_changed()
                continue
            due_s, chunk = self._waiting[0]
            left_s = due_s - time.monotonic()
            if left_s > 0 and self.conditions is not GOOD:
                await self._until_changed(left_s)
                continue
            self._waiting.popleft()
            await self._pass(chunk)
            self._waiting_bytes -= len(chunk)
            self.changed.set()

    async def _pass(self, chunk: bytes) -> None:
        for part in sliced(chunk, self.conditions.slice_bytes):
            rate = self.conditions.rate_bytes_per_s
            if rate:
                self._free_at_s = max(self._free_at_s, time.monotonic()) + len(part) / rate
                await asyncio.sleep(self._free_at_s - time.monotonic())
            elif self.conditions.slice_bytes:
                await asyncio.sleep(0)
            self._writer.write(part)
            await self._writer.drain()
            self._proxy.passed_bytes += len(part)

    async def _until_changed(self, at_most_s: float | None = None) -> None:
        self.changed.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(at_most_s):
                await self.changed.wait()


def sliced(chunk: bytes, size: int) -> Iterator[bytes]:
    """The chunk in pieces of at most `size` bytes; 0: whole.

    >>> list(sliced(b"abcde", 2))
    [b'ab', b'cd', b'e']
    """
    step = size or len(chunk)
    return (chunk[at : at + step] for at in range(0, len(chunk), step))


def directions(direction: Direction) -> tuple[str, ...]:
    """The one, or both."""
    if direction == "both":
        return ("to_target", "from_target")
    if direction in {"to_target", "from_target"}:
        return (direction,)
    raise UsageError(f"no direction {direction!r}: to_target, from_target or both")


def is_loopback(host: str) -> bool:
    """Whether a host name or address can only be this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
