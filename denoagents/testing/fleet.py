"""The fleet of a user's story: broker, workers and clients in one thread, and what befalls them.

Rules: a story is a coroutine function that takes a `SimulatedFleet`; it runs in the process of a
client called `story`, which random faults spare. Times are virtual seconds: `await fleet.sleep(60)`
costs no time at all. Everything random comes from the seed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator, Sequence
from contextlib import contextmanager
from random import Random
from typing import Any, TypeVar

from denoagents.actor.actor import Actor
from denoagents.errors import DenoagentsError, UsageError
from denoagents.node.node import Node
from denoagents.testing.faults import Faults
from denoagents.testing.quiet import unquiet
from denoagents.testing.world import BROKER_HOST, SimulatedNode, World

A = TypeVar("A", bound=Actor)
T = TypeVar("T")
Named = str | SimulatedNode
STORY = "story"
POLL_S = 0.01


class NodeGoneError(DenoagentsError):
    """The simulated process in which something should run has ended."""

    code = "simulated_node_gone"


class SimulatedFleet:
    """What a story sees of its fleet; `simulate` makes it."""

    def __init__(self, world: World, seed: int, story: SimulatedNode) -> None:
        self.seed = seed
        self.chance = Random(f"user's story {seed}")
        """For the story's own choices; seeded."""
        self.world = world
        """What lies below: the scheduler, the network, every process that ever lived."""
        self._story = story
        self._is_disturbed = False

    # --- time ---------------------------------------------------------------------------------

    @property
    def now_s(self) -> float:
        """Virtual seconds since the story began."""
        return self.world.scheduler.elapsed_s

    async def sleep(self, duration_s: float) -> None:
        """Let virtual time pass."""
        await asyncio.sleep(duration_s)

    async def until(self, condition: Callable[[], object], within_s: float = 10.0) -> None:
        """Returns as soon as `condition()` is true; raises `TimeoutError` after `within_s`."""
        end_s = self.now_s + within_s
        while not condition():
            if self.now_s >= end_s:
                raise TimeoutError(f"not true within {within_s:g} virtual seconds: {condition}")
            await asyncio.sleep(POLL_S)

    async def quiet(self, within_s: float = 30.0) -> None:
        """Returns when no message waits or runs and the placement has settled everywhere."""
        end_s = self.now_s + within_s
        while why := next(unquiet(self.world), ""):
            if self.now_s >= end_s:
                raise TimeoutError(f"not quiet after {within_s:g} virtual seconds: {why}")
            await asyncio.sleep(POLL_S)

    # --- who is there -------------------------------------------------------------------------

    @property
    def node(self) -> Node:
        """The story's own client: `fleet.node.ask(...)`, `fleet.node.statistics()`."""
        return self._story.node

    def actor(self, cls: type[A], key: str) -> A:
        """A ref for the story; `tell` and `options` work with it as anywhere."""
        return self.node.actor(cls, key)

    async def start(
        self, *serve: type[Actor], workers: int = 1, prefix: str = "w"
    ) -> list[SimulatedNode]:
        """Start workers that host these actor types, called w0, w1, …; returns when all joined."""
        used = {one.name for one in self.world.nodes}
        names = (name for number in range(10**6) if (name := f"{prefix}{number}") not in used)
        started = [self.world.start(next(names), serve) for _ in range(workers)]
        for one in started:
            await self._joined(one)
        return started

    async def client(self, name: str) -> SimulatedNode:
        """Start one more client; `run` runs code in it."""
        one = self.world.start(name)
        await self._joined(one)
        return one

    async def run(self, where: Named, work: Callable[[Node], Coroutine[Any, Any, T]]) -> T:
        """Await `work(node)` in another process; raises `NodeGoneError` when that ends first."""
        one, loop = self._find(where), asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()

        def settle(result: T | None, error: BaseException | None) -> None:
            if not done.done():
                done.set_exception(error) if error is not None else done.set_result(result)  # type: ignore[arg-type]

        async def carry() -> None:
            try:
                result = await work(one.node)
            except BaseException as error:
                loop.call_soon(settle, None, error)
            else:
                loop.call_soon(settle, result, None)

        one.process.start(carry())
        while not done.done():
            if not one.process.is_alive:
                raise NodeGoneError(f"{one} has ended: {one.end}")
            await asyncio.wait([done], timeout=POLL_S)
        return done.result()

    def workers(self) -> list[SimulatedNode]:
        """The living workers."""
        return self.world.workers()

    def owner_of(self, cls: type[Actor], key: str) -> str:
        """The name of the worker where an actor lives now, or ""."""
        address = getattr(self.actor(cls, key), "address", "")
        for one in self.world.workers():
            if one.process.is_alive and str(address) in one.node.runtime.cells:
                return one.name
        return ""

    # --- what befalls processes ---------------------------------------------------------------

    def kill(self, name: Named) -> None:
        """SIGKILL. Its parent starts another in its place within half a second, as `up` does."""
        self.world.kill(self._find(name))

    def lose(self, name: Named) -> None:
        """The whole machine is gone: not even its connections end."""
        self.world.lose(self._find(name))

    def leave(self, name: Named) -> None:
        """SIGTERM: the node drains, hands over and goes; nobody takes its place."""
        self.world.leave(self._find(name))

    def freeze(self, name: Named, for_s: float | None = None) -> None:
        """SIGSTOP, for `for_s` or until `go_on`."""
        self._stop(self._find(name), "freeze", for_s)

    def block(self, name: Named, for_s: float | None = None) -> None:
        """Its loop hangs, its heartbeat goes on; for `for_s` or until `go_on`."""
        self._stop(self._find(name), "block", for_s)

    def go_on(self, name: Named) -> None:
        """SIGCONT."""
        one = self._find(name)
        self.world.tell(f"{one} goes on")
        one.process.go_on()

    def kill_broker(self) -> None:
        """SIGKILL; what its store has outlives it."""
        self.world.kill_broker()

    def start_broker(self) -> None:
        """A new broker process, if there is none."""
        if not self.world.has_broker:
            self.world.start_broker()

    def restart_broker(self, after_s: float = 0.5) -> None:
        """Kill the broker; another one starts `after_s` later."""
        self.kill_broker()
        self.world.scheduler.at(after_s, self.start_broker)

    @property
    def is_supervised(self) -> bool:
        """Whether nodes that were killed or lost begin anew; True unless a story says otherwise."""
        return self.world.is_supervised

    @is_supervised.setter
    def is_supervised(self, value: bool) -> None:
        self.world.is_supervised = value

    # --- what befalls the network -------------------------------------------------------------

    def cut(self, one: Named | None = None, other: Named | None = None) -> int:
        """End connections now (all, those of one, those between two); they are made anew."""
        hosts = [None if name is None else self._host(name) for name in (one, other)]
        count = self.world.network.cut(*hosts)
        self.world.tell(f"{count} connections are cut")
        return count

    @contextmanager
    def partition(
        self, *some: Named, from_: Sequence[Named] | None = None, one_way: bool = False
    ) -> Generator[None]:
        """While the block runs, `some` (and "broker") do not reach the others, or `from_`."""
        ours = [self._host(name) for name in some]
        everyone = [BROKER_HOST, *(one.process.host for one in self.world.living())]
        theirs = everyone if from_ is None else [self._host(name) for name in from_]
        pairs = [(one, other) for one in ours for other in theirs if other not in ours]
        if not one_way:
            pairs += [(other, one) for one, other in pairs]
        self.world.tell(f"{ours} are cut off")
        self.world.network.blocked.update(pairs)
        try:
            yield
        finally:
            self.world.tell(f"{ours} are back")
            self.world.network.heal(pairs)

    def disturb_network(
        self,
        *,
        loss: float = 0.0,
        duplicates: float = 0.0,
        reordering: float = 0.0,
        damage: float = 0.0,
        delay_s: tuple[float, float] | None = None,
    ) -> None:
        """From now on: shares of packets (0 to 1) to which that happens; delays between two."""
        network = self.world.network
        for share in (loss, duplicates, reordering, damage):
            if not 0 <= share <= 1:
                raise UsageError(f"a share is between 0 and 1, got {share}")
        network.loss_share, network.repeat_share = loss, duplicates
        network.reorder_share, network.damage_share = reordering, damage
        if delay_s is not None:
            network.shortest_s, network.longest_s = delay_s

    def slow_down(self, one: Named, other: Named, factor: float) -> None:
        """What `one` sends to `other` takes `factor` times as long; 1 heals."""
        self.world.network.slowness[self._host(one), self._host(other)] = factor

    def heal(self) -> None:
        """The network is whole again: no partition, no slowness, no loss."""
        network = self.world.network
        network.heal()
        network.slowness.clear()
        self.disturb_network()

    @contextmanager
    def chaos(
        self, *serve: type[Actor], only: Sequence[str] = (), gentle: bool = False
    ) -> Generator[None]:
        """While the block runs, faults drawn from the seed befall all but the story's client.

        `serve` is what new workers host; `only` names kinds (`faults.KINDS`, `faults.HARSH`);
        `gentle` faults never give the fleet a reason to declare anybody over.
        """
        faults = Faults(self.world, serve, self.seed, is_gentle=gentle, only=only)
        self._is_disturbed = True

        def disturb() -> None:
            if self._is_disturbed:
                self.world.scheduler.at(faults.disturb(), disturb)

        self.world.scheduler.at(0.0, disturb)
        try:
            yield
        finally:
            self._is_disturbed = False
            faults.end()

    # --- inside -------------------------------------------------------------------------------

    def _find(self, name: Named) -> SimulatedNode:
        return self.world.find(name) if isinstance(name, str) else name

    def _host(self, name: Named) -> str:
        return BROKER_HOST if name == BROKER_HOST else self._find(name).process.host

    def _stop(self, one: SimulatedNode, how: str, for_s: float | None) -> None:
        self.world.tell(f"{one}: {how}")
        getattr(one.process, how)()
        if for_s is not None:
            self.world.scheduler.at(for_s, one.process.go_on)

    async def _joined(self, one: SimulatedNode) -> None:
        await self.until(lambda: one.is_usable or one.end, 30.0)
        if one.end:
            deed = next(
                (what for _, what in reversed(self.world.happened) if repr(one) in what), ""
            )
            raise NodeGoneError(f"{one} did not join: {deed}")
