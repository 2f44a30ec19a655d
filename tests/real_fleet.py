"""A fleet of real processes for tests: a broker and workers by their command lines, ended by id."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import psutil

from denoagents import Node, NodeSettings
from denoagents.errors import UnreachableError
from denoagents.limits.settings import AdmissionSettings

APP = Path(__file__).parent / "process" / "apps" / "proving.py"
OPEN = NodeSettings(admission=AdmissionSettings(rate=None))
"""A client whose edge lets everything in."""


def load(path: Path = APP) -> Any:
    """The app's module, for typed refs in the test's own process."""
    if path.stem not in sys.modules:
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = module
        spec.loader.exec_module(module)
    return sys.modules[path.stem]


def wait_until(condition: Callable[[], Any], seconds: float = 10.0) -> float:
    """Wait, blocking, for what must become true; how long it took."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < seconds, f"not true within {seconds} s"
        time.sleep(0.02)
    return time.monotonic() - begun


async def until(condition: Callable[[], Any], seconds: float = 10.0) -> float:
    """The same on the loop; `condition` may be asynchronous."""
    begun = time.monotonic()
    while True:
        found = condition()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return time.monotonic() - begun
        assert time.monotonic() - begun < seconds, f"not true within {seconds} s"
        await asyncio.sleep(0.01)


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class Child:
    """One command of denoagents as a child process, which tells its events through a pipe."""

    def __init__(self, name: str, folder: Path, *words: object) -> None:
        self.name, self.folder = name, folder
        self.events: list[dict[str, Any]] = []
        self._left = b""
        self._fd, write_fd = os.pipe()
        os.set_blocking(self._fd, False)
        self.log_path = folder / f"{name}.log"
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
        environment["TMPDIR"] = str(folder)  # what a killed process leaves goes with the test
        command = [sys.executable, "-m", "denoagents.cli", *map(str, words)]
        with self.log_path.open("a") as log:
            self.process = subprocess.Popen(
                [*command, "--parent", str(os.getpid()), "--report", str(write_fd)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder,
                env=environment, pass_fds=(write_fd,), start_new_session=True,
            )  # fmt: skip
        os.close(write_fd)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    @property
    def rss(self) -> int:
        return psutil.Process(self.pid).memory_info().rss

    @property
    def code(self) -> int | None:
        return self.process.poll()

    def told(self, event: str) -> dict[str, Any] | None:
        """What it told last under this name."""
        with contextlib.suppress(BlockingIOError):
            while got := os.read(self._fd, 65536):
                self._left += got
        *lines, self._left = self._left.split(b"\n")
        self.events += [json.loads(line) for line in lines]
        return next((one for one in reversed(self.events) if one["event"] == event), None)

    def wait_for(self, event: str, seconds: float = 20.0) -> dict[str, Any]:
        """Wait, blocking, until it tells this."""
        end = time.monotonic() + seconds
        while (found := self.told(event)) is None:
            assert self.code is None, f"{self.name} ended with {self.code}:\n{self.log}"
            assert time.monotonic() < end, f"{self.name} tells no {event}:\n{self.log}"
            time.sleep(0.01)
        return found

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    async def ended(self, seconds: float = 10.0) -> int | None:
        """Its exit code, waited for on the loop: this process may be a member that it needs."""
        await until(lambda: self.code is not None, seconds)
        return self.code

    def freeze(self) -> None:
        """SIGSTOP; returns when the kernel has done it."""
        self.signal(signal.SIGSTOP)
        wait_until(lambda: psutil.Process(self.pid).status() == psutil.STATUS_STOPPED)

    def thaw(self) -> None:
        self.signal(signal.SIGCONT)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __repr__(self) -> str:
        return f"<Child {self.name} {self.pid}>"


class RealFleet:
    """A broker with a store, and workers that host an app."""

    def __init__(self, folder: Path, app: Path = APP, flags: Sequence[str] = ()) -> None:
        self.folder, self.app, self.flags = folder, app, flags
        self.children: list[Child] = []
        self.workers: dict[str, Child] = {}
        self.broker = self.start_broker("tcp://127.0.0.1:0")
        self.endpoint: str = self.broker.wait_for("listening")["endpoint"]

    def start_broker(self, bind: str = "") -> Child:
        """Start it (again, where it was): it keeps its records in one file."""
        words = ("broker", "--bind", bind or self.endpoint, "--store", self.folder / "broker.db")
        self.broker = Child("broker", self.folder, *words, *self.flags)
        self.children.append(self.broker)
        return self.broker

    def start(self, *names: str, app: Path | None = None) -> list[Child]:
        """Start workers, and wait until all have joined."""
        begun = [self.begin(name, app=app) for name in names]
        for one in begun:
            one.wait_for("joined")
        return begun

    def begin(self, name: str, *words: object, app: Path | None = None) -> Child:
        """Start one worker, and do not wait."""
        child = Child(
            name, self.folder, "worker", app or self.app, "--broker", self.endpoint,
            "--name", name, *self.flags, *words,
        )  # fmt: skip
        self.children.append(child)
        self.workers[name] = child
        return child

    def client(self, name: str = "", settings: NodeSettings = OPEN, **others: Any) -> Node:
        """A client in this process."""
        return Node(broker=self.endpoint, name=name or None, settings=settings, **others)

    def end(self) -> None:
        for child in reversed(self.children):
            child.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


async def members(client: Node) -> dict[str, dict[str, Any]]:
    """Name -> row of `status`, of everybody in the fleet."""
    return {row["name"]: row for row in (await client.control("status"))["nodes"]}


async def settled(client: Node, *names: str, seconds: float = 10.0) -> None:
    """Wait until the fleet has exactly these workers, and its hand-over is done."""

    async def is_settled() -> bool:
        try:
            status = await client.control("status", {"statistics": False})
        except UnreachableError:  # the broker is being started again
            return False
        rows = [row for row in status["nodes"] if row["role"] == "worker"]
        done = status["broker"]["is_settled"]
        done = done and all(row["slots_owned"] == row["slots_held"] for row in rows)
        return done and (not names or {row["name"] for row in rows} == set(names))

    await until(is_settled, seconds)


async def refs_on(client: Node, cls: type, worker: Child, count: int, prefix: str) -> list[Any]:
    """Refs to `count` actors that live in this worker; `cls` has a method `where`."""
    found: list[Any] = []
    number = 0
    while len(found) < count:
        refs = [client.actor(cls, f"{prefix}{number + i}") for i in range(2 * count + 8)]
        number += len(refs)
        pids = await asyncio.gather(*[ref.where() for ref in refs])
        found += [ref for ref, pid in zip(refs, pids, strict=True) if pid == worker.pid]
    return found[:count]


def key_of(ref: Any) -> str:
    """The key of the actor that a ref stands for."""
    return repr(ref).partition("/")[2].rstrip(">")
