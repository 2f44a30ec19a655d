"""Plays a user's story: one seed, one fleet, one order of events.

    def test_no_transfer_is_lost():
        simulate(transfers, seed=7)           # raises what the story raises, with the way to replay

Rules: the same seed is the same story, in any process: the same trace hash. The story's code and
its actors must not read the real time (`time.time`), start threads, or open sockets.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import zlib
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from denoagents.errors import UsageError
from denoagents.node.settings import NodeSettings
from denoagents.testing.fleet import STORY, SimulatedFleet
from denoagents.testing.quiet import unquiet, view_of
from denoagents.testing.scheduler import ProcessLoop, StoppedClockError, only_own_garbage
from denoagents.testing.world import SimulatedNode, World

Story = Callable[[SimulatedFleet], Coroutine[Any, Any, object]]
QUIET_S = 30.0
"""So long after a story's end, with all faults healed, all is quiet."""
LINES_KEPT = 40
"""Of what happened last, told when a story fails."""


class RuleBrokenError(AssertionError):
    """What must hold in every fleet did not hold in this one."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a story ended."""

    seed: int
    digest: str
    """The hash of everything that happened; the same for the same seed."""
    result: Any
    """What the story returned."""
    elapsed_s: float
    rounds: int

    def __str__(self) -> str:
        return (
            f"seed {self.seed}: {self.elapsed_s:.1f} virtual seconds, {self.rounds} rounds, "
            f"trace {self.digest}"
        )


def simulate(
    story: Story,
    *,
    seed: int = 0,
    settings: NodeSettings | None = None,
    longest_s: float = 3600.0,
    must_be_quiet: bool = True,
    is_told: bool = False,
    replay: str = "",
) -> Ending:
    """Play `story(fleet)` with one seed.

    What the story raises is raised, with notes that say what happened last and how to replay it.
    Afterwards all faults are healed, and the fleet must become quiet: no message may wait for
    ever, no accounting be off, no slot be run by two (`must_be_quiet=False`: not asked for).
    """
    if _is_in_a_loop():
        raise UsageError("simulate runs loops of its own; call it from a plain function")
    with only_own_garbage(), _seeded(seed):
        return _Play(story, seed, settings, is_told=is_told).run(
            longest_s, replay or command(story, seed), must_be_quiet=must_be_quiet
        )


def _is_in_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def command(story: Story, seed: int) -> str:
    """What replays a story in a shell; for a story inside a function, what to write."""
    code = getattr(story, "__code__", None)
    name = getattr(story, "__qualname__", "")
    if code is None or "<" in name:
        return f"simulate({name or story!r}, seed={seed}, is_told=True)"
    path = Path(code.co_filename)
    if path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())
    return f"python -m denoagents.testing {path}:{name} --seed {seed} -v"


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """The story's own use of `random` comes from the seed, too."""
    state = random.getstate()
    random.seed(f"random {seed}")
    try:
        yield
    finally:
        random.setstate(state)


class _Play:
    def __init__(
        self, story: Story, seed: int, settings: NodeSettings | None, *, is_told: bool
    ) -> None:
        self.seed, self._is_told = seed, is_told
        self._told = 0
        self._hash = hashlib.blake2b(digest_size=16)
        self._last: deque[str] = deque(maxlen=LINES_KEPT)
        self._broken: list[str] = []
        self.world = world = World(seed, settings=settings)
        world.scheduler.after_round = self._watch
        world.network.on_frame = self._carried
        self._story = story

    def run(self, longest_s: float, replay: str, *, must_be_quiet: bool) -> Ending:
        """The whole story."""
        try:
            with self._logs():
                result = self._play(longest_s)
                if must_be_quiet:
                    self._end()
        except BaseException as error:
            self._tell_deeds()
            error.add_note("what happened last:\n  " + "\n  ".join(self._last))
            error.add_note(f"seed {self.seed} (trace {self.digest}); replay it: {replay}")
            raise
        scheduler = self.world.scheduler
        return Ending(self.seed, self.digest, result, scheduler.elapsed_s, scheduler.rounds)

    @property
    def digest(self) -> str:
        """The hash of all so far."""
        return self._hash.hexdigest()

    def _play(self, longest_s: float) -> Any:
        world = self.world
        world.start_broker()
        one = world.start(STORY)
        one.is_spared = True
        fleet = SimulatedFleet(world, self.seed, one)

        async def tell() -> Any:
            await fleet.until(lambda: one.is_usable, 30.0)
            return await self._story(fleet)

        task: asyncio.Task[Any] = _task_of(one, tell())
        self._run_until(longest_s, task)
        if not task.done():
            raise StoppedClockError(f"the story did not end within {longest_s:g} virtual seconds")
        return task.result()

    def _run_until(self, limit_s: float, task: asyncio.Task[Any]) -> None:
        self.world.scheduler.run_for(limit_s, lambda: task.done() or bool(self._broken))
        self._judge()

    def _end(self) -> None:
        """All is healed; then nothing may wait for ever."""
        world = self.world
        world.network.heal()
        for one in world.nodes:
            one.process.go_on()
        if not world.has_broker:
            world.start_broker()
        end_s = world.scheduler.elapsed_s + QUIET_S
        while why := next(unquiet(world), ""):
            if world.scheduler.elapsed_s >= end_s:
                raise RuleBrokenError(f"{QUIET_S:g} s after the story's end: {why}")
            world.scheduler.run_for(0.05)
            self._judge()

    # --- at every instant ---------------------------------------------------------------------

    def _judge(self) -> None:
        broken = [*self._broken, *self.world.scheduler.problems]
        if broken:
            raise RuleBrokenError("; ".join(broken[:5]))

    def _watch(self, loop: ProcessLoop) -> None:
        """A loop has run: part of the trace; and what must always hold is looked at."""
        self._hash.update(f"{self.world.scheduler.now_ns} {loop.name}\n".encode())
        if self.world.scheduler.rounds % 64 == 0:
            self._watch_owners()
            for one in self.world.nodes:
                self._watch_books(one)

    def _watch_owners(self) -> None:
        taken: dict[str, int] = {}
        for one in self.world.workers():
            held = view_of(one)._holding if one.is_usable else None  # noqa: SLF001 - looks inside
            if held is None or not one.node.runtime.has_lease:
                continue
            both = taken.get(held.group, 0) & held.active
            if both:
                self._broken.append(f"slot {both.bit_length() - 1} runs on {one} and on another")
            taken[held.group] = taken.get(held.group, 0) | held.active

    def _watch_books(self, one: SimulatedNode) -> None:
        runtime = getattr(one.node, "runtime", None)
        if runtime is None or one.end:
            return
        pages = runtime.books.sender(), runtime.books.receiver(), runtime.books.reliable()
        if any(page["off"] for page in pages):
            self._broken.append(f"the books of {one} are off: {pages}")

    def _carried(self, source: str, target: str, frame: bytes) -> None:
        self._hash.update(f"{source} {target} {len(frame)} {zlib.crc32(frame)}\n".encode())

    # --- telling ------------------------------------------------------------------------------

    def _line(self, at_s: float, what: str) -> None:
        line = f"{at_s:12.6f} {what}"
        self._last.append(line)
        if self._is_told:
            print(line)  # noqa: T201 - the story is what was asked for

    def _tell_deeds(self) -> None:
        happened = self.world.happened
        while self._told < len(happened):
            at_s, deed = happened[self._told]
            self._told += 1
            self._line(at_s, f"=== {deed}")

    @contextlib.contextmanager
    def _logs(self) -> Iterator[None]:
        before = structlog.get_config()
        structlog.configure(
            processors=[self._note_log], wrapper_class=structlog.make_filtering_bound_logger(0)
        )
        try:
            yield
        finally:
            structlog.configure(**before)

    def _note_log(
        self, _: Any, method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        self._tell_deeds()
        running = self.world.scheduler.running
        what = event.pop("event", "")
        facts = " ".join(f"{key}={value}" for key, value in event.items() if key != "exc_info")
        name = running.name if running is not None else "-"
        self._line(self.world.scheduler.elapsed_s, f"{name} [{method}] {what} {facts}")
        raise structlog.DropEvent


def _task_of(one: SimulatedNode, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    with one.process.loop.entered():
        return one.process.loop.create_task(coroutine, context=one.process.loop.context)
