"""A run of a real fleet under load and faults, with histories, a control stretch and a verdict."""

from __future__ import annotations

import asyncio
import functools
import os
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import SystemRandom
from typing import Any, Self

from real_fleet import RealFleet, load, until

import denoagents
from denoagents import DenoagentsError, Node, options, tell
from denoagents.testing.checker import Bars, Verdict, check
from denoagents.testing.history import History, Promise
from denoagents.testing.proxy import FaultProxy
from denoagents.testing.schedule import Done, Schedule

APP = Path(__file__).parent / "process" / "apps" / "recorded.py"
FULL = os.environ.get("DENOAGENTS_FULL", "") not in {"", "0"}
TICK_S = 0.005
MOST_AT_ONCE = 400
"""Messages of one tick at most: a late loop catches up in steps."""
app = load(APP)


def draw_seed() -> int:
    """Of this run: given by DENOAGENTS_SEED, else another one each time."""
    return int(os.environ.get("DENOAGENTS_SEED") or SystemRandom().randrange(2**31))


@dataclass(slots=True)
class Target:
    """One actor that is sent to, and how."""

    actor: str
    promise: Promise
    is_ask: bool
    method: Any


@dataclass(slots=True)
class Stretch:
    """What was offered in some seconds, and what came back in them."""

    wanted: int = 0
    sent: int = 0
    seconds: float = 0.0
    ended: int = 0

    @property
    def rate(self) -> float:
        return self.sent / self.seconds if self.seconds else 0.0


@dataclass(slots=True)
class Voice:
    """A client that sends to its targets in turn, at a rate, and writes down how each ends."""

    name: str
    history: History
    targets: Sequence[Target]
    open: set[asyncio.Task[Any]] = field(default_factory=set)
    ended: int = 0
    _next: int = 0

    def send_next(self) -> None:
        target = self.targets[self._next % len(self.targets)]
        self._next += 1
        number = self.history.next_number(self.name, target.actor)
        self.history.invoke(self.name, target.actor, number, target.promise, is_ask=target.is_ask)
        task = asyncio.create_task(self._send(target, number))
        self.open.add(task)
        task.add_done_callback(self._over)

    async def _send(self, target: Target, number: int) -> None:
        sending = (
            target.method(self.name, number)
            if target.is_ask
            else tell(target.method, self.name, number)
        )
        await self.history.watch(self.name, target.actor, number, sending)

    def _over(self, task: asyncio.Task[Any]) -> None:
        self.open.discard(task)
        self.ended += 1
        if not task.cancelled():
            task.result()

    async def drive(self, rate_per_s: float, seconds: float) -> Stretch:
        """Send at a steady rate for so long."""
        stretch = Stretch(wanted=round(rate_per_s * seconds))
        begun, ended = time.monotonic(), self.ended
        while (passed := time.monotonic() - begun) < seconds:
            due = round(rate_per_s * passed) - stretch.sent
            for _ in range(min(due, MOST_AT_ONCE)):
                self.send_next()
                stretch.sent += 1
            await asyncio.sleep(TICK_S if due < MOST_AT_ONCE else 0)
        stretch.seconds, stretch.ended = time.monotonic() - begun, self.ended - ended
        return stretch

    async def settle(self, seconds: float = 20.0) -> None:
        """Wait until everything sent has its ending."""
        await until(lambda: not self.open, seconds)


class FaultRun:
    """One run: fleet, histories, faults, verdict."""

    def __init__(self, folder: Path, seed: int, flags: Sequence[str] = (), app: Path = APP) -> None:
        self.seed, self.histories = seed, folder / "histories"
        os.environ["DENOAGENTS_HISTORIES"] = str(self.histories)
        try:
            self.history = History(self.histories, "client")
            self.fleet = RealFleet(folder, app=app, flags=flags)
        except BaseException:
            self.end()
            raise
        self.started = 0
        self.figures: dict[str, object] = {"seed": seed}

    def end(self) -> None:
        os.environ.pop("DENOAGENTS_HISTORIES", None)
        if hasattr(self, "history"):
            self.history.close()
        if hasattr(self, "fleet"):
            self.fleet.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    # --- workers --------------------------------------------------------------------------------

    def start_workers(self, count: int) -> None:
        self.fleet.start(*[self._next_name() for _ in range(count)])

    def replace(self) -> Any:
        """Begin one more worker, without waiting for it."""
        return self.fleet.begin(self._next_name())

    def _next_name(self) -> str:
        self.started += 1
        return f"w{self.started}"

    async def start_behind_proxies(self, count: int) -> list[FaultProxy]:
        """Workers that everybody reaches by way of a fault proxy, worker to worker too."""
        proxies = []
        for number in range(count):
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            proxy = FaultProxy(port, seed=self.seed + number)
            await proxy.listen()
            proxies.append(proxy)
            bind, advertise = f"tcp://127.0.0.1:{port}", proxy.endpoint
            child = self.fleet.begin(self._next_name(), "--bind", bind, "--advertise", advertise)
            await until(lambda child=child: child.told("joined"), 20)
        return proxies

    def kills(self, deeds: Any, after: Callable[[Done], None] | None = None) -> Schedule:
        """A schedule that kills workers of this fleet, buries them, and replaces them."""

        def bury(done: Done) -> None:
            self.fleet.workers.pop(done.name).process.wait()
            self.history.fault("kill", done.name)
            self.history.over(done.pid, done.at_ns)
            schedule.give((child := self.replace()).name, child.pid)
            if after is not None:
                after(done)

        schedule = Schedule(deeds, on_deed=bury)
        for name, child in self.fleet.workers.items():
            schedule.give(name, child.pid)
        self.history.plan("kill", len(deeds), self.seed)
        return schedule

    # --- targets --------------------------------------------------------------------------------

    def targets(
        self, client: Node, plain: int, reliable: int = 0, durable: int = 0
    ) -> list[Target]:
        """So many actors of each promise; every other one of plain and reliable is told."""
        found = []
        kinds = (
            ("plain", app.Plain, plain),
            ("reliable", app.Reliable, reliable),
            ("durable", app.Durable, durable),
        )
        for kind, cls, count in kinds:
            promise: Promise = kind if hasattr(denoagents, kind) else "plain"
            for n in range(count):
                ref = options(client.actor(cls, f"{n}"), timeout_s=15)
                is_ask = n % 2 == 0
                is_slow = cls is app.Plain and n % 10 == 0
                method = ref.take_a_while if is_slow else ref.take
                found.append(Target(f"{cls.__name__}/{n}", promise, is_ask, method))
        return found

    def slow_targets(self, client: Node, count: int, seconds: float) -> list[Target]:
        """Actors whose turns take that long."""
        found = []
        for n in range(count):
            ref = options(client.actor(app.Plain, f"slow{n}"), timeout_s=30)
            method = functools.partial(take_slowly, ref, seconds)
            found.append(Target(f"Plain/slow{n}", "plain", True, method))
        return found

    async def barrier(self, client: Node, targets: Sequence[Target]) -> None:
        """Returns when all told before has been handled: an ask to each comes after it."""

        async def pass_one(target: Target) -> None:
            type_name, _, key = target.actor.partition("/")
            ref = client.actor(getattr(app, type_name), key)
            if target.promise == "durable":
                for voice, runs in (await options(ref, timeout_s=20).taken()).items():
                    self.history.read(voice, target.actor, runs)
            else:
                await options(ref, timeout_s=20).where()

        await asyncio.gather(*map(pass_one, targets))

    # --- the verdict ----------------------------------------------------------------------------

    def verdict(self, bars: Bars | None = None) -> Verdict:
        """Close the history and judge the folder."""
        self.history.close()
        return check(self.histories, bars)

    def show(self, title: str, verdict: Verdict | None = None) -> None:
        """Print the figures, so that a failing run can be told apart and replayed."""
        facts = ", ".join(f"{name} {value}" for name, value in self.figures.items())
        print(f"\n{title}: {facts}")
        if verdict is not None:
            print(verdict)


async def take_slowly(ref: Any, seconds: float, voice: str, number: int) -> Any:
    return await ref.take_slowly(voice, number, seconds)


async def calibrate(voice: Voice, rate_per_s: float, seconds: float = 2.0) -> tuple[float, float]:
    """The control: what this machine carries of a rate now, without faults; best of two tries.

    Returns the rate reached, and the share of it that was answered within the stretch.
    """
    best = (0.0, 0.0)
    for _ in range(2):
        stretch = await voice.drive(rate_per_s, seconds)
        await voice.settle()
        best = max(best, (stretch.rate, stretch.ended / max(1, stretch.sent)))
        if best[0] > 0.95 * rate_per_s:
            break
    return best


async def books(client: Node) -> list[str]:
    """What does not add up in anybody's accounting."""
    try:
        rows = (await client.control("status"))["nodes"]
    except DenoagentsError as error:
        return [repr(error)]
    return [
        f"{row['name']}: {row['statistics']['accounting']}"
        for row in rows
        if row.get("statistics") and row["statistics"]["accounting"]["off"]
    ]
