"""Rules for every test: nothing is left behind, and a skip names its reason and fails under CI."""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import AsyncIterator, Iterator
from typing import Any

import leaks
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, settings

UNDER_CI = os.environ.get("CI", "") not in {"", "0", "false"}
STARTS_PROCESSES = ("process", "acceptance", "structure")
"""Folders of tests whose every test is searched for processes; elsewhere once a module."""

quick = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("quick", max_examples=60, derandomize=True, database=None, **quick)
settings.register_profile("full", max_examples=2000, print_blob=True, **quick)
settings.load_profile("full" if os.environ.get("DENOAGENTS_FULL") else "quick")

BEFORE = pytest.StashKey[leaks.Belongings]()
SHARED = pytest.StashKey[bool]()


def pytest_configure(config: pytest.Config) -> None:
    leaks.mark_this_run()


def pytest_unconfigure(config: pytest.Config) -> None:
    leaks.forget_this_run()


# --- nothing is left behind ---------------------------------------------------------------------


@pytest_asyncio.fixture
async def _tasks_watched() -> AsyncIterator[None]:
    """Set up first and torn down last of a test's asynchronous fixtures: sees what they left."""
    before = asyncio.all_tasks()
    yield
    await asyncio.sleep(0)  # a task cancelled in the last line may end
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    if left:
        pytest.fail(f"tasks left behind: {', '.join(map(repr, left))}", pytrace=False)


@pytest.fixture(autouse=True)
def _nothing_runs_on(request: pytest.FixtureRequest) -> None:
    if inspect.iscoroutinefunction(getattr(request.node, "obj", None)):
        request.getfixturevalue("_tasks_watched")


def _shares_a_fixture(item: pytest.Item) -> bool:
    """Does it use a fixture of ours that outlives it? Then only the module's end counts."""
    definitions = item._fixtureinfo.name2fixturedefs.values()
    ours = [one[-1] for one in definitions if "site-packages" not in inspect.getfile(one[-1].func)]
    return any(one.scope in {"module", "class", "package"} for one in ours)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[Any]:
    module = item.getparent(pytest.Module) or item
    if BEFORE not in module.stash:
        module.stash[BEFORE] = leaks.Belongings.now(with_processes=True)
    module.stash[SHARED] = module.stash.get(SHARED, False) or _shares_a_fixture(item)
    return (yield)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[Any]:
    result = yield
    module = item.getparent(pytest.Module) or item
    is_last = nextitem is None or nextitem.getparent(pytest.Module) is not module
    if is_last or not module.stash[SHARED]:
        folder = item.path.relative_to(item.config.rootpath / "tests").parts[0]
        with_processes = is_last or folder in STARTS_PROCESSES
        left = leaks.left_behind(module.stash[BEFORE], with_processes=with_processes)
        if left:
            module.stash[BEFORE] = leaks.Belongings.now(with_processes=True)  # blame one test only
            pytest.fail("left behind: " + "; ".join(left), pytrace=False)
    return result


# --- a skip names its reason, and fails under CI --------------------------------------------------


def _judge_skip(report: Any) -> None:
    if report.outcome != "skipped" or hasattr(report, "wasxfail"):
        return
    reason = str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else str(report.longrepr)
    reason = reason.removeprefix("Skipped: ").strip()
    if reason in {"", "Skipped", "unconditional skip"}:
        report.outcome, report.longrepr = "failed", f"{report.nodeid}: a skip names its reason"
    elif UNDER_CI:
        report.outcome, report.longrepr = "failed", f"{report.nodeid}: skipped under CI: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Iterator[Any]:
    report = yield
    _judge_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[Any]:
    report = yield
    _judge_skip(report)
    return report
