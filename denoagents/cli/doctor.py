"""`denoagents doctor`: examines this machine and the fleet, and says what helps."""

from __future__ import annotations

import asyncio
import ctypes
import resource
from typing import TYPE_CHECKING, Final

import click

from denoagents.cli.failure import ExitCode
from denoagents.cli.invocation import Invocation, broker_option, configured, output_option

if TYPE_CHECKING:
    from denoagents.cli.diagnosis import Check
    from denoagents.node.node import Node

LEAST_LIBZMQ: Final = (4, 3, 5)
"""Older ones have known holes (CVE-2019-13132, CVE-2020-15166)."""
LEAST_FILES: Final = 1024
APART_S: Final = 0.7
"""Between the two looks at the fleet, by which a quiet link is told."""
MARKS: Final = {"ok": "[green]✓[/]", "failed": "[bold red]✗[/]", "skipped": "[yellow]-[/]"}


@click.command("doctor")
@click.option("--here", is_flag=True, help="Examine this machine only, no fleet.")
@output_option
@broker_option
@configured
def command(invocation: Invocation, *, here: bool) -> int:
    """Examine this machine and the fleet: libraries, limits, broker, books, both ends of links."""
    checks = machine()
    if not here:
        checks += fleet(invocation)
    is_well = not any(one.verdict == "failed" for one in checks)
    if invocation.as_json:
        from dataclasses import asdict

        from denoagents.cli.output import print_json

        print_json({"is_well": is_well, "checks": [asdict(one) for one in checks]})
    else:
        from rich.markup import escape

        from denoagents.cli.output import console

        for one in checks:
            help_ = f"  [dim]{escape(one.remedy)}[/]" if one.remedy else ""
            console().print(f"{MARKS[one.verdict]} {one.name:<14}{escape(one.detail)}{help_}")
    return ExitCode.OK if is_well else ExitCode.FAILED


def machine() -> list[Check]:
    """Libraries and limits of this machine."""
    from denoagents.cli.diagnosis import Check

    try:
        native, version = Check("native parts", "ok", "they load"), libzmq_version()
    except (ImportError, OSError) as error:
        return [Check("native parts", "failed", str(error), "pip install --force-reinstall .")]
    text = ".".join(map(str, version))
    library = Check("libzmq", "ok", text)
    if version < LEAST_LIBZMQ:
        library = Check("libzmq", "failed", f"{text} has known holes", "pip install -U pyzmq")
    files, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = Check("open files", "ok", f"up to {files}")
    if files < LEAST_FILES:
        limit = Check("open files", "failed", f"only {files} (most {most})", "ulimit -n 4096")
    return [native, library, limit]


def libzmq_version() -> tuple[int, ...]:
    """The version of the ZeroMQ library that the native parts use."""
    from denoagents._native.socket import library_path

    numbers = [ctypes.c_int() for _ in range(3)]
    ctypes.CDLL(library_path()).zmq_version(*map(ctypes.byref, numbers))
    return tuple(number.value for number in numbers)


def fleet(invocation: Invocation) -> list[Check]:
    """The fleet of the broker that the invocation means."""
    from denoagents.cli.diagnosis import Check, examine
    from denoagents.cli.operator_node import with_node
    from denoagents.errors import DenoagentsError

    async def look(node: Node) -> list[Check]:
        before = await node.control("status", {})
        await asyncio.sleep(APART_S)
        status = await node.control("status", {})
        for one in (status, before):  # this command is no part of the picture
            one["nodes"] = [n for n in one["nodes"] if n["incarnation"] != node.incarnation]
        broker = status["broker"]
        reached = Check("broker", "ok", f"{broker['endpoint']}, placement {broker['version']}")
        return [reached, *examine(status, before)]

    try:
        return with_node(invocation, look)
    except DenoagentsError as error:
        return [Check("broker", "failed", str(error))]
