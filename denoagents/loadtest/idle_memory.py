"""How much memory an idle actor takes: makes many in a process of their own, and weighs it.

Started by the bench as `python -m denoagents.loadtest.idle_memory COUNT`; says one line of JSON.
"""

from __future__ import annotations

import base64
import gc
import sys

import psutil

from denoagents._native.clock import Clock
from denoagents._native.histogram import Histogram
from denoagents.loadtest.child import Parent, end_with_parent
from denoagents.loadtest.event_loop import run_fast
from denoagents.loadtest.footprint import MB
from denoagents.loadtest.targets import Idle
from denoagents.node.node import Node


async def weigh(count: int) -> None:
    """Make `count` actors; say how many bytes each added to the resident memory."""
    process = psutil.Process()
    async with Node() as node:
        for number in range(1000):  # what is made once is not the actors'
            await node.actor(Idle, f"warm-{number}").touch()
        gc.collect()
        before = process.memory_info().rss
        clock, latency = Clock(), Histogram()
        for number in range(count):
            before_ns = clock.now_ns()
            await node.actor(Idle, str(number)).touch()
            latency.record(clock.now_ns() - before_ns)
        gc.collect()
        each = (process.memory_info().rss - before) / count
        text = base64.b64encode(latency.to_bytes()).decode()
        Parent.say(
            {"t": "weight", "bytes_per_actor": each, "empty_node_mb": before / MB, "latency": text}
        )


def main() -> None:
    """Weigh in this process."""
    end_with_parent()
    run_fast(weigh(int(sys.argv[1])))


if __name__ == "__main__":
    main()
