"""One node's figures, as plain values for the status table, dashboards and tests."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Any

import psutil

from denoagents.node.membership import this_host

if TYPE_CHECKING:
    from denoagents.node.node import Node

_process = psutil.Process()


def node_statistics(node: Node) -> dict[str, Any]:
    """Identity, health, actors, links, books and the edge of `node`."""
    runtime, books = node.runtime, node.runtime.books
    sender, receiver = books.sender(), books.receiver()
    host, pid = this_host()
    memory = _process.memory_info()
    times = _process.cpu_times()
    return {
        "name": node.name,
        "role": node.role,
        "state": node.state,
        "incarnation": node.incarnation,
        "endpoint": node.endpoint or "",
        "host": host,
        "pid": pid,
        "actors": len(runtime.cells),
        "activations": runtime.activations,
        "rss_mb": round(memory.rss / 1e6, 1),
        "cpu_s": round(times.user + times.system, 3),
        "uptime_s": round(time.time() - _process.create_time(), 1),
        "loop_lag_ms": round(node.pulse.lag_ns / 1e6, 3),
        "has_lease": runtime.has_lease,
        "parked": node.router.parked,
        "open_requests": node.router.deadlines.count,
        "accounting": {"sender": sender, "receiver": receiver, "off": abs(sender["off"]) + abs(receiver["off"])},
        **node.parts_statistics(),
    }


def guardian_statistics(guardian: Any) -> dict[str, Any]:
    """Restarts, passivations and dead letters of a node's actors."""
    return {
        "restarts": guardian.restarts,
        "passivations": guardian.passivations,
        "passivated": len(guardian.passivated),
        "dead_letters": guardian.dead_letter_count,
        "last_dead_letters": [dataclasses.asdict(letter) for letter in list(guardian.dead_letters)[-5:]],
    }


def link_statistics(mesh: Any) -> list[dict[str, Any]]:
    """Each link of a mesh."""
    return [dataclasses.asdict(link) for link in mesh.statistics().links]
