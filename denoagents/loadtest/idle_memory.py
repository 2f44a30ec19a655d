"""How much memory an idle actor takes: makes many in a process of their own, and weighs it.

Started by the bench as `python -m denoagents.loadtest.idle_memory COUNT`; says one line of JSON.
"""

from __future__ import annotations

import gc
import sys

import psutil

from denoagents.loadtest.child import Parent
from denoagents.loadtest.event_loop import run_fast
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
        for number in range(count):
            await node.actor(Idle, str(number)).touch()
        gc.collect()
        each = (process.memory_info().rss - before) / count
        Parent.say({"t": "weight", "bytes_per_actor": each, "empty_node_mb": before / 1e6})


def main() -> None:
    """Weigh in this process."""
    run_fast(weigh(int(sys.argv[1])))


if __name__ == "__main__":
    main()
