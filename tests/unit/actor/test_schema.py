"""State of an older class is migrated, that of a newer one refused; idle actors leave."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from unit.actor.test_durable import Account, with_store

from denoagents import Actor, durable
from denoagents.errors import SchemaError


@durable
class First(Actor):
    type_name: ClassVar[str] = "Person"
    name: str = ""

    async def set(self, name: str) -> None:
        self.name = name


@durable
class Second(Actor):
    type_name: ClassVar[str] = "Person"
    schema: ClassVar[int] = 3
    first: str = ""
    last: str = ""

    @staticmethod
    def migrate(state: dict[str, Any], version: int) -> dict[str, Any]:
        assert version == 1
        first, _, last = state["name"].partition(" ")
        return {"first": first, "last": last}

    async def whole(self) -> list[str]:
        return [self.first, self.last]

    async def marry(self, last: str) -> None:
        self.last = last


def test_a_newer_class_migrates_and_an_older_one_refuses():
    async def body(make, store):
        async with make() as node:
            await node.actor(First, "a").set("Ada Byron")
        async with make() as node:
            person = node.actor(Second, "a")
            assert await person.whole() == ["Ada", "Byron"]
            await person.marry("Lovelace")
            assert store._entries["Person/a"].schema == 3
        async with make() as node:
            with pytest.raises(SchemaError, match="newer version"):
                await node.actor(First, "a").set("Eve")
        async with make() as node:
            assert await node.actor(Second, "a").whole() == ["Ada", "Lovelace"]

    with_store(body)


def test_an_idle_durable_actor_gives_up_its_instance_and_comes_back():
    async def body(make, store):
        async with make() as node:
            a = node.actor(Account, "a")
            await a.deposit(5)
            passivation = node._guardian.passivation
            cell = node.runtime.cells["Account/a"]
            assert passivation.passivate(cell)
            assert "Account/a" not in node.durable.durables.lives
            assert passivation.states == {}
            assert await a.deposit(1) == 6

    with_store(body)
