"""What a fleet's status means: sums, rates, and what an operator must look at; pure.

Rules: every finding names the thing, the figure and the command that shows more; worst first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from denoagents.cli.output import show_bytes, show_seconds

Fields = Mapping[str, Any]
Severity = Literal["bad", "warn", "note"]

MEMORY_WARNING: Final = 120_000_000
"""Bytes of one worker at which it is worth a look (plan 1.2)."""

RECENT_S: Final = 600.0
"""Evictions are told for this long."""

TOTALS: Final = {"sender": "sent", "receiver": "accepted", "reliable": "sent"}
"""The sides of the books, and the term that each side's other terms add up to."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to look at."""

    severity: Severity
    text: str
    command: str = ""
    """What shows more, or helps."""


def findings(status: Fields) -> list[Finding]:
    """All there is to look at, worst first."""
    found = [*_of_broker(status["broker"]), *_of_groups(status["groups"])]
    for node in status["nodes"]:
        found += _of_node(node)
    found += _of_events(status)
    order = ("bad", "warn", "note")
    return sorted(found, key=lambda one: order.index(one.severity))


def totals(status: Fields, before: Fields | None = None, seconds: float = 0.0) -> dict[str, Any]:
    """Counts over all nodes; rates if there was a status `seconds` before."""
    nodes = status["nodes"]
    sums: dict[str, Any] = {
        "workers": sum(node["role"] == "worker" for node in nodes),
        "clients": sum(node["role"] != "worker" for node in nodes),
        "actors": sum(stat(node, "actors") for node in nodes),
        "rss_mb": round(sum(stat(node, "rss_mb") for node in nodes), 1),
        **{side: _sums(nodes, side) for side in TOTALS},
        "silent_nodes": [node["name"] for node in nodes if node.get("statistics") is None],
    }
    if before is not None:
        rates = node_rates(status, before, seconds)
        sums["messages_per_s"] = round(sum(one["messages_per_s"] for one in rates.values()), 1)
    return sums


def node_rates(status: Fields, before: Fields, seconds: float) -> dict[int, dict[str, float]]:
    """By incarnation: messages handled per second, and share of a core, since `before`."""
    earlier = {node["incarnation"]: node for node in before["nodes"] if node.get("statistics")}
    rates = {}
    for node in status["nodes"]:
        old = earlier.get(node["incarnation"])
        if old is not None and node.get("statistics") and seconds > 0:
            handled = received(node, "handled") - received(old, "handled")
            cpu_s = stat(node, "cpu_s") - stat(old, "cpu_s")
            rates[node["incarnation"]] = {
                "messages_per_s": round(max(handled, 0) / seconds, 1),
                "cpu_share": round(max(cpu_s, 0.0) / seconds, 3),
            }
    return rates


def stat(node: Fields, name: str) -> float:
    """A figure of the node's own statistics; 0 while it gives none."""
    statistics = node.get("statistics") or {}
    value = statistics.get(name, 0)
    return value if isinstance(value, int | float) else 0


def received(node: Fields, term: str) -> int:
    """A term of the node's accounting as a receiver."""
    return _term(node, "receiver", term)


def _sums(nodes: list[Fields], side: str) -> dict[str, int]:
    """Every term of one side, over all nodes, in the order in which a node tells them."""
    sums = {TOTALS[side]: 0, "off": 0}
    for node in nodes:
        books = (node.get("statistics") or {}).get("accounting", {}).get(side, {})
        for term, value in books.items():
            sums[term] = sums.get(term, 0) + int(value)
    return sums


def _term(node: Fields, side: str, term: str) -> int:
    statistics = node.get("statistics") or {}
    return int(statistics.get("accounting", {}).get(side, {}).get(term, 0))


# --- findings -----------------------------------------------------------------------------------


def _of_broker(broker: Fields) -> Iterator[Finding]:
    if broker["store_error"]:
        yield Finding(
            "bad", f"the broker cannot keep its records, joins are refused: {broker['store_error']}"
        )
    quarantine = broker.get("quarantine") or {}
    if quarantine.get("messages"):
        count = quarantine["messages"]
        text = f"{count} message{'' if count == 1 else 's'} in quarantine, for somebody to decide"
        yield Finding("warn", text, "denoagents dlq ls")
    if not broker["is_settled"] and broker["waits_for"]:
        names = ", ".join(broker["waits_for"][:5])
        yield Finding("warn", f"placement version {broker['version']} waits for {names}")


def _of_groups(groups: list[Fields]) -> Iterator[Finding]:
    for group in groups:
        see = f"denoagents describe group {group['name']}"
        if not group["workers"]:
            types = ", ".join(group["types"][:5])
            yield Finding("bad", f"no worker is left in group {group['name']} ({types})", see)
        elif not group["is_handed_over"]:
            waiting = group["slots_waiting"]
            text = f"group {group['name']}: {waiting} of 4096 slots are being handed over"
            yield Finding("warn", text, see)
        for one in group["lingering"][:3]:
            text = f"{one['actor']} stays on {one['holder']} until its running turn ends"
            yield Finding("note", text, f"denoagents describe actor {one['actor']}")


def _of_node(node: Fields) -> Iterator[Finding]:
    name, see = node["name"], f"denoagents describe node {node['name']}"
    held, silent = node["tick_age_ms"] / 1000, node["silent_ms"] / 1000
    if node["liveness"] == "silent":
        yield Finding("bad", f"{name} is silent: no heartbeat for {show_seconds(silent)}", see)
    elif node["liveness"] == "blocked":
        text = f"{name} is blocked: a turn has held its loop for {show_seconds(held)}"
        yield Finding("bad", text, see)
    elif node["liveness"] == "starved":
        text = f"{name} is starved: its loop runs {node['loop_lag_ms']:.0f} ms late"
        yield Finding("warn", f"{text}; its machine is too busy", see)
    if not node.get("is_healthy", True):
        reason = node.get("probe_reason") or "no answer"
        yield Finding("bad", f"{name} is unhealthy and owns nothing: {reason}", see)
    elif node.get("probe_failures"):
        failures, reason = node["probe_failures"], node.get("probe_reason") or "no answer"
        yield Finding("warn", f"{name} failed {failures} health checks in a row: {reason}", see)
    if node.get("is_leaving"):
        yield Finding("note", f"{name} is draining: {node.get('slots_held', 0)} slots to go", see)
    yield from _of_statistics(node, name, see)


def _of_statistics(node: Fields, name: str, see: str) -> Iterator[Finding]:
    statistics = node.get("statistics")
    if statistics is None:
        if node["liveness"] in ("alive", "starved"):
            yield Finding("warn", f"{name} did not answer with its statistics in time", see)
        return
    if statistics.get("accounting", {}).get("off"):
        off = statistics["accounting"]["off"]
        yield Finding("bad", f"the accounting of {name} is off by {off}: messages are lost", see)
    if not statistics.get("has_lease", True):
        yield Finding("bad", f"{name} has no lease and starts no turn", see)
    if node["role"] == "worker" and stat(node, "rss_mb") * 1e6 > MEMORY_WARNING:
        size = show_bytes(stat(node, "rss_mb") * 1e6)
        yield Finding("warn", f"{name} holds {size} of memory", see)
    if stat(node, "parked"):
        parked = int(stat(node, "parked"))
        yield Finding("warn", f"{parked} messages wait on {name} for their destination", see)
    yield from _of_disk(statistics.get("queued") or {}, name)
    if stat(node, "dead_letters"):
        letters = statistics.get("last_dead_letters") or [{}]
        last = letters[-1]
        why = f", the last for {last.get('address', '?')}: {last.get('reason', '?')}"
        count = int(stat(node, "dead_letters"))
        yield Finding("warn", f"{name} has {count} dead letters{why}", see)
    admission = statistics.get("admission") or {}
    if admission.get("waiting"):
        text = f"{admission['waiting']} requests wait for admission on {name}: it asks too fast"
        yield Finding("warn", text, "denoagents config show request_handling.backpressure")
    elif admission.get("expired"):
        yield Finding("note", f"{admission['expired']} requests of {name} expired at its edge", see)


def _of_disk(queued: Fields, name: str) -> Iterator[Finding]:
    if queued.get("disk_failure"):
        text = f"{name} cannot put waiting messages on its disk: {queued['disk_failure']}"
        yield Finding("bad", text, "denoagents spill inspect")
    if queued.get("spilled"):
        count, size = int(queued["spilled"]), show_bytes(float(queued.get("spilled_bytes", 0)))
        text = (
            f"{count} messages of {name} wait on its disk ({size}): its memory for queues is full"
        )
        yield Finding("warn", text, "denoagents config show message_router.memory.queue")


def spilled(node: Fields) -> int:
    """Messages of the node that are on its disk."""
    return int(((node.get("statistics") or {}).get("queued") or {}).get("spilled", 0))


def _of_events(status: Fields) -> Iterator[Finding]:
    now_s = status["broker"]["uptime_s"]
    for event in status["events"]:
        ago_s = now_s - event.get("at_s", 0.0)
        if event.get("event") == "evicted" and event.get("role") == "worker" and ago_s < RECENT_S:
            text = f"{event['name']} was lost {show_seconds(ago_s)} ago: {event['reason']}"
            yield Finding("note", text, "denoagents get events")
