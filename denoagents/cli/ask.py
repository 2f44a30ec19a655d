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
@click.option("--timeout", metavar="DURATION", help="Deadline, such as 2s.  [by priority]")
@output_option
@broker_option
@configured
def command(
    invocation: Invocation,
    *,
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
    from denoagents.cli.operator_node import signature_of, with_node

    async def ask(node: Node) -> None:
        if (await signature_of(node, address, method))["stream"]:
            async for item in node.stream(address, method, *values, timeout_s=timeout_s):
                print_item(item, invocation.as_json)
        else:
            reply = await node.ask(address, method, *values, timeout_s=timeout_s, priority=priority)
            print_value(reply, invocation.as_json)

    with_node(invocation, ask)


def print_value(value: Any, as_json: bool) -> None:
    """A text as it is, anything else as JSON; always JSON for machines."""
    if isinstance(value, str) and not as_json:
        click.echo(value)
        return
    from denoagents.cli.output import print_json

    print_json(value)


def print_item(value: Any, as_json: bool) -> None:
    """One item of a stream, a line each, as it comes."""
    if isinstance(value, str) and not as_json:
        click.echo(value)
        return
    from denoagents.cli.output import print_json_line

    print_json_line(value)
