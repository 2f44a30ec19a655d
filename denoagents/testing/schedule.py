"""Kills and freezes of real processes: planned from a seed, bounded, by process id.

Rules: only processes that were given are touched, and only as long as their id means the same
process. A schedule has a fixed number of deeds; whoever was frozen is woken at the latest when the
schedule ends. What was planned and what was done are counted apart: a run with less is no proof.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Literal

import psutil

from denoagents.errors import UsageError

Kind = Literal["kill", "freeze"]


@dataclass(frozen=True, slots=True)
class Deed:
    """One planned fault."""

    at_s: float
    """After the schedule's begin."""
    kind: Kind
    draw: float
    """0 <= draw < 1: which of the processes that are there by then."""
    lasts_s: float = 0.0
    """Of a freeze."""


@dataclass(frozen=True, slots=True)
class Done:
    """One fault as it was made."""

    deed: Deed
    name: str
    pid: int
    at_ns: int
    """Of the monotonic clock."""


def plan_kills(seed: int, count: int, every_s: float, jitter_s: float = 0.0) -> tuple[Deed, ...]:
    """`count` kills, one every `every_s`, give or take `jitter_s`."""
    chance = Random(f"kills {seed}")
    return tuple(
        Deed(max(0.0, every_s * n + chance.uniform(-jitter_s, jitter_s)), "kill", chance.random())
        for n in range(1, count + 1)
    )


def plan_freezes(
    seed: int, count: int, pause_s: float, lasts_s: tuple[float, float]
) -> tuple[Deed, ...]:
    """`count` freezes whose lengths are drawn log-uniformly; `pause_s` of quiet after each."""
    chance = Random(f"freezes {seed}")
    least, most = lasts_s
    at_s, deeds = pause_s, []
    for _ in range(count):
        length_s = least * (most / least) ** chance.random()
        deeds.append(Deed(at_s, "freeze", chance.random(), length_s))
        at_s += length_s + pause_s
    return tuple(deeds)


@dataclass(slots=True)
class Schedule:
    """Carries out deeds on the processes that it was given."""

    deeds: tuple[Deed, ...]
    on_deed: Callable[[Done], None] = lambda _: None
    """Called just after a deed; of a freeze when it begins."""
    on_woken: Callable[[Done], None] = lambda _: None
    done: list[Done] = field(default_factory=list)
    _given: dict[str, psutil.Process] = field(default_factory=dict)
    _frozen: dict[int, psutil.Process] = field(default_factory=dict)

    def give(self, name: str, pid: int) -> None:
        """From now on this process may be hurt; one given before under the name no more."""
        if pid in {0, 1, os.getpid(), os.getppid()}:
            raise UsageError(f"process {pid} is not for a schedule to kill")
        self._given[name] = psutil.Process(pid)

    def take_back(self, name: str) -> None:
        """From now on this process is left alone."""
        self._given.pop(name, None)

    @property
    def planned(self) -> int:
        """How many deeds there are in all."""
        return len(self.deeds)

    @property
    def executed(self) -> int:
        """How many were done."""
        return len(self.done)

    async def run(self) -> list[Done]:
        """Do all of them, each at its time; returns what was done."""
        begin = time.monotonic()
        try:
            for deed in self.deeds:
                await asyncio.sleep(max(0.0, begin + deed.at_s - time.monotonic()))
                await self._carry_out(deed)
        finally:
            self.wake_all()
        return self.done

    async def _carry_out(self, deed: Deed) -> None:
        there = {name: one for name, one in sorted(self._given.items()) if is_there(one)}
        if not there:
            return
        name = list(there)[int(deed.draw * len(there))]
        victim = there[name]
        if deed.kind == "freeze":
            self._frozen[victim.pid] = victim
        number = signal.SIGKILL if deed.kind == "kill" else signal.SIGSTOP
        try:
            victim.send_signal(number)  # checks that the id still means this process
        except psutil.NoSuchProcess:
            return
        done = Done(deed, name, victim.pid, time.monotonic_ns())
        self.done.append(done)
        if deed.kind == "kill":
            self.take_back(name)
        self.on_deed(done)
        if deed.kind == "freeze":
            await asyncio.sleep(deed.lasts_s)
            self._wake(victim)
            self.on_woken(done)

    def wake_all(self) -> None:
        """Whoever is frozen goes on."""
        for one in tuple(self._frozen.values()):
            self._wake(one)

    def _wake(self, one: psutil.Process) -> None:
        self._frozen.pop(one.pid, None)
        with contextlib.suppress(psutil.NoSuchProcess):
            one.send_signal(signal.SIGCONT)


def is_there(process: psutil.Process) -> bool:
    """Alive, and not just waiting to be reaped."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def count_by_kind(deeds: Iterable[Deed]) -> dict[str, int]:
    """How many of each kind."""
    counts: dict[str, int] = {}
    for deed in deeds:
        counts[deed.kind] = counts.get(deed.kind, 0) + 1
    return counts
