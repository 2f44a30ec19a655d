"""A peer: another way to do the same workloads, measured alternately with ours.

Rules: peers live beside the package (`bench/peers/NAME.py`), not in it; each is a process that
answers one JSON line for each stretch it is asked to measure.
"""

from __future__ import annotations

import base64
from pathlib import Path

from denoagents._native.histogram import Histogram
from denoagents.errors import UsageError
from denoagents.loadtest.child import Child
from denoagents.loadtest.sample import Sample

DIRECTORY = Path(__file__).parents[2] / "bench" / "peers"
PEERS = {"zmq-asyncio": "zmq_asyncio.py"}
COMPARED = frozenset(
    {"tell_between_processes", "ask_between_processes", "ask_between_processes_100"}
    | {"payload_1KiB", "payload_64KiB", "payload_1MiB"}
)
"""Workloads that a peer can do."""


class Peer:
    """One running peer."""

    def __init__(self, name: str, child: Child) -> None:
        self.name = name
        self._child = child

    @classmethod
    async def start(cls, name: str, directory: Path) -> Peer:
        """Start the peer's process.

        Raises:
            UsageError: it is unknown, or this installation has no `bench/peers`.
        """
        script = DIRECTORY / PEERS.get(name, "")
        if name not in PEERS:
            raise UsageError(f"there is no peer {name!r}; known: {', '.join(PEERS)}")
        if not script.is_file():
            raise UsageError(
                f"{script} is not there: peers are in the source tree, not in the wheel"
            )
        return cls(name, await Child.start(name, [str(script)], directory))

    async def measure(self, workload: str, seconds: float) -> Sample:
        """One stretch of a workload."""
        self._child.send({"workload": workload, "seconds": seconds})
        told = await self._child.receive("sample")
        latency = Histogram.from_bytes(base64.b64decode(told["latency"]))
        return Sample(told["n"], told["seconds"], latency)

    async def end(self) -> None:
        """End the process and what it started."""
        await self._child.end()
