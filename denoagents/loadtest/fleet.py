"""The processes of a load run that form a fleet: a broker and workers, started as `up` does."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

from denoagents.loadtest.child import Child

BIND = "tcp://127.0.0.1:0"
"""On this machine, at a port that the kernel chooses."""

JOIN_LIMIT_S = 30.0


class Fleet:
    """Starts a broker and workers, each a process of its own, and ends them by their ids."""

    def __init__(
        self, directory: Path, app: str, workers: int = 2, flags: Sequence[str] = ()
    ) -> None:
        self.endpoint = ""
        self.directory = directory
        self.worker_names = [f"worker-{number + 1}" for number in range(workers)]
        self.children: dict[str, Child] = {}
        self.incarnations: dict[str, int] = {}
        self._app = app
        self._flags = [*flags, "--parent", str(os.getpid()), "--report", "1"]

    async def start(self) -> None:
        """Start all; returns when all workers have joined."""
        store = str(self.directory / "broker.store")
        broker = await self._start("broker", "broker", "--bind", BIND, "--store", store)
        async with asyncio.timeout(JOIN_LIMIT_S):
            self.endpoint = str((await broker.receive("listening"))["endpoint"])
        await asyncio.gather(*(self.start_worker(name) for name in self.worker_names))

    async def start_worker(self, name: str) -> None:
        """Start one worker, or start it anew; returns when it has joined."""
        words = ["worker", self._app, "--broker", self.endpoint, "--name", name]
        words += ["--store", str(self.directory / "state.db")]
        child = await self._start(name, *words)
        async with asyncio.timeout(JOIN_LIMIT_S):
            self.incarnations[name] = int((await child.receive("joined"))["incarnation"])

    async def _start(self, name: str, *words: str) -> Child:
        arguments = ["-m", "denoagents.cli", *words, *self._flags]
        child = self.children[name] = await Child.start(name, arguments, self.directory)
        return child

    def pids(self) -> dict[str, int]:
        """Process ids by name."""
        return {name: child.pid for name, child in self.children.items()}

    async def end(self) -> None:
        """End the workers, then the broker."""
        workers = [child for name, child in self.children.items() if name != "broker"]
        await asyncio.gather(*(child.end() for child in workers))
        if "broker" in self.children:
            await self.children["broker"].end()
