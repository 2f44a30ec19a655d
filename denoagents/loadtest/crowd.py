"""The client processes of a demo, driven together: begin, windows, reports."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from denoagents.loadtest.child import Child, Message
from denoagents.loadtest.client import ClientOptions
from denoagents.loadtest.tally import Record

READY_LIMIT_S = 30.0


class Crowd:
    """Some client processes that do the same at the same time."""

    def __init__(self, clients: Sequence[ClientOptions], directory: Path) -> None:
        self._options = clients
        self._directory = directory
        self._children: list[Child] = []
        self.progress: dict[str, Message] = {}
        """What each client said last."""

    async def start(self) -> None:
        """Start all; returns when each has joined the fleet."""
        for options in self._options:
            words = ["-m", "denoagents.loadtest.client", msgspec.json.encode(options).decode()]
            child = await Child.start(f"client-{options.number}", words, self._directory)
            self._children.append(child)
        async with asyncio.timeout(READY_LIMIT_S):
            await asyncio.gather(*(child.receive("ready") for child in self._children))

    def pids(self) -> dict[str, int]:
        """Process ids by name."""
        return {child.name: child.pid for child in self._children}

    def _tell(self, message: Message) -> None:
        for child in self._children:
            child.send(message)

    def begin(self, at_ns: int) -> None:
        """All clients begin their schedules at that time."""
        self._tell({"t": "begin", "at_ns": at_ns})

    async def open_window(self, name: str) -> None:
        """Returns when every client counts under `name`."""
        self._tell({"t": "open", "name": name})
        await asyncio.gather(*(child.receive("opened") for child in self._children))

    def close_window(self, name: str, at_ns: int) -> None:
        """The window ended at that time."""
        self._tell({"t": "close", "name": name, "at_ns": at_ns})

    def sample(self) -> tuple[int, int, int]:
        """Offered, ended and wrong so far, all clients together."""
        for child in self._children:
            latest = child.latest("progress")
            if latest is not None:
                self.progress[child.name] = latest
        told = self.progress.values()
        offered, ended, wrong = (sum(m[k] for m in told) for k in ("offered", "ended", "wrong"))
        return offered, ended, wrong

    async def reports(self) -> Record:
        """Wait until every client is done; what they saw, merged."""
        record = Record()
        for child in self._children:
            message = await child.receive("report")
            self.progress[child.name] = message
            record.merge(Record.decode(message["record"]))
        return record

    async def statistics(self) -> dict[str, dict[str, Any]]:
        """Each client node's statistics, by name, with its own time of reading (`at_ns`)."""
        self._tell({"t": "statistics"})
        answers = await asyncio.gather(*(child.receive("statistics") for child in self._children))
        return {
            child.name: answer["of"] for child, answer in zip(self._children, answers, strict=True)
        }

    async def end(self) -> None:
        """End all processes."""
        await asyncio.gather(*(child.end() for child in self._children))
