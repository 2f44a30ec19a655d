"""Prints results: tables and panels for people, JSON for machines.

Rules: rich is imported only when something is printed for people; JSON goes to stdout alone, one
value a command, and its field names are API.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

UNCUT = 10_000
"""Columns where no terminal cuts: a file or a pipe gets whole lines."""

MOST_CELL = 50
"""A narrow terminal cuts the last column first, others only beyond this."""


def print_json(value: Any) -> None:
    """One JSON value; what JSON does not know is shown as text."""
    sys.stdout.write(json.dumps(value, indent=2, default=_plain) + "\n")


def print_json_line(value: Any) -> None:
    """One JSON value on one line, at once: an item of a stream."""
    sys.stdout.write(json.dumps(value, default=_plain) + "\n")
    sys.stdout.flush()


def console() -> Console:
    """The console for people; without a terminal it neither colours nor cuts."""
    from rich.console import Console

    if sys.stdout.isatty():
        return Console(highlight=False)
    return Console(highlight=False, width=UNCUT, color_system=None)


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str = "", empty: str = ""
) -> None:
    """A table of short cells; numbers stand to the right."""
    from rich.table import Table
    from rich.text import Text

    lines = [list(row) for row in rows]
    out = console()
    if not lines:
        out.print(empty or "nothing to show")
        return
    texts = [[c if isinstance(c, Text) else Text(show(c)) for c in line] for line in lines]
    table = Table(box=None, pad_edge=False, title=title or None, title_justify="left")
    for index, column in enumerate(columns):
        right = all(isinstance(line[index], int | float) or line[index] == "" for line in lines)
        width = 0 if index == len(columns) - 1 else max(len(cells[index]) for cells in texts)
        table.add_column(
            column.upper(),
            justify="right" if right else "left",
            header_style="dim",
            no_wrap=True,
            min_width=max(min(width, MOST_CELL), len(column)),
        )
    for cells in texts:
        table.add_row(*cells)
    out.print(table)


def print_fields(fields: Iterable[tuple[str, object]]) -> None:
    """Names and values, one a line."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    for name, value in fields:
        table.add_row(name, value if isinstance(value, Text) else Text(show(value)))
    console().print(table)


def show(value: object) -> str:
    """A cell's text: yes and no, grouped thousands, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}".replace(",", " ")
    if isinstance(value, float):
        return f"{value:.1f}" if abs(value) < 1000 else f"{value:,.0f}".replace(",", " ")
    if isinstance(value, list | tuple):
        return ", ".join(show(item) for item in value)
    return str(value)


def show_named(name: str, value: object) -> object:
    """A value for a cell: numbers that are names (process ids, incarnations) are not grouped."""
    is_name = name.rpartition(".")[2] in ("pid", "incarnation", "slot", "at_ns")
    return str(value) if is_name else value


def show_bytes(count: float) -> str:
    """Bytes in the unit that leaves one to three digits."""
    for unit in ("B", "KB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 10 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def show_seconds(seconds: float) -> str:
    """A duration in its two largest units: 3d 4h, 5m 12s, 0.8s."""
    if seconds < 10:
        return f"{seconds:.1f}s"
    whole = int(seconds)
    steps = ((86400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s"))
    for size, unit, part, small in steps:
        if whole >= size:
            rest = whole % size // part
            return f"{whole // size}{unit} {rest}{small}" if rest else f"{whole // size}{unit}"
    return f"{whole}s"


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, set | frozenset | tuple):
        return list(value)
    isoformat = getattr(value, "isoformat", None)
    return isoformat() if isoformat is not None else str(value)
