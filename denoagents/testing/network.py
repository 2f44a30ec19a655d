"""A network in memory, with a seed: it delays, cuts, blocks and damages as real ones do.

Rules: a connection keeps order, as TCP does, unless `reorder_share`, `repeat_share` or `loss_share`
say otherwise, and may end at any moment; then a prefix of what was under way still arrives, the
rest is gone, and nobody says how much. A blocked direction holds back
what is sent, as a network that loses every packet does, until it is healed or the connection is
given up. A host that is lost says nothing any more, not even that its connections have ended.
Each end hears everything on the loop that opened it. Everything random comes from the seed, in the
order of the calls; use it under a virtual loop, or under the scheduler of many.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable, Iterable
from random import Random
from typing import Literal

from denoagents._native.packet import Packet, decode, encode
from denoagents.errors import LinkError, UsageError
from denoagents.link.transport import Receiver


class _Flow:
    """One direction of one connection."""

    def __init__(self, pipe: _Pipe, source: _Wire, target: _Wire) -> None:
        self.source, self.target = source.host, target.host
        self.under_way: deque[tuple[float, bytes]] = deque()
        self.is_ending = False
        self.has_ended = False
        self._pipe = pipe
        self._end = target
        self._last_due_s = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def push(self, frame: bytes) -> None:
        if self.is_ending:
            return
        network = self._pipe.network
        if network.loss_share and network.chance.random() < network.loss_share:
            network.frames_lost += 1
            return
        frame = network.perhaps_damaged(frame)
        due_s = self._end.loop.time() + network.delay_s(self.source, self.target)
        if network.reorder_share and network.chance.random() < network.reorder_share:
            network.frames_reordered += 1
        else:
            due_s = self._last_due_s = max(self._last_due_s, due_s)
        self._put(due_s, frame)
        if network.repeat_share and network.chance.random() < network.repeat_share:
            network.frames_repeated += 1
            self._put(due_s + network.chance.choice([0.0, network.some_delay_s()]), frame)
        self.schedule()

    def _put(self, due_s: float, frame: bytes) -> None:
        """Into its place: what overtakes others, or comes late, does not stand at the end."""
        waiting = self.under_way
        later = []
        while waiting and waiting[-1][0] > due_s:
            later.append(waiting.pop())
        waiting.append((due_s, frame))
        waiting.extend(reversed(later))
        if later and self._timer is not None and due_s < self._timer.when():
            self._timer.cancel()
            self._timer = None

    def end(self, *, lose: bool) -> None:
        """Nothing more comes; with `lose`, only a prefix of what is under way still does."""
        if self.is_ending:
            return
        self.is_ending = True
        if lose:
            network = self._pipe.network
            keep = network.chance.randint(0, len(self.under_way))
            network.frames_lost += len(self.under_way) - keep
            while len(self.under_way) > keep:
                self.under_way.pop()
        self.schedule()

    def schedule(self) -> None:
        if self._timer is None:
            loop = self._end.loop
            due_s = self.under_way[0][0] if self.under_way else self._last_due_s
            self._timer = loop.call_at(
                max(due_s, loop.time()), self._deliver, context=self._end.context
            )

    def _deliver(self) -> None:
        self._timer = None
        network = self._pipe.network
        if network.holds_back(self.source, self.target):
            return
        now_s = self._end.loop.time()
        frames = []
        while self.under_way and self.under_way[0][0] <= now_s:
            frames.append(self.under_way.popleft()[1])
        if frames:
            network.frames_delivered += len(frames)
            if network.on_frame is not None:
                for frame in frames:
                    network.on_frame(self.source, self.target, frame)
            self._pipe.give(self._end.receiver, frames, to_dialer=self is self._pipe.to_dialer)
        if self.under_way:
            self.schedule()
        elif self.is_ending and not self.has_ended:
            self.has_ended = True
            self._pipe.ended(to_dialer=self is self._pipe.to_dialer)


class _Pipe:
    """One connection."""

    def __init__(
        self, network: Network, dialer: _Dialed, listener: _Listening, route: bytes
    ) -> None:
        self.network, self.dialer, self.listener, self.route = network, dialer, listener, route
        self.to_listener = _Flow(self, dialer, listener)
        self.to_dialer = _Flow(self, listener, dialer)

    @property
    def flows(self) -> tuple[_Flow, _Flow]:
        return self.to_listener, self.to_dialer

    def cut(self) -> None:
        for flow in self.flows:
            flow.end(lose=True)

    def give(self, receiver: Receiver, frames: list[bytes], *, to_dialer: bool) -> None:
        route = None if to_dialer else self.route
        packets: list[Packet] = [decode(frame, route, strict=False) for frame in frames]
        end = self.dialer if to_dialer else self.listener
        if not end.is_closed:
            receiver.received(packets)

    def ended(self, *, to_dialer: bool) -> None:
        """One end has seen the end."""
        if to_dialer and self.dialer.pipe is self:
            self.dialer.pipe = None
            if not self.dialer.is_closed:
                self.dialer.receiver.lost()
        elif not to_dialer:
            self.listener.pipes.pop(self.route, None)
        if all(flow.has_ended for flow in self.flows):
            self.network.forget(self)


class _Wire:
    """What both kinds of wires have."""

    def __init__(self, network: Network, host: str, receiver: Receiver) -> None:
        self.network, self.host, self.receiver = network, host, receiver
        self.is_closed = False
        self.loop = asyncio.get_running_loop()
        self.context = contextvars.copy_context()

    def flow(self, route: bytes | None) -> _Flow | None:
        raise NotImplementedError

    def send(  # noqa: PLR0913, PLR0917 - the header's fields
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
    ) -> bool:
        return self.send_datagram(
            route,
            encode(kind, flags, seq, ack, now_ns, placement_version, count, raw_length, body),
        )

    def send_datagram(self, route: bytes | None, packet: bytes) -> bool:
        flow = self.flow(route)
        if flow is None or self.is_closed:
            return False
        if flow.is_ending and self.network.chance.random() < 0.5:
            return False  # an end is sometimes known before the last packets were read
        flow.push(packet)
        return True

    def watch(self) -> None:
        """Nothing is ever missed here."""


class _Dialed(_Wire):
    """A dialed connection."""

    pipe: _Pipe | None = None

    def flow(self, route: bytes | None) -> _Flow | None:  # noqa: ARG002 - there is one way only
        return self.pipe.to_listener if self.pipe is not None else None

    def connect(self, endpoint: str) -> None:
        listener = self.network.listening.get(endpoint)
        if self.is_closed or listener is None:
            return
        if self.network.is_blocked(self.host, listener.host):
            return
        self.pipe = self.network.join(self, listener)
        self.receiver.connected()

    def close(self, linger_ms: int = 0) -> None:
        if not self.is_closed:
            self.is_closed = True
            if self.pipe is not None:
                self.pipe.to_listener.end(lose=linger_ms == 0)
                self.pipe.to_dialer.end(lose=True)


class _Listening(_Wire):
    """The listening end of many connections."""

    def __init__(self, network: Network, host: str, receiver: Receiver, endpoint: str) -> None:
        super().__init__(network, host, receiver)
        self.endpoint = endpoint
        self.pipes: dict[bytes, _Pipe] = {}

    def flow(self, route: bytes | None) -> _Flow | None:
        pipe = self.pipes.get(route or b"")
        return pipe.to_dialer if pipe is not None else None

    def close(self, linger_ms: int = 0) -> None:
        if not self.is_closed:
            self.is_closed = True
            self.network.listening.pop(self.endpoint, None)
            for pipe in list(self.pipes.values()):
                pipe.to_dialer.end(lose=linger_ms == 0)
                pipe.to_listener.end(lose=True)


class MemoryTransport:
    """The network as one host sees it."""

    def __init__(self, network: Network, host: str) -> None:
        self._network, self._host = network, host

    def listen(self, endpoint: str, receiver: Receiver) -> tuple[_Listening, str]:
        return self._network.listen(self._host, endpoint, receiver)

    def dial(self, endpoint: str, receiver: Receiver) -> _Dialed:
        return self._network.dial(self._host, endpoint, receiver)

    async def close(self) -> None:
        """All wires were closed before."""


class Network:
    """Hosts, the connections between them, and what goes wrong."""

    def __init__(
        self, seed: int = 0, *, shortest_s: float = 0.0001, longest_s: float = 0.002
    ) -> None:
        self.chance = Random(seed)
        self.shortest_s, self.longest_s = shortest_s, longest_s
        self.damage_share = 0.0
        """The share of packets in which one bit is flipped."""
        self.loss_share = 0.0
        """The share of packets that vanish although their connection stands; TCP has none."""
        self.blocked: set[tuple[str, str]] = set()
        """(from, to) host: what is held back."""
        self.lost: set[str] = set()
        """Hosts that are gone without a word."""
        self.slowness: dict[tuple[str, str], float] = {}
        """(from, to) host: by what the delay is multiplied."""
        self.repeat_share = 0.0
        """The share of packets that come twice, at once or later; TCP has none."""
        self.reorder_share = 0.0
        """The share of packets that may overtake those before them; TCP has none."""
        self.on_frame: Callable[[str, str, bytes], None] | None = None
        """Called with (from, to, packet) when a packet arrives."""
        self.listening: dict[str, _Listening] = {}
        self.cuts = self.frames_lost = self.frames_damaged = self.frames_delivered = 0
        self.frames_repeated = self.frames_reordered = 0
        self._pipes: dict[_Pipe, None] = {}
        self._ports = 0
        self._routes = 0

    def transport(self, host: str) -> MemoryTransport:
        """What a mesh on `host` is given."""
        return MemoryTransport(self, host)

    # --- what goes wrong ------------------------------------------------------------------

    def cut(self, one: str | None = None, other: str | None = None) -> int:
        """End the connections (of `one`, between `one` and `other`); returns how many."""
        wanted = {host for host in (one, other) if host is not None}
        ended = [pipe for pipe in self._pipes if wanted <= {pipe.dialer.host, pipe.listener.host}]
        for pipe in ended:
            pipe.cut()
        self.cuts += len(ended)
        return len(ended)

    def cut_one(self) -> bool:
        """End one connection, whichever; False if there is none."""
        pipes = [pipe for pipe in self._pipes if not pipe.to_dialer.is_ending]
        if pipes:
            self.chance.choice(pipes).cut()
            self.cuts += 1
        return bool(pipes)

    def block(self, source: str, target: str) -> None:
        """Hold back what `source` sends to `target`, without a word to either."""
        self.blocked.add((source, target))

    def heal(self, pairs: Iterable[tuple[str, str]] | None = None) -> None:
        """Let everything through again, or what goes (from, to) these hosts."""
        if pairs is None:
            self.blocked.clear()
        else:
            self.blocked.difference_update(pairs)
        for pipe in list(self._pipes):
            for flow in pipe.flows:
                if flow.under_way or flow.is_ending:
                    flow.schedule()

    def kill(self, host: str) -> None:
        """The process on `host` is gone: its wires end, and nobody there hears of it."""
        for listener in list(self.listening.values()):
            if listener.host == host:
                listener.close()
        for pipe in list(self._pipes):
            if pipe.dialer.host == host:
                pipe.dialer.close()

    def lose(self, host: str) -> None:
        """The whole machine is gone: its wires neither carry nor end any more."""
        self.lost.add(host)

    # --- for hosts and wires --------------------------------------------------------------

    def probe(self, host: str, endpoint: str) -> Literal["open", "refused", "silent"]:
        """What a connection from `host` to `endpoint` meets at the moment."""
        listener = self.listening.get(endpoint)
        other = listener.host if listener is not None else host_of(endpoint)
        if self.is_blocked(host, other):
            return "silent"
        return "refused" if listener is None else "open"

    def holds_back(self, source: str, target: str) -> bool:
        return (source, target) in self.blocked or source in self.lost or target in self.lost

    def delay_s(self, source: str, target: str) -> float:
        return self.some_delay_s() * self.slowness.get((source, target), 1.0)

    def some_delay_s(self) -> float:
        return self.chance.uniform(self.shortest_s, self.longest_s)

    def perhaps_damaged(self, frame: bytes) -> bytes:
        if self.damage_share and self.chance.random() < self.damage_share:
            self.frames_damaged += 1
            at = self.chance.randrange(len(frame))
            flipped = frame[at] ^ (1 << self.chance.randrange(8))
            return frame[:at] + bytes([flipped]) + frame[at + 1 :]
        return frame

    def is_blocked(self, one: str, other: str) -> bool:
        return self.holds_back(one, other) or self.holds_back(other, one)

    def listen(self, host: str, endpoint: str, receiver: Receiver) -> tuple[_Listening, str]:
        place, _, port = endpoint.rpartition(":")
        if not place.startswith("tcp://"):
            raise UsageError(f"{endpoint!r} is no address to listen on; write tcp://HOST:PORT")
        if port in {"0", "*"}:
            self._ports += 1
            endpoint = f"{place}:{40000 + self._ports}"
        if endpoint in self.listening:
            raise LinkError(f"cannot listen on {endpoint}: the port is in use")
        wire = self.listening[endpoint] = _Listening(self, host, receiver, endpoint)
        return wire, endpoint

    def dial(self, host: str, endpoint: str, receiver: Receiver) -> _Dialed:
        if not endpoint.startswith("tcp://"):
            raise UsageError(f"{endpoint!r} is no address to dial; write tcp://HOST:PORT")
        wire = _Dialed(self, host, receiver)
        asyncio.get_running_loop().call_later(self.some_delay_s(), wire.connect, endpoint)
        return wire

    def join(self, dialer: _Dialed, listener: _Listening) -> _Pipe:
        self._routes += 1
        pipe = _Pipe(self, dialer, listener, b"\0" + self._routes.to_bytes(4, "big"))
        listener.pipes[pipe.route] = pipe
        self._pipes[pipe] = None
        return pipe

    def forget(self, pipe: _Pipe) -> None:
        self._pipes.pop(pipe, None)


def host_of(endpoint: str) -> str:
    """The host that an endpoint names."""
    return endpoint.removeprefix("tcp://").rpartition(":")[0]
