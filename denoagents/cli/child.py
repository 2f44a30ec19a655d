"""A child process that is kept running: started again after a crash, with back-off.

Rules: made and run on the main thread's loop (the kernel watches the thread that forked). The child
leads its own session, so that Ctrl-C on the terminal reaches only the parent, which then decides.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from asyncio.subprocess import Process
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from denoagents.cli.failure import ExitCode
from denoagents.cli.lifeline import Lifeline
from denoagents.cli.parent_pipe import read_lines

MODULE: Final = ["-m", "denoagents.cli"]
"""How this very command line is started again."""

BACKOFF_FIRST_S: Final = 0.1
BACKOFF_LONGEST_S: Final = 5.0
CALM_S: Final = 10.0
"""A child that ran this long is started again without delay."""


@dataclass(frozen=True, slots=True)
class Ended:
    """One life of a child, over."""

    code: int
    incarnation: int
    """What it told us before it joined; 0 if it did not get there."""
    ran_s: float
    has_joined: bool = True
    has_drained: bool = True
    """Whether it said so at its end."""
    again_in_s: float = 0.0
    """The back-off, if it is started again."""

    @property
    def was_asked(self) -> bool:
        """Whether it ended on purpose: drained, by us or by an operator."""
        return self.code == ExitCode.OK and self.has_drained

    @property
    def never_can(self) -> bool:
        """Whether another attempt must fail the same way: wrong words, a refusal."""
        return not self.has_joined and self.code in (ExitCode.USAGE, ExitCode.REFUSED)

    @property
    def reason(self) -> str:
        """How it ended, for people."""
        if self.code < 0:
            return f"killed by {signal.Signals(-self.code).name}"
        if self.code == ExitCode.BLOCKED:
            return "ended itself: its loop was held for too long"
        if self.code == ExitCode.OK:
            return "exit code 0, without draining: its own code ended the process"
        return f"exit code {self.code}"


async def run_once(arguments: Sequence[str], lifeline: Lifeline) -> int:
    """Run a short command as a child; returns its exit code."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *MODULE,
        *arguments,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
        pass_fds=lifeline.descriptors,
    )
    try:
        return await process.wait()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise


class Child:
    """One supervised child process."""

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        lifeline: Lifeline,
        *,
        on_event: Callable[[Child, dict[str, Any]], None],
        on_end: Callable[[Child, Ended], None],
    ) -> None:
        self.name = name
        self.arguments = list(arguments)
        self.incarnation = 0
        self.restarts = 0
        self._lifeline = lifeline
        self._on_event, self._on_end = on_event, on_end
        self._process: Process | None = None
        self._stopping = asyncio.Event()
        self._is_reloading = False
        self._told: set[str] = set()

    def __repr__(self) -> str:
        return f"<Child {self.name} pid={self.pid} restarts={self.restarts}>"

    @property
    def is_stopping(self) -> bool:
        """Whether it was told to end for good."""
        return self._stopping.is_set()

    @property
    def pid(self) -> int:
        """The process, 0 while there is none."""
        return self._process.pid if self._process is not None else 0

    async def keep(self) -> Ended:
        """Run it, and again after each crash; returns its last end."""
        backoff = BACKOFF_FIRST_S
        while True:
            ended = await self._live()
            if ended.ran_s >= CALM_S:
                backoff = BACKOFF_FIRST_S
            self._on_end(self, replace(ended, again_in_s=backoff))
            if self._take_reload():
                continue
            if self.is_stopping or ended.was_asked or ended.never_can:
                return ended
            if await self._is_stopped_within(backoff):
                return ended
            backoff = min(backoff * 2, BACKOFF_LONGEST_S)
            self.restarts += 1

    def drain(self) -> None:
        """Ask it to hand over and end; it is not started again."""
        self._stopping.set()
        self._signal(signal.SIGTERM)

    def reload(self) -> None:
        """Ask it to hand over and end; another takes its place at once."""
        self._is_reloading = True
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it now."""
        self._stopping.set()
        self._signal(signal.SIGKILL)

    def _take_reload(self) -> bool:
        """Whether this end was asked for by `reload`; asked once."""
        was, self._is_reloading = self._is_reloading, False
        return was and not self.is_stopping

    async def _is_stopped_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return False
        return True

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def _live(self) -> Ended:
        loop = asyncio.get_running_loop()
        read_fd, write_fd = os.pipe()
        words = [*self.arguments, *self._lifeline.arguments, "--report", str(write_fd)]
        self.incarnation = 0
        self._told.clear()
        begun = loop.time()
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *MODULE,
                *words,
                stdin=subprocess.DEVNULL,
                pass_fds=(write_fd, *self._lifeline.descriptors),
                start_new_session=True,
            )
        except BaseException:
            os.close(read_fd)
            raise
        finally:
            os.close(write_fd)
        if self.is_stopping:  # told while there was no process to tell
            self._signal(signal.SIGTERM)
        listening = asyncio.ensure_future(self._listen(read_fd))
        try:
            code = await self._process.wait()
            with contextlib.suppress(TimeoutError):  # a grandchild may hold the pipe open
                await asyncio.wait_for(asyncio.shield(listening), 0.2)
        except asyncio.CancelledError:
            self.kill()
            await self._process.wait()
            raise
        finally:
            listening.cancel()
        has_joined = not self._told.isdisjoint(("joined", "listening"))
        ran_s = loop.time() - begun
        return Ended(code, self.incarnation, ran_s, has_joined, "drained" in self._told)

    async def _listen(self, descriptor: int) -> None:
        async for fields in read_lines(descriptor):
            incarnation = fields.get("incarnation")
            if isinstance(incarnation, int):
                self.incarnation = incarnation
            self._told.add(str(fields.get("event")))
            self._on_event(self, fields)
