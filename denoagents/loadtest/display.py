"""What a person sees of a demo run: progress while it goes on, then tables.

Rules: on a terminal one line is redrawn; elsewhere each change of stage, and every few seconds of
measuring, is a line of its own. Nothing is printed when the output is for a machine.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.status import Status
from rich.table import Table

from denoagents.loadtest.chats import Exchange
from denoagents.loadtest.report import Report

PLAIN_EVERY_S = 5.0


class Progress:
    """Tells how far a run is."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status: Status | None = None
        self._last_plain = 0.0

    def __enter__(self) -> Self:
        if self._console.is_terminal and not self._console.quiet:
            self._status = self._console.status("starting")
            self._status.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._status is not None:
            self._status.stop()

    def stage(self, text: str) -> None:
        """Something is done, for good."""
        self._console.print(escape(text), highlight=False)

    def now(self, text: str) -> None:
        """How it stands at the moment; often replaced."""
        if self._status is not None:
            self._status.update(escape(text))
        elif time.monotonic() - self._last_plain >= PLAIN_EVERY_S:
            self._last_plain = time.monotonic()
            self.stage(text)


def latency_row(latency_ms: dict[str, float]) -> list[str]:
    """Quantiles as cells."""
    return [f"{latency_ms[name]:.1f}" for name in ("p50", "p95", "p99", "p999", "max")]


def show_report(console: Console, report: Report, exchanges: Sequence[Exchange]) -> None:
    """The tables of one run."""
    console.print(latency_table(report))
    console.print(figures_table(report))
    console.print(process_table(report))
    console.print(accounting_table(report))
    for exchange in exchanges:
        show_exchange(console, exchange)
    if report.verdict:
        console.print("[bold red]verdict: failed[/]")
        for sentence in report.verdict:
            console.print(f"  - {escape(sentence)}", highlight=False)
    else:
        console.print("[bold green]verdict: passed[/]")


def latency_table(report: Report) -> Table:
    """Latencies of look-ups, by window and priority, and of chats."""
    table = Table(title="latency in ms, from the scheduled time", title_justify="left")
    table.add_column("")
    for name in ("p50", "p95", "p99", "p99.9", "max"):
        table.add_column(name, justify="right")
    table.add_row("look-ups", *latency_row(report.latency_ms))
    for priority, latency_ms in report.latency_by_priority_ms.items():
        table.add_row(f"  {priority}, whole run", *latency_row(latency_ms))
    if report.latency_kill_window_ms is not None:
        table.add_row("kill window", *latency_row(report.latency_kill_window_ms))
    table.add_row("chats: first word", *latency_row(report.chat_first_word_ms))
    table.add_row("chats: whole answer", *latency_row(report.chat_answer_ms))
    return table


def figures_table(report: Report) -> Table:
    """Rates, answers, errors, recovery."""
    recovery = "no worker was killed"
    if report.recovery_s is not None:
        recovery = f"{report.recovery_s:.2f} s until all {report.lost_agents} lost agents answered"
    errors = ", ".join(f"{code} {count}" for code, count in report.errors_by_code.items())
    rows = {
        "library": f"{report.modules} modules, {report.definitions} definitions, "
        f"indexed by {report.agents} agents in {report.index_s:.1f} s",
        "look-ups": f"{report.offered_per_s:.1f}/s offered by {report.clients} clients, "
        f"{report.lookups_per_s:.1f}/s answered",
        "requests": f"{report.requests_per_s:.0f}/s answered, with {report.chats} chats",
        "messages": f"{report.messages_per_s:.0f}/s accepted by all nodes",
        "answers": f"{report.answers_checked} checked, {report.answers_wrong} wrong",
        "errors": f"{report.errors} of {report.requests} requests {errors}".strip(),
        "recovery": recovery,
        "CPU": f"{report.cpu_share:.0%} of this machine",
        "generator": f"sent {report.generator_late_p99_ms:.2f} ms late at p99",
    }
    table = Table(show_header=False)
    for name, text in rows.items():
        table.add_row(name, text)
    return table


def process_table(report: Report) -> Table:
    """What each process used."""
    table = Table("process")
    table.add_column("CPU, of one core", justify="right")
    table.add_column("memory, MB", justify="right")
    for name, rss_mb in report.rss_mb.items():
        table.add_row(name, f"{report.cpu_share_by_process[name]:.0%}", f"{rss_mb:.0f}")
    return table


def accounting_table(report: Report) -> Table:
    """One row for each side; the terms that are zero everywhere are left out."""
    table = Table(title=f"messages, off by {report.accounting['off']}", title_justify="left")
    table.add_column("")
    table.add_column("terms")
    for which in ("sender", "receiver"):
        terms = report.accounting[which]
        shown = (f"{name} {count}" for name, count in terms.items() if count or name == "off")
        table.add_row(which, " · ".join(shown))
    return table


def show_exchange(console: Console, exchange: Exchange) -> None:
    """One question with its answer, cut to a few lines."""
    console.print(f"\n[bold]{escape(exchange.question)}[/]", highlight=False)
    lines = exchange.answer.splitlines()
    for line in lines[:6]:
        console.print(f"  {escape(line)}", highlight=False)
    more = f"; {len(lines) - 6} more lines" if len(lines) > 6 else ""
    plural = "s" if exchange.librarians != 1 else ""
    console.print(f"  [dim]{exchange.librarians} librarian{plural} asked{more}[/]")


def show_next(console: Console, lines: Iterable[str]) -> None:
    """What to type next."""
    console.print("\n[bold]your turn[/]")
    for line in lines:
        console.print(f"  {line}", markup=False, highlight=False)
