"""One node's figures, as plain values for the status table, dashboards and tests."""

from __future__ import annotations

import dataclasses
import heapq
from typing import Any, Protocol

import psutil

from denoagents._native.router import Router
from denoagents.actor.guardian import Guardian
from denoagents.link.mesh import Mesh
from denoagents.node.host import this_host

LISTED = 500
"""Actors that one node names in its report."""

_process = psutil.Process()


class Figured(Protocol):
    """What the figures are made of."""

    name: str
    role: str
    incarnation: int
    router: Router

    @property
    def state(self) -> str:
        """new, starting, running, rejoining, evicted, closing or closed."""

    @property
    def endpoint(self) -> str | None:
        """Where the node listens."""

    @property
    def uptime_ns(self) -> int:
        """Since its start."""

    @property
    def lag_ns(self) -> int:
        """How late the loop's newest tick was."""

    def parts(self) -> dict[str, Any]:
        """What the node's rooms say."""


def node_statistics(node: Figured) -> dict[str, Any]:
    """Everything that a node says of itself."""
    host, pid = this_host()
    identity = {
        "name": node.name,
        "role": node.role,
        "state": node.state,
        "incarnation": node.incarnation,
        "endpoint": node.endpoint or "",
        "host": host,
        "pid": pid,
        "uptime_s": round(node.uptime_ns / 1e9, 1),
        "loop_lag_ms": round(node.lag_ns / 1e6, 3),
    }
    return {**identity, **process_statistics(), **router_statistics(node.router), **node.parts()}


def process_statistics() -> dict[str, Any]:
    """Memory (MB) and CPU (seconds) of this process since its start."""
    times = _process.cpu_times()
    return {
        "rss_mb": round(_process.memory_info().rss / 1e6, 1),
        "cpu_s": round(times.user + times.system, 3),
    }


def router_statistics(router: Router) -> dict[str, Any]:
    """Actors, open requests, the books; `off` is by how much they fail (0 when all is well)."""
    sender, receiver = router.books.sender(), router.books.receiver()
    reliable = router.books.reliable()
    return {
        "actors": len(router.runtime.cells),
        "actor_list": actor_list(router),
        "activations": router.runtime.activations,
        "has_lease": router.runtime.has_lease,
        "parked": router.parked,
        "queued": queue_statistics(router),
        "kept": {
            "bytes": router.kept,
            "answer_bytes": router.runtime.windows.bytes,
            "limit_bytes": router.reliable_limit,
        },
        "open_requests": router.deadlines.count,
        "accounting": {
            "sender": sender,
            "receiver": receiver,
            "reliable": reliable,
            "off": abs(sender["off"]) + abs(receiver["off"]) + abs(reliable["off"]),
            "spilled": router.runtime.spilled,
        },
    }


def queue_statistics(router: Router) -> dict[str, Any]:
    """Bytes of waiting messages in memory, their limit, and what of them is on the disk."""
    disk = router.runtime.disk
    return {
        **router.runtime.queued,
        "spilled_bytes": 0 if disk is None else disk.size,
        "disk_failure": "" if disk is None else disk.failure,
    }


def actor_list(router: Router) -> list[dict[str, Any]]:
    """Up to LISTED actors, those with the most messages waiting first."""
    cells = heapq.nlargest(LISTED, router.runtime.cells.values(), key=lambda cell: cell.waiting)
    return [
        {
            "address": cell.address,
            "waiting": cell.waiting,
            "turn": "" if cell.turn is None else cell.turn.label,
        }
        for cell in cells
    ]


def guardian_statistics(guardian: Guardian) -> dict[str, Any]:
    """Restarts, passivations and dead letters of a node's actors."""
    return {
        "restarts": guardian.restarts,
        "passivations": guardian.passivations,
        "passivated": len(guardian.passivated),
        "dead_letters": guardian.dead_letter_count,
        "last_dead_letters": [dataclasses.asdict(letter) for letter in guardian.dead_letters][-5:],
    }


def link_statistics(mesh: Mesh) -> list[dict[str, Any]]:
    """Each link of a mesh."""
    return [dataclasses.asdict(link) for link in mesh.statistics().links]
