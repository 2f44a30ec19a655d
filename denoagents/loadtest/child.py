"""Child processes of a load run, and the lines of JSON by which parent and child talk.

Rules: the child speaks on stdout and listens on stdin; when stdin ends, its parent is gone and the
child ends, too. Children are ended by their own process id.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import stat
import sys
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from denoagents.errors import DenoagentsError

Message = dict[str, Any]
LINE_LIMIT_BYTES = 4 * 1024 * 1024
"""A report holds some histograms, far below this."""


ORPHANED = 71
"""Exit code of a child whose parent is gone."""


class ChildEndedError(DenoagentsError):
    """A process of the load run ended on its own; its last words are in the message."""

    code = "child_ended"


class Child:
    """One child process, started by `start`; its log goes to a file."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self.log = log
        self._process = process
        self._waiting: dict[str, asyncio.Queue[Message]] = {}
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def start(
        cls, name: str, arguments: Sequence[str], directory: Path, log: Path | None = None
    ) -> Child:
        """Start `python ARGUMENTS` in `directory`."""
        log = log or directory / f"{name}.log"
        with log.open("ab") as errors:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                cwd=directory,
                limit=LINE_LIMIT_BYTES,
                start_new_session=True,  # Ctrl-C is the parent's to handle
            )
        return cls(name, process, log)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process.returncode is None

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            with contextlib.suppress(msgspec.DecodeError):
                message: Message = msgspec.json.decode(line, type=dict[str, Any])
                kind = str(message.get("t") or message.get("event"))
                self._queue(kind).put_nowait(message)
        await self._process.wait()
        for queue in list(self._waiting.values()):
            queue.put_nowait({"t": "ended"})

    def _queue(self, kind: str) -> asyncio.Queue[Message]:
        return self._waiting.setdefault(kind, asyncio.Queue())

    def latest(self, kind: str) -> Message | None:
        """The newest unread message of a kind; older ones are dropped."""
        queue, found = self._queue(kind), None
        while not queue.empty():
            found = queue.get_nowait()
        return found

    async def receive(self, kind: str) -> Message:
        """The next message of a kind; raises `ChildEndedError` when none can come."""
        queue = self._queue(kind)
        if queue.empty() and self._reading.done():
            raise ChildEndedError(self.last_words())
        message = await queue.get()
        if message.get("t") == "ended":
            raise ChildEndedError(self.last_words())
        return message

    def send(self, message: Message) -> None:
        """Send a command; nothing happens if the child is gone."""
        assert self._process.stdin is not None
        if self.is_running:
            self._process.stdin.write(msgspec.json.encode(message) + b"\n")

    def last_words(self) -> str:
        with contextlib.suppress(OSError):
            tail = self.log.read_text(errors="replace").strip().splitlines()[-12:]
            return f"{self.name} ended with code {self._process.returncode}:\n" + "\n".join(tail)
        return f"{self.name} ended with code {self._process.returncode}"

    async def wait(self) -> int:
        """Wait for its end; returns the exit code."""
        await self._reading
        return await self._process.wait()

    def kill(self) -> None:
        """SIGKILL, by its id, at once."""
        if self.is_running:
            self._process.kill()

    async def end(self, grace_s: float = 5.0) -> None:
        """Close its stdin and ask it to end (SIGTERM); after `grace_s`, kill it."""
        if self.is_running:
            assert self._process.stdin is not None
            self._process.stdin.close()
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace_s):
                    await self._process.wait()
            self.kill()
        await self.wait()


def end_with_parent() -> None:
    """From now on this process ends when its stdin does, if that is a pipe: its parent is gone."""

    def wait() -> None:
        while os.read(0, 4096):  # not sys.stdin: its lock would outlive this thread
            pass
        os._exit(ORPHANED)

    if stat.S_ISFIFO(os.fstat(0).st_mode) or stat.S_ISSOCK(os.fstat(0).st_mode):
        threading.Thread(target=wait, name="parent", daemon=True).start()


class Parent:
    """The child's end of the talk."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader

    @classmethod
    async def connect(cls) -> Parent:
        """Listen on stdin, which must be a pipe."""
        reader = asyncio.StreamReader(limit=LINE_LIMIT_BYTES)
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        return cls(reader)

    @staticmethod
    def say(message: Message) -> None:
        """Send one message to the parent; a parent that is gone hears nothing."""
        with contextlib.suppress(BrokenPipeError):
            os.write(1, msgspec.json.encode(message) + b"\n")

    async def commands(self) -> AsyncIterator[Message]:
        """What the parent says, until it ends."""
        while line := await self._reader.readline():
            yield msgspec.json.decode(line, type=dict[str, Any])
