"""The main job: a hundred librarians read Python's library, and a crowd asks them while one dies.

Stages: start the fleet and look for the truth beside it; let every librarian index its share; let
chats and client processes ask for a while, with a worker killed at half time; compare, count, show.
"""

from __future__ import annotations

import sys

import msgspec
from rich.console import Console

from denoagents.loadtest.chats import Chats
from denoagents.loadtest.corpus import open_corpus
from denoagents.loadtest.display import Progress, show_next, show_report
from denoagents.loadtest.event_loop import run_fast
from denoagents.loadtest.measurement import measure
from denoagents.loadtest.overload import run_overload
from denoagents.loadtest.report import Report, judge
from denoagents.loadtest.stage import DemoOptions, index, learn_truth, plant, staged
from denoagents.loadtest.summary import summarise

__all__ = ["DemoOptions", "run"]


def run(options: DemoOptions) -> int:
    """Run the demo; returns 0, or 1 if the verdict is that it failed."""
    if options.overload:
        return run_fast(run_overload(options))
    console = Console(quiet=options.as_json)
    report, chats = run_fast(play(options, console))
    if options.as_json:
        sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
    else:
        show_report(console, report, list(chats.exchanges.values()))
        show_next(console, next_lines())
    return 1 if report.verdict else 0


def next_lines() -> list[str]:
    """What to type after the demo."""
    keeper = open_corpus().keeper("heapq.merge")
    return [
        "denoagents up denoagents.loadtest.library     # this library, to talk to",
        f"denoagents ask Librarian/{keeper} where heapq.merge",
        "denoagents status",
        "denoagents new hello && denoagents up hello/app.py     # your own first actor",
        "denoagents demo --overload",
    ]


async def play(options: DemoOptions, console: Console) -> tuple[Report, Chats]:
    """All stages."""
    with Progress(console) as progress:
        async with staged(options, progress) as stage:
            await index(stage)
            population = await learn_truth(stage)
            chats = Chats(stage.node, population, options.chats, options.seed)
            await chats.read_catalogues()
            if options.plant_wrong:
                await plant(stage, population)
            observed = await measure(stage, chats)
            report = summarise(observed)
            report.verdict = judge(report)
            return report, chats
