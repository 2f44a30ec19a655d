"""What a test may leave behind: nothing. Threads, sockets, files, processes are compared."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

MARK = "DENOAGENTS_TEST_RUN"
"""Inherited by every process that a test starts: an orphan is found, whoever its parent is now."""

GRACE_S = 2.0
"""ZeroMQ closes sockets, and the system reaps processes, shortly after it was asked to."""


def mark_this_run() -> None:
    os.environ[MARK] = str(os.getpid())
    folder = tempfile.mkdtemp(prefix="denoagents-test-")
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())  # tmp_path stays readable
    os.environ["TMPDIR"] = tempfile.tempdir = folder


def forget_this_run() -> None:
    folder = Path(tempfile.gettempdir())
    if folder.name.startswith("denoagents-test-") and not any(folder.iterdir()):
        folder.rmdir()


def _sockets() -> frozenset[str]:
    descriptors = Path("/proc/self/fd")
    if not descriptors.exists():
        return frozenset(str(entry.laddr) for entry in psutil.Process().net_connections())
    found = set()
    for descriptor in descriptors.iterdir():
        try:
            target = str(descriptor.readlink())
        except OSError:  # the listing's own descriptor
            continue
        if target.startswith("socket:"):
            found.add(f"fd {descriptor.name} {target}")
    return frozenset(found)


def _processes() -> frozenset[str]:
    """Processes of this run, with orphans and with zombies; not this one."""
    own = os.getpid()
    found = {child.pid: child for child in psutil.Process().children(recursive=True)}
    for process in psutil.process_iter():
        try:
            if process.pid != own and process.environ().get(MARK) == str(own):
                found[process.pid] = process
        except psutil.Error:  # gone, or somebody else's
            continue
    texts = set()
    for pid, process in found.items():
        try:
            line = " ".join(process.cmdline()[:6]) or process.name()
            texts.add(f"{pid} ({process.status()}) {line}")
        except psutil.Error:
            continue
    return frozenset(text for text in texts if "resource_tracker" not in text)


@dataclass(frozen=True)
class Belongings:
    """What this process holds at one instant."""

    threads: frozenset[str]
    sockets: frozenset[str]
    files: frozenset[str]
    processes: frozenset[str]

    @classmethod
    def now(cls, *, with_processes: bool) -> Belongings:
        return cls(
            threads=frozenset(f"{thread.name} {thread.ident}" for thread in threading.enumerate()),
            sockets=_sockets(),
            files=frozenset(path.name for path in Path(tempfile.gettempdir()).iterdir()),
            processes=_processes() if with_processes else frozenset(),
        )

    def left_since(self, before: Belongings) -> list[str]:
        names = ("threads", "sockets", "files", "processes")
        return [
            f"{name}: {', '.join(sorted(left))}"
            for name in names
            if (left := getattr(self, name) - getattr(before, name))
        ]


def left_behind(before: Belongings, *, with_processes: bool) -> list[str]:
    """What is still there after a grace time; empty as soon as nothing is."""
    end = time.monotonic() + GRACE_S
    while True:
        left = Belongings.now(with_processes=with_processes).left_since(before)
        if not left or time.monotonic() > end:
            return left
        time.sleep(0.01)
