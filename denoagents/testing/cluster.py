"""A real fleet inside one test: broker, workers and a client in this process, on loopback TCP.

Rules: everything runs on the test's own event loop, with real sockets and real time; it starts in
a fraction of a second. For deaths, partitions and hours of virtual time there is `simulate`.
"""

from __future__ import annotations

import asyncio
from typing import TypeVar

from denoagents.actor.actor import Actor
from denoagents.actor.settings import Strategy
from denoagents.broker.broker import Broker
from denoagents.errors import UsageError
from denoagents.node.node import Node
from denoagents.node.settings import NodeSettings

A = TypeVar("A", bound=Actor)
POLL_S = 0.005


class Cluster:
    """Broker, workers and one client; `start` makes them, `close` ends them."""

    def __init__(self, settings: NodeSettings | None = None) -> None:
        self.settings = settings or NodeSettings()
        self.nodes: dict[str, Node] = {}
        """Every node that runs, by name."""
        self._broker: Broker | None = None
        self._client: Node | None = None
        self._numbers = 0

    async def start(self, *serve: type[Actor], workers: int = 1) -> list[Node]:
        """Start workers that host these actor types; returns when they have joined."""
        names = [f"w{self._numbers + number}" for number in range(workers)]
        self._numbers += workers
        await self.client()
        return list(await asyncio.gather(*(self._start(name, serve) for name in names)))

    async def client(self, name: str = "client") -> Node:
        """The client called `name`, started if there is none."""
        if name not in self.nodes:
            if self._broker is None:
                settings = self.settings
                self._broker = Broker(
                    bind="tcp://127.0.0.1:0",
                    cluster=settings.cluster_name,
                    settings=settings.cluster,
                    link_settings=settings.link,
                )
                await self._broker.start()
            await self._start(name, ())
        return self.nodes[name]

    async def _start(self, name: str, serve: tuple[type[Actor], ...]) -> Node:
        assert self._broker is not None
        node = Node(broker=self._broker.endpoint, name=name, serve=serve, settings=self.settings)
        await node.start()
        self.nodes[name] = node
        return node

    @property
    def endpoint(self) -> str:
        """Where the broker listens; "" before `start`."""
        return "" if self._broker is None else self._broker.endpoint

    @property
    def node(self) -> Node:
        """The client, for `ask`, `tell`, `stream`, `control` and `statistics`."""
        if "client" not in self.nodes:
            raise UsageError("this cluster has not started; first `await cluster.start(YourActor)`")
        return self.nodes["client"]

    def actor(self, cls: type[A], key: str) -> A:
        """A ref of the client."""
        return self.node.actor(cls, key)

    def pool(self, cls: type[A], name: str = "default", *, strategy: Strategy = "round_robin") -> A:
        """A ref of the client to a pool."""
        return self.node.pool(cls, name, strategy=strategy)

    async def stop(self, name: str, *, drain: bool = True) -> None:
        """End a node: with `drain` it hands its actors over, without it they end with it."""
        await self.nodes.pop(name).close(drain)

    async def close(self, settle_s: float = 2.0) -> list[str]:
        """End everything; what was not settled within `settle_s`, in words."""
        loop = asyncio.get_running_loop()
        end_s, found = loop.time() + settle_s, self.unsettled()
        while found and loop.time() < end_s:
            await asyncio.sleep(POLL_S)
            found = self.unsettled()
        clients_last = sorted(self.nodes.values(), key=lambda node: node.role == "client")
        for node in clients_last:
            await node.close(drain=False)
        self.nodes.clear()
        if self._broker is not None:
            await self._broker.close(linger_s=0.1)
            self._broker = None
        return found

    def unsettled(self) -> list[str]:
        """Messages that wait, run or are under way, by node and actor."""
        found = []
        for name, node in self.nodes.items():
            for cell in node.runtime.cells.values():
                waiting, is_running = cell.waiting, cell.turn is not None
                if (waiting or is_running) and "/~" not in cell.address:
                    running = ", one runs" if is_running else ""
                    found.append(f"{cell.address} on {name}: {waiting} messages wait{running}")
            if node.router.parked:
                found.append(f"{name}: {node.router.parked} messages have no place to go")
            if node.runtime.books.retained and not found:
                found.append(f"{name}: {node.runtime.books.retained} messages are under way")
        return found
