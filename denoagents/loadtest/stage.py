"""The stages of a demo before it measures: a fleet, an index, the truth."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from denoagents._native.clock import Clock
from denoagents.actor.reference import options
from denoagents.loadtest.child import Child, ChildEndedError
from denoagents.loadtest.corpus import LIBRARIANS, Corpus, open_corpus
from denoagents.loadtest.display import Progress
from denoagents.loadtest.fleet import Fleet
from denoagents.loadtest.library import Librarian, Stock
from denoagents.loadtest.questions import Population
from denoagents.loadtest.truth import read_truth
from denoagents.node.node import Node

APP = "denoagents.loadtest.library"
INDEX_LIMIT_S = 60.0


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What `denoagents demo` was asked for."""

    seconds: float = 20.0
    """How long to measure, once the index stands."""
    kill: bool = True
    overload: bool = False
    """Show row 2.11 of the plan instead: one client, twice the bucket's rate."""
    plant_wrong: bool = False
    """Make one librarian answer wrongly, to see it counted."""
    as_json: bool = False
    seed: int = 1
    chats: int = 50
    clients: int = 4
    rate_per_s: float = 250.0
    """Of each client."""
    workers: int = 2
    flags: Sequence[str] = ()
    """Configuration flags for broker and workers."""
    truth: Path | None = None
    """Where the truth is kept from one run to the next; found anew each time if None."""


@dataclass(slots=True)
class Stage:
    """What the stages of one run share."""

    options: DemoOptions
    directory: Path
    progress: Progress
    fleet: Fleet
    node: Node
    corpus: Corpus
    truth_file: Path
    truth_process: Child | None
    stocks: dict[str, Stock] = field(default_factory=dict)
    index_s: float = 0.0
    clock: Clock = field(default_factory=Clock)


@contextlib.asynccontextmanager
async def staged(asked: DemoOptions, progress: Progress) -> AsyncIterator[Stage]:
    """Start the fleet and the search for the truth; end every process in any case."""
    with tempfile.TemporaryDirectory(prefix="denoagents-demo-") as name:
        directory = Path(name)
        fleet = Fleet(directory, APP, asked.workers, asked.flags)
        truth_file = asked.truth or directory / "truth.msgpack"
        truth_process: Child | None = None
        try:
            if not truth_file.exists():
                words = ["-m", "denoagents.loadtest.truth", str(truth_file)]
                truth_process = await Child.start("truth", words, directory)
            await fleet.start()
            progress.stage(f"broker and {asked.workers} workers are up at {fleet.endpoint}")
            async with Node(broker=fleet.endpoint, name="demo") as node:
                yield Stage(
                    asked,
                    directory,
                    progress,
                    fleet,
                    node,
                    open_corpus(),
                    truth_file,
                    truth_process,
                )
        finally:
            await fleet.end()
            if truth_process is not None:
                await truth_process.end(grace_s=0.5)


async def read_stocks(node: Node, corpus: Corpus) -> dict[str, Stock]:
    """Ask every librarian what it has and where it works; opens its index if need be."""
    keys = corpus.librarian_keys
    refs = (options(node.actor(Librarian, key), timeout_s=INDEX_LIMIT_S) for key in keys)
    stocks = await asyncio.gather(*(ref.stock() for ref in refs))
    return dict(zip(keys, stocks, strict=True))


async def index(stage: Stage) -> None:
    """Wait until every librarian's index stands."""
    begun = time.perf_counter()
    reading = asyncio.ensure_future(read_stocks(stage.node, stage.corpus))
    try:
        while not reading.done():
            saved = len(list(stage.directory.glob("library/*.msgpack")))
            stage.progress.now(
                f"indexing: {saved} of {LIBRARIANS} librarians have read their files"
            )
            await asyncio.wait([reading], timeout=0.1)
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
    stage.stocks, stage.index_s = reading.result(), time.perf_counter() - begun
    definitions = sum(stock.definitions for stock in stage.stocks.values())
    stage.progress.stage(
        f"{len(stage.stocks)} librarians have indexed {len(stage.corpus.sources)} modules, "
        f"{definitions} definitions, in {stage.index_s:.1f} s"
    )


async def learn_truth(stage: Stage) -> Population:
    """Wait for the other route's findings."""
    stage.progress.now("finding the truth by inspect and bytecode, in one process without actors")
    searching = stage.truth_process
    if searching is not None and await searching.wait() != 0:
        raise ChildEndedError(searching.last_words())
    truth = read_truth(stage.truth_file)
    stage.progress.stage(
        f"the truth is known: {len(truth.definitions)} definitions, "
        f"callers of {len(truth.callers)} names"
    )
    return Population(truth, stage.corpus, stage.options.seed)


async def plant(stage: Stage, population: Population) -> None:
    """Make the answers about the most popular names wrong."""
    name, target = (population.names[kind][0] for kind in ("where", "callers"))
    for wrong, at in ((name, name), (target, min(population.truth.callers[target]))):
        keeper = stage.corpus.keeper(at)
        assert keeper is not None
        await stage.node.actor(Librarian, keeper).misremember(wrong)
    stage.progress.stage(f"planted wrong answers: the line of {name}, a caller of {target}")
