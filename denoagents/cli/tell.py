"""`denoagents tell TYPE/KEY METHOD [ARGUMENTS]`: one message, without waiting for a reply."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from denoagents.cli.call_options import call_options, read_arguments, read_timeout
from denoagents.cli.invocation import Invocation, broker_option, configured, output_option

if TYPE_CHECKING:
    from denoagents.node.node import Node


@click.command("tell")
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
    """Send a message to an actor; ends when the actor's node has accepted it."""
    values, timeout_s = read_arguments(arguments), read_timeout(timeout)
    from denoagents.cli.operator_node import with_node

    async def tell(node: Node) -> None:
        await node.tell(address, method, *values, timeout_s=timeout_s, priority=priority)

    with_node(invocation, tell)
    if invocation.as_json:
        from denoagents.cli.output import print_json

        print_json({"sent": True, "address": address, "method": method})
    else:
        click.echo(f"sent to {address}")
