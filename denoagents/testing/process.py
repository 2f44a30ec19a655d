"""A simulated process: its loops, clock and host in the network; it can be killed or frozen."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Literal

from denoagents.testing.network import MemoryTransport, Network
from denoagents.testing.scheduler import ProcessLoop, Scheduler

Health = Literal["running", "blocked", "frozen", "dead"]


class SimulatedProcess:
    """One life of one process on a host of its own; `thread` is the loop of its heartbeat."""

    def __init__(self, scheduler: Scheduler, network: Network, host: str, label: str = "") -> None:
        self.host, self.label = host, label or host
        self._network = network
        clock = scheduler.clock()
        self.clock = clock.native
        # What a simulated process does not need, its loop does not have.
        self.loop = ProcessLoop(scheduler, self.label, clock)  # type: ignore[abstract]
        self.thread = ProcessLoop(  # type: ignore[abstract]
            scheduler, f"{self.label} heartbeat", clock
        )
        self.health: Health = "running"

    @property
    def transport(self) -> MemoryTransport:
        """The network as this process sees it."""
        return self._network.transport(self.host)

    @property
    def is_alive(self) -> bool:
        """Neither killed nor ended; a frozen one is."""
        return self.health != "dead"

    def start(self, coroutine: Coroutine[Any, Any, object]) -> None:
        """Run `coroutine` as a task of the main loop."""
        self.call(lambda: self.loop.create_task(coroutine))

    def call(self, action: Callable[[], object]) -> None:
        """Do something in the main loop, as soon as it runs."""
        self.loop.call_soon(action, context=self.loop.context)

    def freeze(self) -> None:
        """No thread of the process gets any time (SIGSTOP)."""
        if self.is_alive:
            self.health = "frozen"
            self.loop.stop_running()
            self.thread.stop_running()

    def block(self) -> None:
        """The main loop is held by something; the heartbeat goes on."""
        if self.health == "running":
            self.health = "blocked"
            self.loop.stop_running()

    def go_on(self) -> None:
        """Run again (SIGCONT)."""
        if self.is_alive:
            self.health = "running"
            self.loop.go_on()
            self.thread.go_on()

    def kill(self) -> None:
        """End at once, without a word (SIGKILL); the kernel closes its connections."""
        if self.is_alive:
            self._end()
            self._network.kill(self.host)

    def lose(self) -> None:
        """The machine is gone: not even its connections end."""
        if self.is_alive:
            self._end()
            self._network.lose(self.host)

    def _end(self) -> None:
        self.health = "dead"
        self.loop.is_dead = self.thread.is_dead = True

    def __repr__(self) -> str:
        return f"<SimulatedProcess {self.label} {self.health}>"
