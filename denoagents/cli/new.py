"""`denoagents new NAME`: a first app of 30 lines with its test."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from denoagents.errors import RejectedError, UsageError

APP: Final = '''"""{title}: a counter that keeps its total, and streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from denoagents import Actor, Node


class Counter(Actor):
    """One counter per key; `total` is state, kept while the actor is passive or moves."""

    total: int = 0

    async def add(self, n: int) -> int:
        self.total += n
        return self.total

    async def count_to(self, n: int) -> AsyncIterator[int]:
        for i in range(n):
            yield i + 1


async def main() -> None:
    async with Node() as node:  # everything in this process; broker="tcp://…" joins a fleet
        visits = node.actor(Counter, "visits")
        print("total:", await visits.add(2))
        print("counted:", [i async for i in visits.count_to(3)])


if __name__ == "__main__":
    asyncio.run(main())
'''

TEST: Final = '''"""Tests of app.py: an embedded node, no broker, no network."""

from __future__ import annotations

import asyncio

from app import Counter

from denoagents import Node


def test_a_counter_keeps_its_total() -> None:
    async def scenario() -> None:
        async with Node() as node:
            visits = node.actor(Counter, "visits")
            assert await visits.add(2) == 2
            assert await visits.add(3) == 5
            assert await node.actor(Counter, "other").add(1) == 1

    asyncio.run(scenario())


def test_a_counter_streams() -> None:
    async def scenario() -> None:
        async with Node() as node:
            visits = node.actor(Counter, "visits")
            assert [i async for i in visits.count_to(3)] == [1, 2, 3]

    asyncio.run(scenario())
'''


class ExistsError(RejectedError):
    """Something is in the way; nothing was written."""

    code = "exists"


@click.command("new")
@click.argument("name")
def command(name: str) -> None:
    """Make a first app: NAME/app.py and its pytest test.

    NAME may be a path; its last part names the app.
    """
    folder, title = Path(name), title_of(name)
    if folder.exists():
        raise ExistsError(f"{folder} exists already; choose another name or remove it")
    folder.mkdir(parents=True)
    app, test = folder / "app.py", folder / "test_app.py"
    app.write_text(APP.replace("{title}", title), encoding="utf-8")
    test.write_text(TEST, encoding="utf-8")
    click.echo(f"made {app} and {test}; type next:\n")
    for words, meaning in (
        (f"python {app}", "one process"),
        (f"python -m pytest {folder}", "its test"),
        (f"denoagents up {app}", "a broker and two workers"),
        ("denoagents ask Counter/visits add 2", "in another terminal"),
    ):
        click.echo(f"  {words:<40}  # {meaning}")


def title_of(name: str) -> str:
    """What the app's docstring calls it: `my-app` is "My app"."""
    word = Path(name).name.replace("-", "_")
    if not word.isidentifier():
        raise UsageError(
            f"{name!r} cannot be the name of an app: use letters, digits, - and _, a letter first"
        )
    return word.replace("_", " ").strip().capitalize() or word
