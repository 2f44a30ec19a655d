"""Row 2.11 of the plan: one client is offered twice what its token bucket admits.

The bucket lets 1000 requests/s through; the rest wait by priority until their deadlines, and end
with a typed error. Timeouts are shortened in proportion, so that nobody needs to wait a minute.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from denoagents.loadtest.client import ClientOptions
from denoagents.loadtest.crowd import Crowd
from denoagents.loadtest.display import Progress
from denoagents.loadtest.runner import PRIORITIES
from denoagents.loadtest.stage import DemoOptions, Stage, index, learn_truth, staged

OFFERED_PER_S = 2000.0
ADMITTED_PER_S = 1000.0
BURST = 100
TOLERANCE = 0.01
TIMEOUT_SHARES = {"high": 0.05, "normal": 0.15, "low": 0.3}
"""Timeouts as shares of the run, in the proportion of the default ones (10, 30 and 60 s)."""


class OverloadReport(msgspec.Struct, kw_only=True):
    """The figures of one overloaded client."""

    seconds: float
    offered: int
    offered_per_s: float
    granted: int
    """Let through by the token bucket, over the whole run."""
    granted_per_s: float
    """While requests were offered, without the first burst."""
    answered: int
    wrong: int
    errors: dict[str, int]
    by_priority: dict[str, dict[str, Any]]
    sum_off: int
    """Offered, less answered, less ended by an error; and offered, less granted, less expired."""
    verdict: list[str] = []


async def run_overload(options: DemoOptions) -> int:
    """Run it; returns 0, or 1 if the verdict is that it failed."""
    console = Console(quiet=options.as_json)
    with Progress(console) as progress:
        async with staged(options, progress) as stage:
            await index(stage)
            await learn_truth(stage)
            report = await measure_overload(stage)
    report.verdict = judge_overload(report)
    if options.as_json:
        sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
    else:
        show_overload(console, report)
    return 1 if report.verdict else 0


async def measure_overload(stage: Stage) -> OverloadReport:
    """One client process, offered at a fixed rate; its own node counts what it admits."""
    seconds = stage.options.seconds
    client = ClientOptions(
        broker=stage.fleet.endpoint,
        number=0,
        truth=str(stage.truth_file),
        rate_per_s=OFFERED_PER_S,
        seconds=seconds,
        seed=stage.options.seed,
        timeouts_s={name: share * seconds for name, share in TIMEOUT_SHARES.items()},
    )
    crowd = Crowd([client], stage.directory)
    try:
        await crowd.start()
        await asyncio.sleep(2 * BURST / ADMITTED_PER_S)  # the bucket is full again
        before = (await crowd.statistics())["client-0"]["admission"]["granted"]
        begin_ns = stage.clock.now_ns() + 100_000_000
        crowd.begin(begin_ns)
        ending = asyncio.create_task(crowd.reports())
        await asyncio.sleep((begin_ns - stage.clock.now_ns()) / 1e9 + seconds)
        at_end = (await crowd.statistics())["client-0"]
        record = await ending
        after = (await crowd.statistics())["client-0"]["admission"]
    finally:
        await crowd.end()
    total, offered = record.total(), crowd.progress["client-0"]["offered"]
    granted, expired = after["granted"] - before, after["expired"]
    offering_s = (at_end["at_ns"] - begin_ns) / 1e9
    off = abs(offered - total.ended) + abs(offered - granted - expired)
    return OverloadReport(
        seconds=seconds,
        offered=offered,
        offered_per_s=offered / seconds,
        granted=granted,
        granted_per_s=(at_end["admission"]["granted"] - before - BURST) / offering_s,
        answered=total.answered,
        wrong=total.wrong,
        errors=dict(total.errors),
        by_priority={
            name: {
                "answered": tally.answered,
                "errors": dict(tally.errors),
                "latency_ms": tally.latency_ms(),
            }
            for name, tally in ((name, record.by_priority[name]) for name in PRIORITIES)
        },
        sum_off=off,
    )


def judge_overload(report: OverloadReport) -> list[str]:
    """What misses row 2.11."""
    checks = {
        f"{report.granted_per_s:.1f}/s were admitted, not {ADMITTED_PER_S:.0f} ± {TOLERANCE:.0%}": (
            abs(report.granted_per_s / ADMITTED_PER_S - 1) > TOLERANCE
        ),
        f"the sums are off by {report.sum_off}": report.sum_off != 0,
        f"{report.wrong} answers were wrong": report.wrong > 0,
        f"errors other than expiry: {report.errors}": set(report.errors) - {"expired", "timeout"},
        "nothing expired": not report.errors,
    }
    return [sentence for sentence, failed in checks.items() if failed]


def show_overload(console: Console, report: OverloadReport) -> None:
    """The figures, for a person."""
    console.print(
        f"offered {report.offered_per_s:.0f}/s to one client, "
        f"admitted {report.granted_per_s:.1f}/s (after a burst of {BURST}); "
        f"of {report.offered} requests {report.answered} were answered, "
        f"{sum(report.errors.values())} expired, sums off by {report.sum_off}",
        highlight=False,
    )
    table = Table("priority", "answered", "errors", "p50 ms", "p99 ms", "max ms")
    for name, row in report.by_priority.items():
        figures = (f"{row['latency_ms'][q]:.0f}" for q in ("p50", "p99", "max"))
        errors = ", ".join(f"{code} {count}" for code, count in row["errors"].items())
        table.add_row(name, str(row["answered"]), errors, *figures)
    console.print(table)
    for sentence in report.verdict:
        console.print(f"failed: {sentence}", markup=False, highlight=False)
