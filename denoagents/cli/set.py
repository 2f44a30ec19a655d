"""`denoagents set pool/NAME weight.WORKER=3`: changes a running fleet."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from denoagents.cli.invocation import Invocation, broker_option, configured, output_option
from denoagents.errors import UsageError

if TYPE_CHECKING:
    from denoagents.node.node import Node


@click.command("set")
@click.argument("path", metavar="pool/NAME|worker/NAME")
@click.argument("values", nargs=-1, required=True, metavar="NAME=VALUE...")
@output_option
@broker_option
@configured
def command(invocation: Invocation, *, path: str, values: tuple[str, ...]) -> None:
    r"""Change live settings of a pool or a worker; every node follows at once.

    \b
    denoagents set pool/summaries weight.app-1=3
    denoagents set worker/app-2 weight=2
    An empty value takes the setting back: weight.app-1=
    """
    changes = dict(read_assignment(word) for word in values)
    from denoagents.cli.operator_node import with_node

    async def change(node: Node) -> dict[str, Any]:
        return await node.control("set", {"path": path, "values": changes})

    found = with_node(invocation, change)
    if invocation.as_json:
        from denoagents.cli.output import print_json

        print_json(found)
    else:
        shown = ", ".join(f"{name}={value}" for name, value in found["values"].items())
        click.echo(f"{found['path']}: {shown or 'nothing set'}")
        for warning in found.get("warnings", ()):
            click.echo(f"denoagents: {warning}", err=True)


def read_assignment(word: str) -> tuple[str, Any]:
    """`name=value`; a number if it is one, None if it is empty."""
    name, equals, value = word.partition("=")
    if not equals or not name:
        raise UsageError(f"{word!r} is no assignment; write for example weight.app-1=3")
    if not value:
        return name, None
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
