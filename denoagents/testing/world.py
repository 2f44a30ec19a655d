"""A whole fleet in one thread: real brokers, workers and clients as simulated processes.

Rules: each node is a process with its own loop, clock and host. A parent watches over each worker,
as `denoagents up` does: a process that ends without being asked begins anew under the same name,
unless `is_supervised` says otherwise. The broker's store outlives the broker.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from denoagents.actor.actor import Actor
from denoagents.broker.broker import Broker
from denoagents.cluster.settings import ClusterSettings
from denoagents.errors import DenoagentsError, UsageError
from denoagents.node.node import Node
from denoagents.node.settings import NodeSettings
from denoagents.store.lease_store import LeaseStore, MemoryLeaseStore
from denoagents.testing.network import Network
from denoagents.testing.process import SimulatedProcess
from denoagents.testing.pulse import SimulatedPulse
from denoagents.testing.scheduler import Scheduler
from denoagents.testing.simulated_store import SimulatedDisk, SimulatedStore

BROKER_HOST = "broker"
BROKER = "tcp://broker:7400"

End = Literal["", "killed", "lost", "blocked", "evicted", "left", "cut short", "refused"]


@dataclass(eq=False)
class SimulatedNode:
    """One life of one node."""

    name: str
    node: Node
    process: SimulatedProcess
    pulse: SimulatedPulse
    born_ns: int
    serve: tuple[type[Actor], ...] = ()
    end: End = ""
    """Why it is over; "" while it lives."""
    ended_ns: int = 0
    is_leaving: bool = False
    is_spared: bool = False
    """Faults that are drawn at random do not choose it."""

    @property
    def incarnation(self) -> int:
        return self.node.incarnation

    @property
    def is_worker(self) -> bool:
        return bool(self.serve)

    @property
    def is_usable(self) -> bool:
        """It runs, and nobody has taken anything from it."""
        return not self.end and self.process.is_alive and self.node.state == "running"

    def __repr__(self) -> str:
        return self.process.label


class World:
    """Processes on a simulated network; starts, kills, freezes them."""

    def __init__(
        self,
        seed: int,
        *,
        settings: NodeSettings | None = None,
        store: LeaseStore | None = None,
        disk: SimulatedDisk | None = None,
    ) -> None:
        """`disk` is where the workers keep their durable actors."""
        self.scheduler = Scheduler(seed)
        self.network = Network(seed)
        self.chance = Random(f"fleet {seed}")
        self.settings = settings or NodeSettings()
        self.store = store or MemoryLeaseStore()
        self.disk = disk
        self.nodes: list[SimulatedNode] = []
        """Every node that ever lived, in order of birth."""
        self.broker: Broker | None = None
        self.broker_process: SimulatedProcess | None = None
        self.is_supervised = True
        self.happened: list[tuple[float, str]] = []
        """What was done to the fleet, and when (virtual seconds)."""
        self.on_start: Callable[[SimulatedNode], None] | None = None
        """Called with each new node, before it joins."""
        self._lives: dict[str, int] = {}
        self._incarnations = Random(f"incarnations {seed}")

    @property
    def times(self) -> ClusterSettings:
        """The fleet's heartbeat and lease times."""
        return self.settings.cluster

    def tell(self, what: str) -> None:
        """Note that something was done."""
        self.happened.append((self.scheduler.elapsed_s, what))

    def run_for(self, duration_s: float) -> None:
        """Let time pass."""
        self.scheduler.run_for(duration_s)

    # --- the broker -----------------------------------------------------------------------------

    @property
    def has_broker(self) -> bool:
        """A broker process is there, frozen or not."""
        return self.broker_process is not None and self.broker_process.is_alive

    def start_broker(self) -> None:
        """A new broker process, with what the store has."""
        process = self._process(BROKER_HOST, host=BROKER_HOST)
        broker = Broker(
            bind=BROKER,
            settings=self.times,
            link_settings=self.settings.link,
            store=self.store,
            clock=process.clock,
            transport=process.transport,
            incarnation=self._incarnation(),
        )
        self.broker, self.broker_process = broker, process
        self.tell(f"{process.label} starts")
        process.start(broker.start())

    def kill_broker(self) -> None:
        """SIGKILL; its host answers connections with a refusal."""
        if self.broker_process is not None:
            self.tell(f"{self.broker_process.label} is killed")
            self.broker_process.kill()

    # --- nodes ----------------------------------------------------------------------------------

    def start(self, name: str, serve: Sequence[type[Actor]] = ()) -> SimulatedNode:
        """A new process: a worker if it serves actor types, else a client."""
        process = self._process(name)
        pulse = SimulatedPulse(
            process.thread, self.network, process.host, self.times, lambda: self._blocked(one)
        )
        with process.loop.entered():
            node = Node(
                broker=BROKER,
                name=name,
                serve=serve,
                bind=f"tcp://{process.host}:0",
                settings=self.settings,
                clock=process.clock,
                transport=process.transport,
                pulse=pulse,
                incarnation=self._incarnation(),
                store=self._state_store(process) if serve else None,
            )
        one = SimulatedNode(name, node, process, pulse, self.scheduler.now_ns, tuple(serve))
        self.nodes.append(one)
        self.tell(f"{one} starts")
        if self.on_start is not None:
            self.on_start(one)
        process.start(self._live(one))
        return one

    async def _live(self, one: SimulatedNode) -> None:
        try:
            await one.node.start()
        except DenoagentsError as error:
            self.tell(f"{one} could not start: {error}")
            self._over(one, "refused")
            return
        reason = await one.node.wait_ended()
        if reason.startswith("evicted"):
            self.tell(f"{one} hears that it is {reason}")
            # It hangs about for a while, so that one can see what it still does.
            self.scheduler.at(self.chance.uniform(0.0, 3.0), lambda: self._over(one, "evicted"))
            self._note_end(one, "evicted")
        elif reason == "drained" and not one.is_leaving:
            one.is_leaving = True
            await self._leave(one)

    def leave(self, one: SimulatedNode) -> None:
        """Let a node end as it does on SIGTERM: drain, say goodbye."""
        if not one.is_leaving:
            one.is_leaving = True
            self.tell(f"{one} begins to leave")
            one.process.start(self._leave(one))

    async def _leave(self, one: SimulatedNode) -> None:
        is_done = await one.node.close()
        self.tell(f"{one} has left{'' if is_done else ', and could not hand everything over'}")
        self._over(one, "left" if is_done else "cut short")

    def kill(self, one: SimulatedNode) -> None:
        """SIGKILL."""
        self.tell(f"{one} is killed")
        self._over(one, "killed")

    def lose(self, one: SimulatedNode) -> None:
        """Its machine is gone: peers hear nothing, not even the end of connections."""
        self.tell(f"{one} is lost")
        self._note_end(one, "lost")
        one.process.lose()
        self._begin_anew(one)

    def find(self, name: str) -> SimulatedNode:
        """The newest life of a node, by name."""
        found = [one for one in self.nodes if one.name == name]
        if not found:
            known = ", ".join(dict.fromkeys(one.name for one in self.nodes))
            raise UsageError(f"no node is called {name!r}; there are {known or 'none'}")
        return found[-1]

    def lose_power(self) -> None:
        """The machine of all workers goes dark: what their disk had not synchronized is lost."""
        self.tell("the workers' machine loses its power")
        for one in [one for one in self.nodes if one.is_worker and one.process.is_alive]:
            self._over(one, "killed")
        if self.disk is not None:
            self.disk.lose_power()

    def _blocked(self, one: SimulatedNode) -> None:
        self.tell(f"{one} ends itself: its loop is blocked")
        self._over(one, "blocked")

    def _over(self, one: SimulatedNode, end: End) -> None:
        """The process ends; its parent starts another in its place."""
        self._note_end(one, end)
        if one.process.is_alive:
            one.process.kill()
            self._begin_anew(one)

    def _note_end(self, one: SimulatedNode, end: End) -> None:
        if not one.end:
            one.end, one.ended_ns = end, self.scheduler.now_ns

    def _begin_anew(self, one: SimulatedNode) -> None:
        if self.is_supervised and one.end not in {"left", "cut short"}:
            self.scheduler.at(
                self.chance.uniform(0.05, 0.5),
                lambda: self.start(one.name, one.serve) if self.is_supervised else None,
            )

    # --- looking --------------------------------------------------------------------------------

    def living(self) -> list[SimulatedNode]:
        """Nodes that count: neither over nor evicted."""
        return [one for one in self.nodes if not one.end and one.process.is_alive]

    def workers(self) -> list[SimulatedNode]:
        """Living workers."""
        return [one for one in self.living() if one.is_worker]

    def clients(self) -> list[SimulatedNode]:
        """Living clients."""
        return [one for one in self.living() if not one.is_worker]

    # --- inside -----------------------------------------------------------------------------------

    def _process(self, name: str, host: str = "") -> SimulatedProcess:
        life = self._lives[name] = self._lives.get(name, 0) + 1
        label = f"{name}.{life}"
        return SimulatedProcess(self.scheduler, self.network, host or label, label)

    def _state_store(self, process: SimulatedProcess) -> SimulatedStore | None:
        if self.disk is None:
            return None
        return SimulatedStore(self.disk, self.scheduler.at, lambda: process.is_alive)

    def _incarnation(self) -> int:
        return self._incarnations.getrandbits(62) + 1
