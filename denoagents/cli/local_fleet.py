"""A broker and workers on one machine as child processes: started, watched, reloaded, drained."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
from collections.abc import Coroutine
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import click
import structlog

from denoagents.cli import watch
from denoagents.cli.application import group_name
from denoagents.cli.child import Child, Ended, run_once
from denoagents.cli.failure import ExitCode, FailedError
from denoagents.cli.lifeline import Lifeline
from denoagents.cli.parent_pipe import teller
from denoagents.cli.stop_signal import StoppedError, StopSignal
from denoagents.errors import DenoagentsError
from denoagents.node.node import Node
from denoagents.node.settings import NodeSettings
from denoagents.security.allow_list import Entry
from denoagents.security.folder import KeysFolder, open_keyring
from denoagents.security.key import Key
from denoagents.security.settings import SecuritySettings

READY_S: Final = 30.0
"""A worker that has not joined after this is reported."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class FleetPlan:
    """What `up` was asked for."""

    app: str
    workers: int = 2
    is_reloading: bool = False
    broker: str = "tcp://127.0.0.1:7400"
    store: Path | None = None
    state: Path = Path(".denoagents/state.db")
    """Where the workers keep durable actors."""
    group: str = ""
    loop: str = "uvloop"
    flags: tuple[str, ...] = ()
    """Configuration flags, handed on to every child."""
    report: int | None = None
    """Pipe to our own parent."""
    security: SecuritySettings = field(default_factory=SecuritySettings)

    def make_worker_key(self) -> None:
        """With keys, the workers of this machine get one, if none of the folder's fits."""
        if not self.security.folder:
            return
        folder = KeysFolder(Path(self.security.folder))
        open_keyring(self.security, "broker")
        open_keyring(replace(self.security, roles=("operator",)), "client")
        name = self.group or group_name(self.app)
        owner = folder.allowed().owner_of(name)
        if owner is None:
            key = Key.make(name, "worker")
            path = key.write(folder.path)
            folder.change(lambda now: now.with_entry(Entry(key.public, name, "worker")))
            log.info("made a key for the workers", file=str(path))

    def worker_arguments(self, name: str, broker: str) -> list[str]:
        """The command line of one worker."""
        words = ["worker", self.app, "--broker", broker, "--name", name, "--loop", self.loop]
        words += ["--group", self.group or group_name(self.app), *self.flags]
        words += ["--store", str(self.state.expanduser().absolute())]
        return [*words, "--set", "actor.check_local_calls=on"] if self.is_reloading else words

    def broker_arguments(self, bind: str, store: Path) -> list[str]:
        """The command line of the broker."""
        words = ["broker", "--bind", bind, "--store", str(store), "--loop", self.loop]
        return [*words, *self.flags]


class LocalFleet:
    """Runs a `FleetPlan` until it is told to end."""

    def __init__(self, plan: FleetPlan) -> None:
        self._plan = plan
        self._lifeline = Lifeline.open()
        self._tell = teller(plan.report)
        self._endpoint = ""
        self._types: list[str] = []
        self._client: Node | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._joined: dict[str, asyncio.Event] = {}
        self._listening = asyncio.Event()
        self._workers: dict[Child, asyncio.Task[Ended]] = {}
        self._reloading = False
        self._reloaded = asyncio.Event()
        self._reloader: asyncio.Task[None] | None = None

    async def run(self) -> int:
        """Start everything, stay until told to end or nothing is left, end everything."""
        stop = StopSignal()
        self._plan.make_worker_key()
        folder = _temporary_folder()
        broker = self._child("broker", [])
        store = self._plan.store or folder / "broker.store"
        broker.arguments = self._plan.broker_arguments(self._plan.broker, store)
        keeping = asyncio.ensure_future(broker.keep())
        try:
            await _first_of(self._listening.wait(), stop.first(), watching=[keeping])
            if keeping.done() or stop.asked:
                return _start_failed(keeping)
            broker.arguments = self._plan.broker_arguments(self._endpoint, store)
            code = await self._run_workers(stop, keeping)
            broker.drain()
            await stop.unless_insisted(_finished(keeping))
        except StoppedError:
            return ExitCode.INTERRUPTED
        finally:
            await self._end(broker, keeping)
            shutil.rmtree(folder, ignore_errors=True)
        return code

    async def _run_workers(self, stop: StopSignal, broker: asyncio.Task[Ended]) -> int:
        for number in range(1, self._plan.workers + 1):
            name = f"{self._plan.group or group_name(self._plan.app)}-{number}"
            self._joined[name] = asyncio.Event()
            self._start_worker(name)
        self._begin(self._connect())
        self._begin(self._announce())
        if self._plan.is_reloading:
            self._reloader = asyncio.ensure_future(self._reload_on_change())
            self._follow(self._reloader)
        while not stop.asked and (self._reloading or any(not one.done() for one in self._ends)):
            running = [end for end in (*self._ends, broker) if not end.done()]
            self._reloaded.clear()
            await _first_of(stop.first(), self._reloaded.wait(), watching=running)
            if broker.done() or (not self._reloading and any(map(_never_can, self._ends))):
                break
        else:
            if not stop.asked:
                log.warning("no worker is left", now="ends")
        return await self._drain_workers(stop)

    @property
    def _ends(self) -> list[asyncio.Task[Ended]]:
        return list(self._workers.values())

    def _start_worker(self, name: str) -> None:
        child = self._child(name, self._plan.worker_arguments(name, self._endpoint))
        self._workers[child] = asyncio.ensure_future(child.keep())

    async def _drain_workers(self, stop: StopSignal) -> int:
        if self._reloader is not None:
            self._reloader.cancel()
        if running := [child for child, end in self._workers.items() if not end.done()]:
            log.info("draining", workers=len(running))
        for child in running:
            child.drain()
        ends = await stop.unless_insisted(_all(list(self._workers.values())))
        bad = [end for end in ends if not end.was_asked]
        return next((end.code for end in bad if end.never_can), int(bool(bad)))

    async def _end(self, broker: Child, keeping: asyncio.Task[Ended]) -> None:
        """Leave nothing behind, whatever happened before."""
        tasks = [*self._tasks, *self._workers.values(), keeping]
        for child in (*self._workers, broker):
            child.kill()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._client is not None:
            with contextlib.suppress(DenoagentsError):
                await self._client.close(drain=False)
        self._lifeline.close()

    # --- what children tell ---------------------------------------------------------------------

    def _child(self, name: str, arguments: list[str]) -> Child:
        return Child(
            name, arguments, self._lifeline, on_event=self._child_told, on_end=self._child_ended
        )

    def _child_told(self, child: Child, fields: dict[str, Any]) -> None:
        if fields.get("event") == "listening":
            self._endpoint = str(fields["endpoint"])
            self._listening.set()
        elif fields.get("event") == "joined" and child.name in self._joined:
            self._types = [str(one) for one in fields.get("types", [])]
            self._joined[child.name].set()

    def _child_ended(self, child: Child, ended: Ended) -> None:
        if child.name in self._joined:
            self._joined[child.name].clear()
        if ended.incarnation and child in self._workers:
            self._begin(self._tell_reaped(ended.incarnation))
        if child.is_stopping:
            return
        if ended.was_asked:
            log.info("child ended", child=child.name, reason="drained")
        else:
            if self._reloading and ended.never_can:  # `_reload` says what follows
                return
            will = f"starts again in {ended.again_in_s:g} s, restart {child.restarts + 1}"
            will = "stays down" if ended.never_can else will
            log.warning("child ended", child=child.name, reason=ended.reason, now=will)

    async def _connect(self) -> None:
        settings = NodeSettings(security=replace(self._plan.security, roles=("operator",)))
        self._client = Node(broker=self._endpoint, name=f"up-{os.getpid()}", settings=settings)
        await self._client.start()

    async def _tell_reaped(self, incarnation: int) -> None:
        """The kernel told us of its end; the broker need not wait for silent heartbeats."""
        with contextlib.suppress(DenoagentsError):
            if self._client is not None:
                await self._client.control("reaped", {"incarnation": incarnation})

    async def _announce(self) -> None:
        try:
            async with asyncio.timeout(READY_S):
                await _all([event.wait() for event in self._joined.values()])
        except TimeoutError:
            late = [name for name, event in self._joined.items() if not event.is_set()]
            log.warning("workers have not joined", workers=late, after_s=READY_S)
            return
        self._tell("ready", endpoint=self._endpoint, types=self._types)
        example = self._types[0] if self._types else "TYPE"
        click.echo(
            f"up: broker {self._endpoint}, {len(self._joined)} workers host "
            f"{', '.join(self._types)}; Ctrl-C ends it. In another terminal:\n"
            f"  denoagents status\n  denoagents describe type {example}\n"
            f"  denoagents ask {example}/KEY METHOD [ARGUMENTS]"
        )

    async def _reload_on_change(self) -> None:
        root = watch.root_of(self._plan.app)
        stamps = await asyncio.to_thread(watch.stamps, root)
        while True:
            files, stamps = await watch.changed(root, stamps)
            log.info("files changed", files=[str(path.relative_to(root)) for path in files[:5]])
            if await run_once(["worker", self._plan.app, "--check"], self._lifeline):
                log.error("the app cannot be loaded; the workers go on with the old one")
                continue
            self._reloading = True
            try:
                await self._reload()
            finally:
                self._reloading = False
                self._reloaded.set()
            log.info("reloaded", workers=len(self._workers))

    async def _reload(self) -> None:
        """One worker after the other; if the new app does not fit to the old one, all at once."""
        for child, end in list(self._workers.items()):
            if end.done():  # drained by an operator
                continue
            joined = self._joined[child.name]
            joined.clear()
            child.reload()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(READY_S):
                    await _first_of(joined.wait(), watching=[end])
            if _never_can(end):
                await self._start_anew()
                return

    async def _start_anew(self) -> None:
        """Drain all, then start all."""
        log.warning(
            "the new app does not fit to the running one",
            now="all workers end, then all start with the new app",
            lost="the actors' state in memory",
        )
        names = [
            child.name
            for child, end in self._workers.items()
            if not end.done() or end.result().never_can
        ]
        for child in self._workers:
            child.drain()
        await asyncio.wait(self._ends)
        self._workers.clear()
        for name in names:
            self._joined[name].clear()
            self._start_worker(name)
        self._reloaded.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(READY_S):
                joined = [self._joined[name].wait() for name in names]
                await _first_of(_all(joined), watching=self._ends)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        self._follow(asyncio.ensure_future(work))

    def _follow(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._finish)

    def _finish(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a task of up failed", error=repr(error))


def _temporary_folder() -> Path:
    """A folder of this process; those of processes that were killed are removed."""
    for left in Path(tempfile.gettempdir()).glob("denoagents-up-*-*"):
        pid = left.name.split("-")[2]
        if pid.isdecimal() and not _is_running(int(pid)):
            shutil.rmtree(left, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"denoagents-up-{os.getpid()}-"))


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True


async def _first_of(*waits: Coroutine[Any, Any, Any], watching: list[asyncio.Task[Any]]) -> None:
    """Return when any of them is done; the tasks in `watching` go on."""
    own = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait([*own, *watching], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in own:
            task.cancel()


async def _all(awaitables: list[Any]) -> list[Any]:
    return await asyncio.gather(*awaitables)


def _never_can(end: asyncio.Task[Ended]) -> bool:
    return end.done() and end.result().never_can


async def _finished(task: asyncio.Task[Ended]) -> Ended:
    return await asyncio.shield(task)


def _start_failed(broker: asyncio.Task[Ended]) -> int:
    """The broker is not there; it has said why itself."""
    if not broker.done():
        return ExitCode.INTERRUPTED
    if broker.result().never_can:
        return broker.result().code
    raise FailedError(f"the broker did not start: {broker.result().reason}")
