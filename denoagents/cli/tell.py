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

HANDLE_S: Final = 60.0
"""How long a reliable message is waited for; this process is the only one that keeps it."""


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
    """Send a message to an actor.

    Ends when the actor's node has accepted it; if the method is reliable, when it was handled.
    """
    values = read_arguments(arguments)
    from denoagents.cli.operator_node import signature_of, with_node

    async def tell(node: Node) -> bool:
        is_reliable = bool((await signature_of(node, address, method)).get("reliable"))
        await node.tell(address, method, *values, priority=priority, reliable=is_reliable)
        await (_until_handled if is_reliable else _until_accepted)(node, address)
        return is_reliable

    is_handled = with_node(invocation, tell)
    if invocation.as_json:
        from denoagents.cli.output import print_json

        print_json({"sent": True, "handled": is_handled, "address": address, "method": method})
    else:
        click.echo(f"{'handled by' if is_handled else 'sent to'} {address}")


async def _until_accepted(node: Node, address: str) -> None:
    """Wait until the actor's node has taken the message over; a client that leaves drops it."""
    until = asyncio.get_running_loop().time() + ACCEPT_S
    while (terms := node.statistics()["accounting"]["sender"])["retained"]:
        if asyncio.get_running_loop().time() > until:
            raise FailedError(f"the node of {address} has not accepted it within {ACCEPT_S:g} s")
        await asyncio.sleep(0.01)
    if terms["acknowledged"] < terms["sent"]:
        raise FailedError(f"the message to {address} was not accepted: {terms}")


async def _until_handled(node: Node, address: str) -> None:
    """Wait until the message was handled, whichever workers die meanwhile."""
    until = asyncio.get_running_loop().time() + HANDLE_S
    while (terms := node.statistics()["accounting"]["reliable"])["outstanding"]:
        if asyncio.get_running_loop().time() > until:
            raise FailedError(
                f"{address} has not handled the message within {HANDLE_S:g} s; nobody sends it "
                "again, but what the actor's node has accepted may still run"
            )
        await asyncio.sleep(0.01)
    if terms["quarantined"]:
        raise FailedError(f"the message to {address} was given up; see `denoagents dlq ls`")
    if terms["handled"] < terms["sent"]:
        raise FailedError(f"the message to {address} was not handled: {terms}")
