"""A child process that does not outlive its parent, even when the parent is killed with SIGKILL.

Linux: the kernel sends SIGKILL when the parent ends (PR_SET_PDEATHSIG). Elsewhere, the named
fallback: a pipe whose other end only the parent holds; its end of file ends the child. A
parent that hands down no pipe there is looked for every half second.

Rules: the parent starts children from its main thread (the kernel watches the thread that forked);
both ways survive `exec`, so a worker may replace itself.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import click

ON_LINUX: Final = os.uname().sysname == "Linux"

PR_SET_PDEATHSIG: Final = 1
"""From <sys/prctl.h>; survives exec, is cleared by fork."""

ASK_EVERY_S: Final = 0.5
"""Without kernel and pipe (a parent that gave only its id), the parent is looked for this often."""

ORPHANED: Final = 71
"""Exit code of a child that saw its parent's end by the pipe."""


@dataclass(frozen=True, slots=True)
class ChildFlags:
    """What a parent told this process about itself."""

    parent: int | None = None
    lifeline: int | None = None
    report: int | None = None


@dataclass(slots=True)
class Lifeline:
    """The parent's side: what its children need in order to end with it."""

    read_fd: int = -1
    _write_fd: int = field(default=-1, repr=False)

    @classmethod
    def open(cls, *, by_kernel: bool = ON_LINUX) -> Lifeline:
        """A lifeline for the children of this process; a pipe only where the kernel cannot help."""
        return cls() if by_kernel else cls(*os.pipe())

    @property
    def arguments(self) -> list[str]:
        """Flags for the child's command line."""
        words = ["--parent", str(os.getpid())]
        return words if self.read_fd < 0 else [*words, "--lifeline", str(self.read_fd)]

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What the child must inherit."""
        return () if self.read_fd < 0 else (self.read_fd,)

    def close(self) -> None:
        """Let go; children that are left end now if they hold the pipe."""
        for descriptor in (self.read_fd, self._write_fd):
            if descriptor >= 0:
                with contextlib.suppress(OSError):
                    os.close(descriptor)
        self.read_fd = self._write_fd = -1


def hold(parent: int | None, lifeline: int | None) -> None:
    """The child's side: from now on this process ends when process `parent` does."""
    if parent is None:
        return
    if lifeline is not None:
        _watch(_wait_for_end, lifeline)
    elif not ON_LINUX:
        _watch(_ask_again, parent)
    else:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:  # it ended before we could ask
        os._exit(ORPHANED)


def _watch(watch: Callable[[int], None], number: int) -> None:
    threading.Thread(target=watch, args=(number,), name="lifeline", daemon=True).start()


def _ask_again(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(ASK_EVERY_S)
    os._exit(ORPHANED)


def _wait_for_end(descriptor: int) -> None:
    with contextlib.suppress(OSError):
        while os.read(descriptor, 1):
            pass
    os._exit(ORPHANED)


def child_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Flags of every long-running command, set by a parent that wants it to end with it.

    The process holds on to its parent before anything else runs.
    """

    @functools.wraps(function)
    def call(
        *words: Any, parent: int | None, lifeline: int | None, report: int | None, **others: Any
    ) -> Any:
        hold(parent, lifeline)
        return function(*words, child=ChildFlags(parent, lifeline, report), **others)

    for option in (
        click.option("--parent", type=int, hidden=True, help="End when this process ends."),
        click.option("--lifeline", type=int, hidden=True, help="Pipe whose end of file ends us."),
        click.option("--report", type=int, hidden=True, help="Pipe for JSON lines to the parent."),
    ):
        call = option(call)
    return call
