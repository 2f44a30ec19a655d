"""`denoagents describe KIND NAME`: everything about one thing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from denoagents.cli.invocation import Invocation, broker_option, configured, output_option

if TYPE_CHECKING:
    from denoagents.node.node import Node

Fields = dict[str, Any]

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

    async def look(node: Node) -> Fields:
        found = await node.control("describe", {"kind": kind, "name": name})
        if kind == "actor":  # where it lives says how it is
            owner = found.get("owner")
            found["node"] = (
                await node.control("describe", {"kind": "node", "name": owner}) if owner else None
            )
        return found

    found = with_node(invocation, look)
    if invocation.as_json:
        from denoagents.cli.output import print_json

        print_json(found)
    elif kind == "type":
        _print_type(found)
    elif kind == "node":
        _print_node(found)
    elif kind == "actor":
        node = found.pop("node") or {}
        names = ("name", "liveness", "state", "endpoint", "host", "pid", "loop_lag_ms", "turn_ms")
        _print({**found, "node": {one: node[one] for one in names if one in node}})
    else:
        _print(found)


def _print(found: Fields) -> None:
    from denoagents.cli.output import print_fields

    print_fields(flatten(found))


def _print_type(found: Fields) -> None:
    from denoagents.cli.output import print_fields, print_table

    signature = found["signature"]
    facts = [(name, found[name]) for name in ("name", "group", "digest")]
    print_fields([*facts, ("doc", signature["doc"] or "none")])
    methods = [
        [call_form(name, method), "stream" if method["stream"] else "reply", _marks(method)]
        for name, method in signature["methods"].items()
    ]
    click.echo()
    print_table(("method", "gives", "marks"), methods, empty="no methods")
    if signature["state"]:
        click.echo()
        state = [[one["name"], one["type"], one.get("default")] for one in signature["state"]]
        print_table(("state", "type", "default"), state)


def call_form(name: str, method: Fields) -> str:
    """As Python writes it: `add(n: int) -> int`."""
    words = [
        f"{one['name']}: {one['type']}" + ("" if one.get("required", True) else " = …")
        for one in method["parameters"]
    ]
    return f"{name}({', '.join(words)}) -> {method['returns']}"


def _marks(method: Fields) -> str:
    return ", ".join(
        mark for mark in ("idempotent", "reliable", "uninterruptible") if method.get(mark)
    )


def _print_node(found: Fields) -> None:
    from denoagents.cli.output import print_table, show_named

    statistics = found.pop("statistics") or {}
    links, letters = statistics.pop("links", []), statistics.pop("last_dead_letters", [])
    pools = statistics.pop("pools", [])
    own = {name: value for name, value in statistics.items() if name not in found}
    _print({**found, **(own or {"statistics": "no answer"})})
    for title, rows in (("link", links), ("pool", pools), ("dead letter", letters)):
        if rows:
            columns = [name for name in rows[0] if name != "incarnation"]
            click.echo()
            click.echo(f"{title}s")
            table = [[show_named(name, row.get(name)) for name in columns] for row in rows]
            print_table([name.replace("_", " ") for name in columns], table)


def flatten(value: Fields, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Nested fields, one a line, their names joined by dots."""
    from denoagents.cli.output import show_named

    for name, inner in value.items():
        path = f"{prefix}{name}"
        if isinstance(inner, dict) and inner:
            yield from flatten(inner, f"{path}.")
        elif isinstance(inner, list) and inner and isinstance(inner[0], dict):
            for number, one in enumerate(inner):
                yield from flatten(one, f"{path}[{number}].")
        else:
            is_empty = inner is None or (isinstance(inner, str | list | dict) and not inner)
            yield path, "none" if is_empty else show_named(path, inner)
