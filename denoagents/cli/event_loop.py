"""Runs a command's coroutine on uvloop, or on asyncio's own loop where that is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import click

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


def run(main: Coroutine[Any, Any, T], loop: str = "uvloop") -> T:
    """Run `main` to its end; without uvloop (not installed) asyncio's loop takes its place."""
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    if loop == "uvloop":
        try:
            import uvloop
        except ImportError:
            factory = None
        else:
            factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main)


def loop_option(function: F) -> F:
    """`--loop`: the event loop of a process that carries messages."""
    return click.option(
        "--loop",
        type=click.Choice(["uvloop", "asyncio"]),
        default="uvloop",
        show_default=True,
        help="Event loop.",
    )(function)
