"""`denoagents status`: how the fleet is, for somebody who was woken by it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import click

from denoagents.cli.invocation import Invocation, broker_option, configured, output_option
from denoagents.units import Duration

if TYPE_CHECKING:
    from denoagents.cli.fleet_report import Fields, Finding
    from denoagents.node.node import Node

STYLES: Final = {"bad": "bold red", "warn": "yellow", "note": "cyan"}
MARKS: Final = {"bad": "✗", "warn": "!", "note": "·"}
LIVENESS: Final = {
    "alive": "green",
    "starved": "yellow",
    "blocked": "bold red",
    "silent": "bold red",
}


@click.command("status")
@click.option("--check", is_flag=True, help="Exit with 1 if anything is wrong.")
@click.option(
    "--interval",
    default="500ms",
    show_default=True,
    metavar="DURATION",
    help="Time over which rates are measured; 0 for none.",
)
@output_option
@broker_option
@configured
def command(invocation: Invocation, *, check: bool, interval: str) -> int:
    """Show how the fleet is: what needs attention, nodes, traffic, accounting, last events."""
    interval_s = float(Duration.parse(interval))
    from denoagents.cli.fleet_report import findings, node_rates, totals
    from denoagents.cli.operator_node import with_node

    async def look(node: Node) -> tuple[Fields, Fields | None, float]:
        loop = asyncio.get_running_loop()
        before = await node.control("status", {}) if interval_s else None
        begun = loop.time()
        await asyncio.sleep(interval_s)
        status = await node.control("status", {})
        for one in (status, before or {"nodes": []}):  # this command is no part of the picture
            one["nodes"] = [n for n in one["nodes"] if n["incarnation"] != node.incarnation]
        return status, before, loop.time() - begun

    status, before, seconds = with_node(invocation, look)
    found, sums = findings(status), totals(status, before, seconds)
    rates = node_rates(status, before, seconds) if before else {}
    if invocation.as_json:
        from denoagents.cli.output import print_json

        for one in status["nodes"]:
            one["rates"] = rates.get(one["incarnation"])
        listed = [{"severity": f.severity, "text": f.text, "command": f.command} for f in found]
        print_json({**status, "totals": sums, "findings": listed})
    else:
        _print(status, found, sums, rates)
    return int(check and any(one.severity == "bad" for one in found))


def _print(
    status: Fields,
    found: list[Finding],
    sums: dict[str, Any],
    rates: dict[int, dict[str, float]],
) -> None:
    from denoagents.cli.output import console

    out = console()
    _print_head(status["broker"], sums)
    if found:
        out.print("\n[bold]look at[/]")
        for one in found:
            see = f"  [dim]{one.command}[/]" if one.command else ""
            style = STYLES[one.severity]
            out.print(f"  [{style}]{MARKS[one.severity]} {_escape(one.text)}[/]{see}")
    else:
        out.print("[green]all is well[/]")
    _print_workers([node for node in status["nodes"] if node["role"] == "worker"], rates)
    _print_clients([node for node in status["nodes"] if node["role"] != "worker"])
    _print_accounting(sums)
    _print_events(status)


def _print_head(broker: Fields, sums: dict[str, Any]) -> None:
    from denoagents.cli.fleet_report import TOTALS
    from denoagents.cli.output import console, show, show_seconds

    settled = "settled" if broker["is_settled"] else "not settled"
    out = console()
    out.print(
        f"[bold]{_escape(broker['cluster'])}[/] at {_escape(broker['endpoint'])}: broker up "
        f"{show_seconds(broker['uptime_s'])}, pid {broker['pid']}, "
        f"placement {broker['version']} {settled}"
    )
    parts = [_count(sums["workers"], "worker"), _count(sums["clients"], "client")]
    parts.append(_count(int(sums["actors"]), "actor"))
    if "messages_per_s" in sums:
        parts.append(f"{show(round(sums['messages_per_s']))} messages/s handled")
    off = sum(abs(sums[side]["off"]) for side in TOTALS)
    parts.append("accounting exact" if not off else f"accounting off by {off}")
    out.print(", ".join(parts))


def _print_workers(nodes: list[Fields], rates: dict[int, dict[str, float]]) -> None:
    from rich.text import Text

    from denoagents.cli.fleet_report import received, spilled, stat
    from denoagents.cli.output import console, print_table, show_bytes, show_seconds

    rows = []
    for node in nodes:
        rate = rates.get(node["incarnation"], {})
        knows = node.get("statistics") is not None
        state = "leaving" if node.get("is_leaving") else node["state"]
        rows.append(
            [
                node["name"],
                Text(node["liveness"], style=LIVENESS.get(node["liveness"], "")),
                state if node.get("is_healthy", True) else Text("unhealthy", style="bold red"),
                node["group"],
                node["slots_owned"],
                int(stat(node, "actors")) if knows else "",
                round(rate["messages_per_s"]) if rate else "",
                received(node, "waiting") if knows else "",
                spilled(node) if knows else "",
                f"{rate['cpu_share']:.0%}" if rate else "",
                show_bytes(stat(node, "rss_mb") * 1e6) if knows else "",
                f"{node['loop_lag_ms']:.1f} ms",
                show_seconds(node["joined_s"]),
                f"{node['host']}:{node['pid']}",
            ]
        )
    console().print()
    columns = ("worker", "lives", "state", "group", "slots", "actors", "msg/s", "waiting",
               "spilled", "cpu", "memory", "lag", "joined", "process")  # fmt: skip
    print_table(columns, rows, empty="no workers: start some with `denoagents up APP`")


def _print_clients(nodes: list[Fields]) -> None:
    from rich.text import Text

    from denoagents.cli.fleet_report import stat
    from denoagents.cli.output import console, print_table, show_bytes, show_seconds

    if not nodes:
        return
    rows = []
    for node in nodes:
        knows = node.get("statistics") is not None
        edge = (node.get("statistics") or {}).get("admission") or {}
        rows.append(
            [
                node["name"],
                Text(node["liveness"], style=LIVENESS.get(node["liveness"], "")),
                *(edge.get(name, "") for name in ("granted", "queued", "expired", "waiting")),
                int(stat(node, "open_requests")) if knows else "",
                show_bytes(stat(node, "rss_mb") * 1e6) if knows else "",
                show_seconds(node["joined_s"]),
                f"{node['host']}:{node['pid']}",
            ]
        )
    console().print()
    columns = ("client", "lives", "granted", "queued", "expired", "waiting", "open", "memory",
               "joined", "process")  # fmt: skip
    print_table(columns, rows)


def _print_accounting(sums: dict[str, Any]) -> None:
    from denoagents.cli.fleet_report import TOTALS
    from denoagents.cli.output import console, show

    out = console()
    out.print("\n[bold]accounting[/] of all nodes that answered")
    for side, total in TOTALS.items():
        terms = sums[side]
        if side == "reliable" and not terms[total]:
            continue
        parts = [
            f"{show(value)} {term}" for term, value in terms.items() if term not in (total, "off")
        ]
        shown = [p for p, (_, v) in zip(parts, _inner(terms, total), strict=True) if v] or ["0"]
        name = "reliable" if side == "reliable" else total
        out.print(f"  {name:<8} {show(terms[total])} = {' + '.join(shown)}  (off {terms['off']})")


def _inner(terms: Fields, total: str) -> list[tuple[str, int]]:
    return [(term, value) for term, value in terms.items() if term not in (total, "off")]


def _print_events(status: Fields) -> None:
    from denoagents.cli.output import console, show_seconds

    events = [
        event
        for event in status["events"]
        if event["event"] != "version" and not str(event.get("name")).startswith("operator-")
    ][-5:]
    if not events:
        return
    out = console()
    out.print("\n[bold]last events[/]")
    for event in events:
        ago = show_seconds(max(status["broker"]["uptime_s"] - event["at_s"], 0.0))
        more = " ".join(
            str(event[name]) for name in ("name", "reason") if event.get(name) is not None
        )
        out.print(f"  [dim]{ago:>8} ago[/]  {event['event']:<12} {_escape(more)}")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)
