"""`denoagents ask TYPE/KEY METHOD [ARGUMENTS]`: one call, and its reply."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from denoagents.cli.call_options import call_options, read_arguments, read_timeout
from denoagents.cli.invocation import Invocation, broker_option, configured, output_option

if TYPE_CHECKING:
    from denoagents.node.node import Node


@click.command("ask")
@call_options
@output_option
@broker_option
@configured
def command(
    invocation: Invocation,
    address: str,
    method: str,
    arguments: tuple[str, ...],
    priority: str,
    timeout: str | None,
) -> None:
    """Call a method of an actor and print its reply; a stream is printed item by item.

    ARGUMENTS are JSON: 2, '"text"', '[1, 2]', '{"a": 1}'; a bare word is a text. For example:
    denoagents ask Counter/visits add 2
    """
    values, timeout_s = read_arguments(arguments), read_timeout(timeout)
    from denoagents.cli.operator_node import with_node

    async def ask(node: Node) -> None:
        reply = await node.ask(address, method, *values, timeout_s=timeout_s, priority=priority)
        if hasattr(reply, "__aiter__"):
            async for item in reply:
                print_value(item, invocation.as_json)
        else:
            print_value(reply, invocation.as_json)

    with_node(invocation, ask)


def print_value(value: Any, as_json: bool) -> None:
    """A text as it is, anything else as JSON; always JSON for machines."""
    if isinstance(value, str) and not as_json:
        click.echo(value)
        return
    from denoagents.cli.output import print_json

    print_json(value)
