"""The mesh: every session of one node, dialed and accepted.

Rules: all calls on the loop that `start` ran on. A link that is over is forgotten here. Closing
says goodbye; a process that is killed says nothing, and its peers learn of it from the cluster.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from random import Random

from denoagents._native.clock import Clock
from denoagents.envelope import PacketKind
from denoagents.errors import EvictedError
from denoagents.link.acceptance import Acceptance
from denoagents.link.credentials import Credentials
from denoagents.link.dialing import Dialing
from denoagents.link.handshake import Identity, Peer
from denoagents.link.link import Link, MeshEvents, Surroundings
from denoagents.link.settings import LinkSettings
from denoagents.link.statistics import MeshStatistics
from denoagents.link.transport import Transport

_LONGEST_TICK_S = 1.0


class Mesh:
    """Dials, accepts and keeps the links of one node."""

    def __init__(
        self,
        *,
        identity: Identity,
        events: MeshEvents,
        transport: Transport,
        clock: Clock,
        settings: LinkSettings | None = None,
        chance: Random | None = None,
        credentials: Credentials | None = None,
    ) -> None:
        self._around = Surroundings(identity, events, clock, settings or LinkSettings())
        self._around.credentials = credentials
        self._transport = transport
        self._chance = chance or Random()
        self._acceptance = Acceptance(self._around)
        self._dialed: dict[Link, Dialing] = {}
        self._sessions = 0
        self._tick_s = min(_LONGEST_TICK_S, self._around.settings.keep_alive_s / 20)
        self._ticker: asyncio.TimerHandle | None = None
        self._is_closing = False
        self.endpoint: str | None = None
        """Where this node listens."""

    def __repr__(self) -> str:
        accepted = len(self._acceptance.links)
        where = self.endpoint or "dials only"
        return f"<Mesh {where}, {len(self._dialed)} dialed, {accepted} accepted>"

    @property
    def placement_version(self) -> int:
        """Stamped on every packet that leaves."""
        return self._around.placement_version

    @placement_version.setter
    def placement_version(self, version: int) -> None:
        self._around.placement_version = version

    @property
    def links(self) -> Iterator[Link]:
        """All links that are not over."""
        yield from tuple(self._dialed)
        yield from self._acceptance.links

    def statistics(self) -> MeshStatistics:
        return MeshStatistics(
            links=tuple(link.statistics() for link in self.links),
            junk_packets=self._acceptance.junk_packets,
            stray_packets=self._acceptance.stray_packets,
            refused_hellos=self._acceptance.refused_hellos,
            unlisted_packets=self._acceptance.unlisted_packets,
            crowded_out=self._acceptance.flood.crowded_out,
            cut_off=self._acceptance.flood.cut_off,
        )

    def strangers(self) -> dict[str, int]:
        """What came that was not let in, counted."""
        told = self._acceptance
        return {
            "junk": told.junk_packets,
            "stray": told.stray_packets,
            "refused_hellos": told.refused_hellos,
            "unlisted": told.unlisted_packets,
            "crowded_out": told.flood.crowded_out,
            "cut_off": told.flood.cut_off,
        }

    async def start(self, bind: str | None) -> str | None:
        """Listen at `bind` (None: dial only); returns the endpoint with the real port.

        Raises: `LinkError` when the port is in use, `ConfigurationError` when `bind` is no address.
        """
        if bind is not None:
            self.endpoint = self._acceptance.listen(self._transport, bind)
        self._tick()
        return self.endpoint

    def dial(self, endpoint: str, *, name: str = "", incarnation: int = 0) -> Link:
        """A new link to `endpoint`; it connects, and connects again, until it is over.

        With `incarnation`, the link is over as soon as another one answers.

        Raises: `UsageError` when `endpoint` is no address.
        """
        dialing = Dialing(
            self._around, self._transport, endpoint, incarnation, self._chance, self._forget
        )
        dialing.own_endpoint = self.endpoint or ""
        self._sessions += 1
        peer = Peer(name=name, incarnation=incarnation, endpoint=endpoint)
        link = Link(self._around, dialing, peer, dialed=True, number=self._sessions)
        self._dialed[link] = dialing
        try:
            dialing.begin(link)
        except BaseException:
            self._forget(link)
            raise
        return link

    def end(self, link: Link, reason: str) -> None:
        """The session is over, now; the peer gets nothing more."""
        dialing = self._dialed.get(link)
        if dialing is not None:
            dialing.cut()
        link.finish(reason)

    def refuse(self, incarnation: int, reason: str) -> None:
        """From now on `incarnation` is told `reason` and nothing else; its sessions end."""
        self._acceptance.refuse(incarnation, reason)
        for link in tuple(self._dialed):
            if link.peer.incarnation == incarnation:
                link.finish(reason, EvictedError(reason))

    def check_keys(self) -> None:
        """The allow-list has changed: sessions of keys that are not on it any more end."""
        self._acceptance.check_keys()
        for dialing in tuple(self._dialed.values()):
            dialing.check_key()

    def send_datagram(self, route: bytes, packet: bytes) -> None:
        """Answer a heartbeat; lost if its connection is."""
        self._acceptance.send_datagram(route, packet)

    async def close(self, linger_s: float = 1.0) -> None:
        """Give what is retained up to `linger_s` to be accepted, say goodbye, close everything."""
        if self._is_closing:
            return
        self._is_closing = True
        waiting = [link.when_accepted() for link in self.links if link.state == "up"]
        if waiting:
            await asyncio.wait(waiting, timeout=linger_s)
        if self._ticker is not None:
            self._ticker.cancel()
        self._around.debts.close()
        for link in self.links:
            link.say(PacketKind.GOODBYE)
            link.finish("closed")
        self._acceptance.close(linger_ms=int(min(linger_s, 0.2) * 1000))
        await self._transport.close()

    def _forget(self, link: Link) -> None:
        self._dialed.pop(link, None)

    def _tick(self) -> None:
        self._ticker = asyncio.get_running_loop().call_later(self._tick_s, self._tick)
        for dialing in tuple(self._dialed.values()):
            dialing.tick(self._tick_s)
        self._acceptance.tick(self._tick_s)
