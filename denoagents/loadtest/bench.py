"""Runs benches by name, alone or alternately with a peer, and prints a row for each.

Rules: a worker is a real process; a peer's stretches alternate with ours (A B A B …) in one run, so
that what else happens on the machine meets both; rows say what was counted at the receiver.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from denoagents._native.histogram import Histogram
from denoagents.errors import UsageError, nearest
from denoagents.loadtest.child import Child
from denoagents.loadtest.durable_targets import KeptByTheSystem
from denoagents.loadtest.event_loop import run_fast
from denoagents.loadtest.fleet import Fleet
from denoagents.loadtest.footprint import MB, resident_bytes
from denoagents.loadtest.peer import COMPARED, Peer
from denoagents.loadtest.sample import Row, Sample, compared, row
from denoagents.loadtest.targets import Target
from denoagents.loadtest.workloads import BETWEEN_PROCESSES, DURABLE, IN_PROCESS, Bench
from denoagents.node.node import Node
from denoagents.node.settings import NodeSettings

APP = "denoagents.loadtest.targets"
DURABLE_APP = "denoagents.loadtest.durable_targets"
ROUNDS = 4
"""Stretches that a workload's time is cut into."""
WARM_UP_S = 0.2
IDLE_ACTORS = 50_000
COLD_STARTS_LEAST = 3

ALONE = ("idle_memory", "cold_start")
"""Workloads that start their own processes."""
NAMES = (
    "tell_between_processes",
    "reliable_between_processes",
    "ask_between_processes",
    "ask_between_processes_100",
    "open_loop_1000",
    *DURABLE,
    *IN_PROCESS,
    *ALONE,
    "payload_1KiB",
    "payload_64KiB",
    "payload_1MiB",
)


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """What `denoagents bench` was asked for."""

    names: Sequence[str] = ()
    """Workloads, in this order; all of them if empty."""
    seconds: float = 5.0
    """Of each workload (and of its peer)."""
    peer: str = ""
    as_json: bool = False
    settings: NodeSettings | None = None
    """Of the node in this process; the profile's."""
    flags: Sequence[str] = ("--profile", "open")
    """Configuration flags of the broker and the worker."""


def run(options: BenchOptions) -> int:
    """Run the benches and print their rows; returns 0."""
    for name in options.names:
        if name not in NAMES:
            raise UsageError(f"there is no workload {name!r}.{nearest(name, NAMES)}")
    rows = run_fast(Benches(options).run())
    if options.as_json:
        sys.stdout.write(msgspec.json.encode(rows).decode() + "\n")
    else:
        show(Console(), rows)
    return 0


class Benches:
    """One run of some workloads."""

    def __init__(self, options: BenchOptions) -> None:
        self._options = options
        self._names = options.names or NAMES
        self._console = Console(stderr=True, quiet=options.as_json)
        self._rows: dict[str, Row] = {}

    async def run(self) -> list[Row]:
        """All rows, in the order asked for."""
        with tempfile.TemporaryDirectory(prefix="denoagents-bench-") as name:
            directory = Path(name)
            if any(name in BETWEEN_PROCESSES for name in self._names):
                await self._between_processes(directory)
            if any(name in DURABLE for name in self._names):
                async with fleet_of_one(directory, self._options, DURABLE_APP) as (_, node):
                    for one in self._names:
                        if one in DURABLE:
                            await self._measure(one, Bench(node), None)
            if any(name in IN_PROCESS for name in self._names):
                await self._in_process()
            if "idle_memory" in self._names:
                self._rows["idle_memory"] = await idle_memory(directory, self._options)
            if "cold_start" in self._names:
                self._rows["cold_start"] = await cold_start(directory, self._options)
        return [self._rows[name] for name in self._names]

    async def _between_processes(self, directory: Path) -> None:
        async with fleet_of_one(directory, self._options) as (_, node):
            bench = Bench(node)
            peer = await Peer.start(self._options.peer, directory) if self._options.peer else None
            try:
                for name in self._names:
                    if name in BETWEEN_PROCESSES:
                        await self._measure(name, bench, peer if name in COMPARED else None)
            finally:
                if peer is not None:
                    await peer.end()

    async def _in_process(self) -> None:
        async with Node(settings=self._options.settings) as node:
            for name in self._names:
                if name in IN_PROCESS:
                    await self._measure(name, Bench(node), None)

    async def _measure(self, name: str, bench: Bench, peer: Peer | None) -> None:
        self._console.print(f"{name} …", highlight=False)
        workload = {**BETWEEN_PROCESSES, **DURABLE, **IN_PROCESS}[name]
        rounds = ROUNDS if peer else 1
        stretch_s = self._options.seconds / rounds
        own, theirs = Sample(), Sample()
        await workload(bench, WARM_UP_S)
        if peer is not None:
            await peer.measure(name, WARM_UP_S)
        for _ in range(rounds):
            own.add(await workload(bench, stretch_s))
            if peer is not None:
                theirs.add(await peer.measure(name, stretch_s))
        self._rows[name] = row(name, own)
        if peer is not None:
            self._rows[name] = compared(self._rows[name], peer.name, row(name, theirs))


@contextlib.asynccontextmanager
async def fleet_of_one(
    directory: Path, options: BenchOptions, app: str = APP
) -> AsyncIterator[tuple[Fleet, Node]]:
    """A broker, one worker, and a client node in this process."""
    fleet = Fleet(directory, app, workers=1, flags=options.flags)
    try:
        await fleet.start()
        async with Node(broker=fleet.endpoint, name="bench", settings=options.settings) as node:
            first: type[Any] = Target if app == APP else KeptByTheSystem
            await node.actor(first, "target").add(0)
            yield fleet, node
    finally:
        await fleet.end()


async def cold_start(directory: Path, options: BenchOptions) -> Row:
    """From nothing to the first reply: broker, worker and client start, and one ask is answered."""
    sample, begun = Sample(), time.perf_counter()
    while sample.n < COLD_STARTS_LEAST or time.perf_counter() - begun < options.seconds:
        before = time.perf_counter()
        own = directory / f"start-{sample.n}"
        own.mkdir()
        async with fleet_of_one(own, options):
            took_s = time.perf_counter() - before
        latency = Histogram()
        latency.record(round(took_s * 1e9))
        sample.add(Sample(1, took_s, latency))
    return row("cold_start", sample)


async def idle_memory(directory: Path, options: BenchOptions) -> Row:
    """Bytes of an idle actor, and resident memory of a worker that hosts one."""
    words = ["-m", "denoagents.loadtest.idle_memory", str(IDLE_ACTORS)]
    child = await Child.start("idle-memory", words, directory)
    try:
        told = await child.receive("weight")
    finally:
        await child.end()
    latency = Histogram.from_bytes(base64.b64decode(told["latency"]))
    sample = Sample(IDLE_ACTORS, latency.sum_ns / 1e9, latency)
    sample.figures = {key: float(told[key]) for key in ("bytes_per_actor", "empty_node_mb")}
    async with fleet_of_one(directory, options) as (fleet, _):
        await asyncio.sleep(1)  # idle, and what starting it needed is let go
        resident = {name: resident_bytes(pid) for name, pid in fleet.pids().items()}
    sample.figures["idle_worker_mb"] = resident["worker-1"] / MB
    sample.figures["idle_broker_mb"] = resident["broker"] / MB
    return row("idle_memory", sample)


COMMON = ("workload", "n", "rate_per_s", "p50_us", "p95_us", "p99_us", "max_us")
"""The columns that every row has."""


def show(console: Console, rows: Sequence[Row]) -> None:
    """The rows as a table; below it, what only some rows have."""
    table = Table("workload", *("per second", "p50", "p95", "p99", "max"))
    for column in table.columns[1:]:
        column.justify = "right"
    for one in rows:
        rate, *times = (one[name] for name in COMMON[2:])
        table.add_row(str(one["workload"]), number_text(rate), *map(time_text, times))
    console.print(table)
    for one in rows:
        if text := more_text(one):
            console.print(f"{one['workload']}: {text}", highlight=False)


def more_text(one: Row) -> str:
    """What only some rows have: the peer and the ratios first."""
    others = {name: value for name, value in one.items() if name not in COMMON}
    parts = []
    if peer := others.pop("peer", None):
        parts.append(
            f"{others.pop('rate_ratio')} × the rate and {others.pop('p50_ratio')} × the p50 "
            f"of {peer} ({number_text(others.pop('peer_rate_per_s'))} a second,"
            f" p50 {time_text(others.pop('peer_p50_us'))})"
        )
    return ", ".join([*parts, *(f"{name} {value}" for name, value in others.items())])


def number_text(figure: object) -> str:
    """A number with the digits that matter."""
    assert isinstance(figure, int | float)
    return f"{figure:,.0f}" if figure >= 100 else f"{figure:.2f}"


def time_text(us: object) -> str:
    """Microseconds in the unit that reads best."""
    assert isinstance(us, int | float)
    return f"{us / 1000:,.0f} ms" if us >= 10_000 else f"{us:,.0f} µs" if us >= 10 else f"{us} µs"
