"""`denoagents drain NODE`: the node hands over its actors and leaves."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from denoagents.cli.failure import FailedError
from denoagents.cli.invocation import Invocation, broker_option, configured, output_option
from denoagents.errors import UnreachableError
from denoagents.units import Duration

if TYPE_CHECKING:
    from denoagents.node.node import Node


@click.command("drain")
@click.argument("node")
@click.option("--wait/--no-wait", default=True, help="Wait until the node has left.")
@click.option("--timeout", default="60s", show_default=True, metavar="DURATION")
@output_option
@broker_option
@configured
def command(invocation: Invocation, node: str, wait: bool, timeout: str) -> None:
    """Let NODE finish its running turns, hand over its actors and leave; nothing is lost."""
    timeout_s = float(Duration.parse(timeout))
    from denoagents.cli.operator_node import with_node

    async def drain(client: Node) -> str:
        await client.control("drain", {"name": node})
        if not wait:
            return f"{node} is draining"
        try:
            await _until_gone(client, node, timeout_s)
        except UnreachableError:  # `up` ends with its last worker
            return f"{node} has left; the broker has ended, too"
        return f"{node} has left"

    said = with_node(invocation, drain)
    if invocation.as_json:
        from denoagents.cli.output import print_json

        print_json({"node": node, "drained": wait})
    else:
        click.echo(said)


async def _until_gone(client: Node, name: str, timeout_s: float) -> None:
    until = asyncio.get_running_loop().time() + timeout_s
    while name in {one["name"] for one in (await client.control("get", {"kind": "nodes"}))["rows"]}:
        if asyncio.get_running_loop().time() > until:
            raise FailedError(
                f"{name} has not left within {timeout_s:g} s; a running turn may hold it: "
                f"see `denoagents describe node {name}`"
            )
        await asyncio.sleep(0.1)
