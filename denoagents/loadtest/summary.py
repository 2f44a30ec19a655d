"""Turns what a demo run observed into its report."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from denoagents._native.histogram import Histogram
from denoagents.loadtest.accounting import accepted, add_up
from denoagents.loadtest.chats import Chats
from denoagents.loadtest.footprint import Footprint
from denoagents.loadtest.library import Stock
from denoagents.loadtest.recovery import KILL_WINDOW, Recovery
from denoagents.loadtest.report import Report
from denoagents.loadtest.runner import PRIORITIES
from denoagents.loadtest.tally import MAIN, QUANTILES, Record, Tally

Statistics = Mapping[str, Mapping[str, Any]]


@dataclass(slots=True)
class Observed:
    """Everything that one run has seen."""

    seconds: float
    target_per_s: float
    clients: int
    workers: int
    stocks: Sequence[Stock]
    index_s: float
    offered: int
    late_p99_ms: float
    record: Record
    chats: Chats
    footprint: Footprint
    before: Statistics
    after: Statistics
    recovery: Recovery | None


def summarise(seen: Observed) -> Report:
    """The report, without a verdict."""
    chats, total = seen.chats.record.total(), seen.record.total()
    dead = [seen.recovery.last_words] if seen.recovery else []
    errors: Counter[str] = total.errors + chats.errors
    killed = seen.record.tallies.get(KILL_WINDOW)
    return Report(
        agents=len(seen.stocks),
        chats=seen.chats.count,
        clients=seen.clients,
        workers=seen.workers,
        seconds=seen.seconds,
        target_per_s=seen.target_per_s,
        offered_per_s=seen.offered / seen.seconds,
        lookups_per_s=total.answered / seen.seconds,
        requests_per_s=(total.answered + seen.chats.streams_read) / seen.seconds,
        messages_per_s=accepted_between(seen.before, [*seen.after.values(), *dead]) / seen.seconds,
        latency_ms=rounded(seen.record.tallies.get(MAIN, Tally()).latency_ms()),
        latency_kill_window_ms=rounded(killed.latency_ms()) if killed else None,
        latency_by_priority_ms={
            name: rounded(seen.record.by_priority[name].latency_ms()) for name in PRIORITIES
        },
        generator_late_p99_ms=round(seen.late_p99_ms, 3),
        chat_answers=chats.answered,
        chat_first_word_ms=quantiles_ms(seen.chats.first_word),
        chat_answer_ms=rounded(chats.latency_ms()),
        chat_asked_again=seen.chats.asked_again,
        answers_checked=total.answered + chats.answered,
        answers_wrong=total.wrong + chats.wrong,
        requests=seen.offered + seen.chats.streams,
        errors=errors.total(),
        errors_by_code=dict(errors),
        cpu_share=round(seen.footprint.machine_share(seen.seconds), 4),
        cpu_share_by_process=rounded(seen.footprint.cpu_share(seen.seconds), 4),
        cores=os.cpu_count() or 1,
        rss_mb=rounded(seen.footprint.rss_mb(), 1),
        recovery_s=round(seen.recovery.seconds, 3) if seen.recovery else None,
        lost_agents=seen.recovery.lost if seen.recovery else 0,
        index_s=round(seen.index_s, 3),
        definitions=sum(stock.definitions for stock in seen.stocks),
        modules=sum(stock.modules for stock in seen.stocks),
        accounting=accounting(seen),
    )


def accounting(seen: Observed) -> dict[str, Any]:
    """Of all living processes, summed; the killed one's last report stands apart."""
    books = add_up(seen.after)
    if seen.recovery:
        killed = add_up({seen.recovery.victim: seen.recovery.last_words})
        books["killed"] = killed["processes"]
        books["off"] += killed["off"]
    return books


def accepted_between(before: Statistics, after: Iterable[Mapping[str, Any]]) -> int:
    """Messages accepted by all nodes in between; a node born meanwhile counts from its birth."""
    known = {of.get("incarnation"): accepted(of) for of in before.values()}
    return sum(accepted(of) - known.get(of.get("incarnation"), 0) for of in after)


def rounded(figures: Mapping[str, float], digits: int = 3) -> dict[str, float]:
    """The same figures, fit to be read."""
    return {name: round(value, digits) for name, value in figures.items()}


def quantiles_ms(histogram: Histogram) -> dict[str, float]:
    """The usual quantiles of latencies in ns."""
    return {name: round(histogram.quantile(q) / 1e6, 3) for name, q in QUANTILES.items()}
