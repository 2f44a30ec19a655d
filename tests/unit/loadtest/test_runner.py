import asyncio
import itertools

import pytest

from denoagents._native.clock import Clock
from denoagents.errors import OutcomeUnknownError, RequestTimeoutError
from denoagents.loadtest.runner import Load, OpenLoop
from denoagents.loadtest.schedule import plan_schedule
from denoagents.loadtest.tally import MAIN, Record

MS = 1_000_000


class SteppingPacer:
    """Moves a virtual clock to each due time, and lets what is ready run."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    async def sleep_until(self, due_ns: int) -> None:
        await asyncio.sleep(0)
        self.clock.advance_to(due_ns)

    def close(self) -> None: ...


class Target:
    """Answers after a set time of the virtual clock's steps, or does what `script` says."""

    def __init__(self, script=None) -> None:
        self.script = script or {}
        self.calls: list[str] = []

    async def __call__(self, priority: str) -> bool:
        number = len(self.calls)
        self.calls.append(priority)
        step = self.script.get(number, True)
        if isinstance(step, BaseException):
            raise step
        if isinstance(step, asyncio.Event):
            await step.wait()
            return True
        return step


def run(target, schedule, **load) -> OpenLoop:
    clock = Clock.virtual(5)
    loop = OpenLoop(Load(schedule, **load), target, clock, SteppingPacer(clock))
    asyncio.run(loop.run())
    return loop


def test_every_request_is_offered_and_priorities_take_turns():
    target = Target()
    loop = run(target, [0, 5 * MS, 9 * MS, 9 * MS])
    assert target.calls == ["high", "normal", "low", "high"]
    assert (loop.offered, loop.ended, loop.record.total().right) == (4, 4, 4)
    assert loop.record.by_priority["high"].right == 2


def test_wrong_answers_and_errors_are_counted_apart():
    script = {1: False, 2: RequestTimeoutError(), 3: OutcomeUnknownError(), 4: ValueError("x")}
    total = run(Target(script), range(6)).record.total()
    assert (total.right, total.wrong) == (2, 1)
    assert total.errors == {"timeout": 1, "outcome_unknown": 1, "ValueError": 1}
    assert total.latency.count == 3
    assert total.ended == 6


def test_a_stall_shows_in_the_requests_that_it_delays():
    """One request in flight at most: the others wait, and their waiting counts."""

    class Stall(Target):
        async def __call__(self, priority: str) -> bool:
            if not self.calls:
                clock.advance_to(1000 * MS)
            return await super().__call__(priority)

    clock = Clock.virtual(0)
    loop = OpenLoop(
        Load([0, 10 * MS, 20 * MS], outstanding=1), Stall(), clock, SteppingPacer(clock)
    )
    record = asyncio.run(loop.run())
    assert record.total().latency.min_ns >= 980 * MS


def test_latency_counts_from_the_scheduled_time_not_from_the_late_start():
    clock = Clock.virtual(0)
    loop = OpenLoop(Load([0, 1 * MS]), Target(), clock, SteppingPacer(clock))

    async def main():
        clock.advance_to(50 * MS)
        return await loop.run(begin_ns=0)

    record = asyncio.run(main())
    assert record.total().latency.min_ns >= 49 * MS
    assert loop.lateness.max_ns >= 50 * MS


def test_a_cancelled_run_ends_what_is_in_flight():
    async def main():
        clock = Clock.virtual(0)
        loop = OpenLoop(Load([0]), Target({0: asyncio.Event()}), clock, SteppingPacer(clock))
        task = asyncio.create_task(loop.run())
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0)
        return loop.record.total()

    assert asyncio.run(main()).errors == {"cancelled": 1}


def test_a_request_belongs_to_a_window_if_any_part_of_its_life_does():
    record = Record()
    record.add("high", 0, 9)
    record.open_window("kill", 10)
    record.add("high", 5, 12)
    record.add("high", 11, 12)
    record.close_window("kill", 20)
    record.add("high", 15, 99)
    record.add("high", 21, 30)
    assert {name: tally.right for name, tally in record.tallies.items()} == {MAIN: 2, "kill": 3}


def test_a_record_crosses_processes_and_merges_without_loss():
    record = Record()
    record.open_window("kill", 50)
    for end in range(1, 100):
        record.add("low", 0, end * MS if end % 10 else end, error="timeout" if end == 7 else "")
    copy = Record.decode(record.encode())
    copy.merge(Record.decode(record.encode()))
    assert copy.total().ended == 2 * record.total().ended == 198
    assert copy.total().latency.quantile(0.5) == record.total().latency.quantile(0.5)


@pytest.mark.parametrize("arrivals", ["poisson", "fixed"])
def test_a_schedule_is_exact_in_number_ordered_and_the_same_for_a_seed(arrivals):
    schedule = plan_schedule(arrivals, 250, 4, seed=3)
    assert len(schedule) == 1000
    assert list(schedule) == sorted(schedule)
    assert 0 <= schedule[0] <= schedule[-1] < 4_000_000_000
    assert schedule == plan_schedule(arrivals, 250, 4, seed=3)


def test_poisson_gaps_vary_as_they_should():
    schedule = plan_schedule("poisson", 1000, 20, seed=1)
    gaps = [b - a for a, b in itertools.pairwise(schedule)]
    mean = sum(gaps) / len(gaps)
    deviation = (sum((g - mean) ** 2 for g in gaps) / len(gaps)) ** 0.5
    assert 0.95 < deviation / mean < 1.05


def test_the_kernels_timer_is_punctual():
    from denoagents.loadtest.pacer import open_pacer

    async def main():
        clock = Clock()
        pacer = open_pacer(clock)
        try:
            late = []
            for _ in range(20):
                due = clock.now_ns() + 2 * MS
                await pacer.sleep_until(due)
                late.append(clock.now_ns() - due)
            return sorted(late)
        finally:
            pacer.close()

    late = asyncio.run(main())
    assert late[0] >= -1 * MS
    assert late[10] < 5 * MS
