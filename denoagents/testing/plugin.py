"""The pytest plugin: fleets as fixtures, and no test leaves anything behind.

    sim          plays a story in virtual time, with faults, from a seed
    cluster      a real broker, workers and a client on the test's own loop
    probe        watches the messages that actors get
    no_leaks     the test fails if it leaves tasks, threads or sockets; the others ask for it

Rules: imports nothing until a fixture is used: pytest loads this module in every run. `cluster`
needs pytest-asyncio, and `@pytest.mark.asyncio` above the test.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

if TYPE_CHECKING:
    from denoagents.actor.actor import Actor
    from denoagents.testing.cluster import Cluster
    from denoagents.testing.probe import Probe
    from denoagents.testing.simulator import Simulator

F = TypeVar("F", bound=Callable[..., Any])

WATCHED = "no_leaks"
_held = pytest.StashKey[Any]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Which seeds `sim` plays."""
    group = parser.getgroup("denoagents", "simulated fleets")
    group.addoption(
        "--denoagents-seed", type=int, metavar="N", help="play the stories of `sim` with this seed"
    )
    group.addoption(
        "--denoagents-seeds", type=int, metavar="COUNT", help="play each story with so many seeds"
    )


def _async_fixture(function: F) -> F:
    """A fixture on the test's loop, which pytest-asyncio makes, where it is installed."""
    make: Any = pytest.fixture
    with contextlib.suppress(ImportError):
        from pytest_asyncio import fixture as make
    made: F = make(function)
    return made


# --- fixtures -------------------------------------------------------------------------------------


@pytest.fixture
def sim(request: pytest.FixtureRequest) -> Simulator:
    """Plays stories in virtual time: `sim(story, seeds=20)`, where `async def story(fleet)`."""
    from denoagents.testing.simulator import Simulator

    option = request.config.getoption
    return Simulator(
        request.node.nodeid,
        seed=option("--denoagents-seed"),
        count=option("--denoagents-seeds"),
    )


@pytest.fixture
def no_leaks(request: pytest.FixtureRequest) -> None:
    """The test fails, with names, if it leaves tasks, threads or sockets behind."""
    if inspect.iscoroutinefunction(getattr(request.node, "obj", None)):
        request.getfixturevalue("_denoagents_tasks")


@_async_fixture
async def _denoagents_tasks() -> AsyncIterator[None]:
    """Set up before a test's other asynchronous fixtures of ours: sees what they left."""
    import asyncio

    before = asyncio.all_tasks()
    yield
    await asyncio.sleep(0)  # a task cancelled in the last line may end
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    if left:
        names = ", ".join(sorted(f"{task.get_name()} in {task.get_coro()!r}" for task in left))
        for task in left:
            task.cancel()
        pytest.fail(f"tasks left behind: {names}", pytrace=False)


@_async_fixture
async def cluster(no_leaks: None, probe: object) -> AsyncIterator[Cluster]:  # noqa: ARG001 - asked for their effect
    """A real fleet in this process: `await cluster.start(MyActor, workers=2)`, then `actor`.

    It asks for `probe` so that probes outlive it, and answer to the end.
    """
    from denoagents.testing.cluster import Cluster

    made = Cluster()
    try:
        yield made
    finally:
        unsettled = await made.close()
    if unsettled:
        pytest.fail(
            f"messages not settled at the test's end: {'; '.join(unsettled)}", pytrace=False
        )


@pytest.fixture
def probe(request: pytest.FixtureRequest) -> Iterator[Callable[[type[Actor]], Probe]]:
    """Watches the actors of a class: `probe(Mailer)` is a `Probe`; it ends with the test."""
    from denoagents.testing.probe import Probe

    made: list[Probe] = []

    def watch(cls: type[Actor]) -> Probe:
        running: Any = request.node.funcargs.get("cluster")
        made.append(Probe(cls, () if running is None else running.nodes.values()))
        return made[-1]

    yield watch
    for one in reversed(made):
        one.close()


# --- threads and sockets --------------------------------------------------------------------------


def _is_watched(item: pytest.Item) -> bool:
    """Of a test with fixtures that outlive it, nobody can say what is its own."""
    info = getattr(item, "_fixtureinfo", None)
    if info is None or WATCHED not in info.names_closure:
        return False
    definitions = info.name2fixturedefs.values()
    ours = [one[-1] for one in definitions if "site-packages" not in inspect.getfile(one[-1].func)]
    return all(one.scope == "function" for one in ours)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[Any]:
    """Note what is there before the test's first fixture."""
    if _is_watched(item):
        from denoagents.testing.leaks import Held

        item.stash[_held] = Held.now()
    return (yield)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[Any]:
    """Compare, after its last fixture."""
    result = yield
    before = item.stash.get(_held, None)
    if before is not None:
        from denoagents.testing.leaks import left_behind

        left = left_behind(before)
        if left:
            pytest.fail(f"left behind: {'; '.join(left)}", pytrace=False)
    return result
