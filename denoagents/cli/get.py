"""`denoagents get KIND`: what there is, a line each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from denoagents.cli.invocation import Invocation, broker_option, configured, output_option

if TYPE_CHECKING:
    from denoagents.node.node import Node

Row = dict[str, Any]

COLUMNS: Final[dict[str, tuple[str, ...]]] = {
    "nodes": ("name", "role", "liveness", "state", "group", "slots_owned", "endpoint", "host",
              "pid"),
    "workers": ("name", "liveness", "state", "group", "weight", "slots_owned", "endpoint", "pid"),
    "clients": ("name", "liveness", "host", "pid", "joined_s"),
    "groups": ("name", "types", "workers", "slots_active", "slots_waiting", "is_handed_over"),
    "types": ("name", "group", "methods"),
    "actors": ("address", "node", "waiting", "turn"),
    "links": ("node", "peer", "state", "dialed", "retained_count", "retained_bytes", "packets_out",
              "bytes_out", "packets_in", "bytes_in", "resends", "duplicates"),
    "pools": ("node", "name", "strategy", "members", "open", "chosen", "imbalance"),
    "settings": ("path", "name", "value"),
    "events": ("at_s", "event", "name", "role", "reason"),
}  # fmt: skip
OF_NODES: Final = {"actors": "actor_list", "links": "links", "pools": "pools"}
"""Kinds that the nodes themselves know: kind to the field of their statistics."""


@click.command("get")
@click.argument("kind", type=click.Choice(list(COLUMNS)))
@output_option
@broker_option
@configured
def command(invocation: Invocation, *, kind: str) -> None:
    """List what there is of a KIND, a line each."""
    from denoagents.cli.operator_node import with_node

    async def look(node: Node) -> list[Row]:
        if kind in OF_NODES:
            status = await node.control("status", {})
            nodes = [one for one in status["nodes"] if one["incarnation"] != node.incarnation]
            return rows_of_nodes(nodes, kind)
        found = await node.control("get", {"kind": kind})
        rows: list[Row] = found["rows"]
        return [one for one in rows if one.get("incarnation") != node.incarnation]

    rows = with_node(invocation, look)
    if kind == "types":
        rows = [{**row, "methods": methods_of(row["signature"])} for row in rows]
    if invocation.as_json:
        from denoagents.cli.output import print_json

        print_json(rows)
        return
    from denoagents.cli.output import print_table, show_named

    columns = COLUMNS[kind]
    table = [[show_named(column, row.get(column, "")) for column in columns] for row in rows]
    print_table([column.replace("_", " ") for column in columns], table, empty=f"no {kind}")


def rows_of_nodes(nodes: list[Row], kind: str) -> list[Row]:
    """What the nodes say of one kind, with the node's name."""
    rows: list[Row] = []
    for node in nodes:
        statistics = node.get("statistics") or {}
        rows += [{"node": node["name"], **one} for one in statistics.get(OF_NODES[kind], ())]
    return rows


def methods_of(signature: Row) -> list[str]:
    """The names of an actor type's methods."""
    return [str(name) for name in signature.get("methods", {})]
