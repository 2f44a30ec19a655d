"""Nodes that do nothing but use links, for tests of the mesh over memory and over ZeroMQ."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from random import Random

from denoagents._native.clock import Clock
from denoagents.link import Identity, Link, LinkSettings, Mesh
from denoagents.link.transport import Transport
from denoagents.testing.loop import run_virtually
from denoagents.testing.network import Network


@dataclass
class LinkNode:
    """Events of one mesh, recorded; `echo` sends every batch back."""

    name: str
    echo: bool = False
    rests: bool = True
    ups: list[tuple[str, bool]] = field(default_factory=list)
    overs: list[tuple[str, str, int]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    accepted_count: int = 0
    drains: int = 0
    datagrams: list[tuple[bytes, bytes]] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    stamps: list[tuple[int, int]] = field(default_factory=list)
    mesh: Mesh = field(init=False)

    def link_up(self, link: Link, is_new: bool) -> None:
        self.ups.append((link.peer.name, is_new))
        if link not in self.links:
            self.links.append(link)

    def batch(self, link, body, count, sender_now_ns, placement_version) -> None:
        self.bodies.append(bytes(body))
        self.stamps.append((sender_now_ns, placement_version))
        if self.echo:
            link.send(bytes(body), count)

    def accepted(self, link: Link, count: int) -> None:
        self.accepted_count += count

    def drained(self) -> None:
        self.drains += 1

    def link_over(self, link: Link, reason: str, unaccepted: int) -> None:
        self.overs.append((link.peer.name, reason, unaccepted))

    def datagram(self, route: bytes, packet: bytes) -> None:
        self.datagrams.append((route, packet))

    def may_rest(self, link: Link) -> bool:
        return self.rests

    def open(
        self,
        transport: Transport,
        clock: Clock,
        *,
        incarnation: int = 0,
        cluster: str = "default",
        settings: LinkSettings | None = None,
    ) -> Mesh:
        identity = Identity(self.name, "worker", incarnation or sum(map(ord, self.name)), cluster)
        self.mesh = Mesh(
            identity=identity,
            events=self,
            transport=transport,
            clock=clock,
            settings=settings,
            chance=Random(self.name),
        )
        return self.mesh


async def until(condition, limit_s: float = 10.0) -> None:
    """Wait for what must become true."""
    loop = asyncio.get_running_loop()
    end_s = loop.time() + limit_s
    while not condition():
        if loop.time() > end_s:
            raise AssertionError(f"not true within {limit_s} s")
        await asyncio.sleep(0.002)


class Pair:
    """`caller` dials `owner`."""

    def __init__(self, clock, seed, **settings):
        self.clock = clock
        self.network = Network(seed)
        self.owner, self.caller = LinkNode("owner"), LinkNode("caller")
        for node in (self.owner, self.caller):
            node.open(self.network.transport(node.name), clock, settings=LinkSettings(**settings))

    async def start(self, **dial):
        self.endpoint = await self.owner.mesh.start("tcp://owner:0")
        await self.caller.mesh.start(None)
        self.link = self.caller.mesh.dial(self.endpoint, **dial)
        return self.link

    async def stand(self, **dial):
        link = await self.start(**dial)
        await until(lambda: self.caller.ups and self.owner.ups)
        return link

    @property
    def accepted_link(self):
        return self.owner.links[-1]

    async def close(self):
        await self.caller.mesh.close()
        await self.owner.mesh.close()


def with_pair(scenario, seed=1, **settings):
    """Run `scenario(pair)` in virtual time."""

    async def main(clock):
        pair = Pair(clock, seed, **settings)
        try:
            await scenario(pair)
        finally:
            await pair.close()

    run_virtually(main)
