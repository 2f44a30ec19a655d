"""`denoagents dlq ls | show | replay | purge`: messages that were given up, for somebody to decide.

Rules: a payload is shown by `show` alone. A message that is replayed leaves the quarantine when it
was handled, and not before, unless the command says otherwise.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import click

from denoagents.cli.failure import ExitCode
from denoagents.cli.invocation import Invocation, broker_option, configured, output_option
from denoagents.errors import DenoagentsError, QuarantinedError, UsageError
from denoagents.units import Duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from denoagents.node.node import Node

Row = dict[str, Any]

COLUMNS: Final = ("id", "at", "target", "method", "deaths", "node", "reason")
STORED_S: Final = 10.0
PRIORITIES: Final = ("high", "normal", "low")


@click.group("dlq")
def command() -> None:
    """Look at messages that were given up; replay or purge them.

    The broker keeps a reliable message that killed its actor three times, that failed three times,
    or that no actor can take, until somebody decides.
    """


def fleet_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """What every command of the group takes."""
    return output_option(broker_option(configured(function)))


@command.command("ls")
@fleet_options
def list_messages(invocation: Invocation) -> None:
    """List the messages, oldest first, without their payloads."""
    from denoagents.cli.operator_node import with_node

    found = with_node(invocation, _listing)
    if invocation.as_json:
        from denoagents.cli.output import print_json

        print_json(found["rows"])
        return
    from denoagents.cli.output import print_table

    table = [[row.get(column, "") for column in COLUMNS] for row in found["rows"]]
    print_table(COLUMNS, table, empty="the quarantine is empty")
    if not found["is_durable"]:
        click.echo("(kept in memory only: this broker has no store, see `broker --store`)")


@command.command("show")
@click.argument("number", metavar="ID", type=click.IntRange(min=1))
@fleet_options
def show_message(invocation: Invocation, number: int) -> None:
    """Show everything about one message, its arguments too."""
    from denoagents.cli.operator_node import with_node

    async def look(node: Node) -> Row:
        return await node.control("quarantined_message", {"id": number})

    row = with_node(invocation, look)
    payload = row.pop("payload")
    row["arguments"] = _arguments(payload)
    row["payload_bytes"] = len(payload)
    if invocation.as_json:
        from denoagents.cli.output import print_json

        print_json(row)
        return
    from denoagents.cli.output import print_fields

    print_fields(
        (name, repr(value) if name == "arguments" else value) for name, value in row.items()
    )


@command.command("replay")
@click.argument("numbers", metavar="[ID]...", nargs=-1, type=click.IntRange(min=1))
@click.option("--all", "is_all", is_flag=True, help="All that are there now, oldest first.")
@click.option("--timeout", metavar="DURATION", help="For each message; else its priority's own.")
@click.option(
    "--remove",
    type=click.Choice(["handled", "always", "never"]),
    default="handled",
    show_default=True,
    help="When a replayed message leaves the quarantine.",
)
@fleet_options
def replay(
    invocation: Invocation,
    *,
    numbers: tuple[int, ...],
    is_all: bool,
    timeout: str | None,
    remove: str,
) -> int:
    """Send messages again, one after the other; exit code 1 if one was not handled.

    They are sent as reliable messages: one that ends its worker's process three times more is in
    the quarantine again, under another id.
    """
    _check(numbers, is_all)
    timeout_s = None if timeout is None else float(Duration.parse(timeout))
    from denoagents.cli.operator_node import with_node

    async def run(node: Node) -> list[Row]:
        ids = [row["id"] for row in (await _listing(node))["rows"]] if is_all else numbers
        rows = [await node.control("quarantined_message", {"id": number}) for number in ids]
        return [await _replay(node, row, timeout_s, remove) for row in rows]

    results = with_node(invocation, run)
    if invocation.as_json:
        from denoagents.cli.output import print_json

        print_json(results)
    else:
        for one in results:
            said = "handled" if one["handled"] else f"not handled: {one['error']['message']}"
            left = "removed" if one["removed"] else "stays"
            click.echo(f"{one['id']} {one['target']} {one['method']}: {said} ({left})")
        if not results:
            click.echo("the quarantine is empty")
    return ExitCode.OK if all(one["handled"] for one in results) else ExitCode.FAILED


@command.command("purge")
@click.argument("numbers", metavar="[ID]...", nargs=-1, type=click.IntRange(min=1))
@click.option("--all", "is_all", is_flag=True, help="All that are there now.")
@fleet_options
def purge(invocation: Invocation, *, numbers: tuple[int, ...], is_all: bool) -> None:
    """Forget messages for good."""
    _check(numbers, is_all)
    from denoagents.cli.operator_node import with_node

    async def run(node: Node) -> Row:
        return await node.control("purge", {"all": True} if is_all else {"ids": list(numbers)})

    found = with_node(invocation, run)
    if invocation.as_json:
        from denoagents.cli.output import print_json

        print_json(found)
    else:
        click.echo(f"purged {found['purged']}")


async def _listing(node: Node) -> Row:
    found = await node.control("quarantined", {})
    rows = found["rows"]
    while len(rows) < found["messages"]:
        more = (await node.control("quarantined", {"after": rows[-1]["id"]}))["rows"]
        if not more:
            break
        rows += more
    return found


async def _replay(node: Node, row: Row, timeout_s: float | None, remove: str) -> Row:
    result = {"id": row["id"], "target": row["target"], "method": row["method"]}
    error = None
    try:
        await node.ask(
            row["target"],
            row["method"],
            *_arguments(row["payload"]),
            timeout_s=timeout_s,
            priority=PRIORITIES[row["priority"]],
            reliable=True,
        )
    except DenoagentsError as raised:
        error = {"code": raised.code, "message": str(raised)}
    if error is not None and error["code"] == QuarantinedError.code:
        await _until_stored(node)  # it is there once more, under another id
    removed = remove != "never" and (error is None or remove == "always")
    removed = removed or (error is not None and error["code"] == QuarantinedError.code)
    if removed:
        await node.control("purge", {"ids": [row["id"]]})
    return {**result, "handled": error is None, "removed": removed, "error": error}


async def _until_stored(node: Node) -> None:
    async with asyncio.timeout(STORED_S):
        while node.statistics()["quarantine"]["waiting"]:  # noqa: ASYNC110 - a figure
            await asyncio.sleep(0.02)


def _arguments(payload: bytes) -> list[Any]:
    import msgspec

    try:
        values = msgspec.msgpack.decode(payload)
    except msgspec.MsgspecError as error:
        raise UsageError(f"the payload is no list of arguments: {error}") from None
    return values if isinstance(values, list) else [values]


def _check(numbers: tuple[int, ...], is_all: bool) -> None:
    if bool(numbers) == is_all:
        raise UsageError("name the messages by their ids (`denoagents dlq ls`), or say --all")
