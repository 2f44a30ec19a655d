"""`denoagents tell TYPE/KEY METHOD [ARGUMENTS]`: one message, without waiting for a reply."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import click

from denoagents.cli.call_options import call_options, read_arguments
from denoagents.cli.failure import FailedError
from denoagents.cli.invocation import Invocation, broker_option, configured, output_option

if TYPE_CHECKING:
    from denoagents.node.node import Node


ACCEPT_S: Final = 10.0
"""How long the actor's node may take to accept a message: it may be placed anew just now."""


@click.command("tell")
@call_options
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
) -> None:
    """Send a message to an actor; ends when the actor's node has accepted it."""
    values = read_arguments(arguments)
    from denoagents.cli.operator_node import signature_of, with_node

    async def tell(node: Node) -> None:
        await signature_of(node, address, method)
        await node.tell(address, method, *values, priority=priority)
        await _until_accepted(node, address)

    with_node(invocation, tell)
    if invocation.as_json:
        from denoagents.cli.output import print_json

        print_json({"sent": True, "address": address, "method": method})
    else:
        click.echo(f"sent to {address}")


async def _until_accepted(node: Node, address: str) -> None:
    """Wait until the actor's node has taken the message over; a client that leaves drops it."""
    until = asyncio.get_running_loop().time() + ACCEPT_S
    while (terms := node.statistics()["accounting"]["sender"])["retained"]:
        if asyncio.get_running_loop().time() > until:
            raise FailedError(f"the node of {address} has not accepted it within {ACCEPT_S:g} s")
        await asyncio.sleep(0.01)
    if terms["acknowledged"] < terms["sent"]:
        raise FailedError(f"the message to {address} was not accepted: {terms}")
