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

TEST: Final = '''"""Tests of {name}.py: an embedded node, no broker, no network."""

from __future__ import annotations

import asyncio

from {name} import Counter

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
    """Make a first app: NAME/NAME.py and its pytest test.

    NAME becomes a Python module, so it holds letters, digits and underscores.
    """
    folder, module = Path(name), module_name(name)
    if folder.exists():
        raise ExistsError(f"{folder} exists already; choose another name or remove it")
    folder.mkdir(parents=True)
    title = module.replace("_", " ").capitalize()
    (folder / f"{module}.py").write_text(APP.replace("{title}", title), encoding="utf-8")
    (folder / f"test_{module}.py").write_text(TEST.replace("{name}", module), encoding="utf-8")
    app = folder / f"{module}.py"
    click.echo(f"made {app} and {folder / f'test_{module}.py'}; type next:\n")
    click.echo(f"  python {app}                 # one process")
    click.echo(f"  python -m pytest {folder}    # its test")
    click.echo(f"  denoagents up {app}          # a broker and two workers")
    click.echo("  denoagents ask Counter/visits add 2")


def module_name(name: str) -> str:
    """The Python module for an app called `name`; `my-app` becomes `my_app`."""
    import sys

    module = Path(name).name.replace("-", "_").lower()
    if not module.isidentifier():
        raise UsageError(
            f"{name!r} cannot be the name of an app: use letters, digits and underscores"
        )
    if module in sys.stdlib_module_names or module == "denoagents":
        raise UsageError(f"{name!r} would hide a module that Python needs; choose another name")
    return module
