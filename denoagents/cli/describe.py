"""`denoagents describe KIND NAME`: everything about one thing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from denoagents.cli.invocation import Invocation, broker_option, configured, output_option

if TYPE_CHECKING:
    from denoagents.node.node import Node

KINDS = ("actor", "node", "group", "type", "pool")


@click.command("describe")
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("name", metavar="NAME|ADDRESS")
@output_option
@broker_option
@configured
def command(invocation: Invocation, *, kind: str, name: str) -> None:
    """Show everything about one actor (TYPE/KEY), node, group, type or pool."""
    from denoagents.cli.operator_node import with_node

    async def look(node: Node) -> dict[str, Any]:
        return await node.control("describe", {"kind": kind, "name": name})

    found = with_node(invocation, look)
    if invocation.as_json:
        from denoagents.cli.output import print_json

        print_json(found)
        return
    from denoagents.cli.output import print_fields

    print_fields(flatten(found))


def flatten(value: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Nested fields, one a line, their names joined by dots."""
    for name, inner in value.items():
        path = f"{prefix}{name}"
        if isinstance(inner, dict) and inner:
            yield from flatten(inner, f"{path}.")
        elif isinstance(inner, list) and inner and isinstance(inner[0], dict):
            for number, one in enumerate(inner):
                yield from flatten(one, f"{path}[{number}].")
        else:
            yield path, "none" if inner in ({}, [], None, "") else inner
