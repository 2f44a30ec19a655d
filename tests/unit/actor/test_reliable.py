"""Reliable messages inside one node: marks, repeats of failed turns, quarantine, books."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from embedded import virtually

from denoagents import Actor, Node, options, reliable, tell
from denoagents.errors import DeclarationError, RejectedError

SEEN: list[str] = []


class Clerk(Actor):
    """Fails when it is told to."""

    failures_left: int = 0

    @reliable
    async def note(self, text: str) -> None:
        SEEN.append(text)
        if text == "bad" or (text == "odd" and SEEN.count("odd") < 3):
            raise ValueError(text)
        if text == "refused":
            raise RejectedError(text)

    async def plain(self, text: str) -> str:
        SEEN.append(text)
        return text

    @reliable
    async def ask(self, text: str) -> str:
        return text


def books(node: Node) -> dict[str, int]:
    return node.statistics()["accounting"]["reliable"]


@pytest.fixture(autouse=True)
def _nothing_seen():
    SEEN.clear()


def test_a_reliable_tell_is_settled_when_its_handler_has_returned():
    async def body(node):
        await tell(node.actor(Clerk, "a").note, "one")
        assert books(node)["outstanding"] == 1
        await asyncio.sleep(0.1)
        assert books(node)["handled"] == books(node)["sent"] == 1
        assert books(node)["off"] == 0

    virtually(body)


def test_a_reliable_tell_that_fails_runs_again_before_what_came_after_it():
    async def body(node):
        clerk = node.actor(Clerk, "a")
        for text in ("odd", "next"):
            await tell(clerk.note, text)
        await asyncio.sleep(30)
        assert SEEN == ["odd", "odd", "odd", "next"]
        assert books(node)["handled"] == 2

    virtually(body)


def test_the_third_failure_of_a_reliable_tell_quarantines_it():
    async def body(node):
        clerk = node.actor(Clerk, "a")
        for text in ("bad", "next"):
            await tell(clerk.note, text)
        await asyncio.sleep(30)
        assert SEEN == ["bad", "bad", "bad", "next"]
        assert books(node)["quarantined"] == 1
        (letter,) = node.quarantined
        assert letter.target == "Clerk/a"
        assert letter.method == "note"
        assert "bad" in letter.reason

    virtually(body)


def test_a_typed_error_is_an_answer_to_a_reliable_tell():
    async def body(node):
        await tell(node.actor(Clerk, "a").note, "refused")
        await asyncio.sleep(10)
        assert SEEN == ["refused"]
        assert books(node)["handled"] == 1

    virtually(body)


def test_options_make_a_plain_method_reliable_and_a_reliable_one_plain():
    async def body(node):
        clerk = node.actor(Clerk, "a")
        await tell(options(clerk, reliable=True).plain, "x")
        assert books(node)["sent"] == 1
        await tell(options(clerk, reliable=False).note, "y")
        assert books(node)["sent"] == 1
        await asyncio.sleep(1)
        assert SEEN == ["x", "y"]

    virtually(body)


def test_a_reliable_ask_has_its_answer_and_its_line_in_the_books():
    async def body(node):
        assert await node.actor(Clerk, "a").ask("hello") == "hello"
        assert books(node)["handled"] == books(node)["sent"] == 1

    virtually(body)


def test_reliable_tells_wait_for_the_next_life_of_an_actor_that_stops():
    async def body(node):
        clerk = node.actor(Clerk, "a")
        await tell(clerk.note, "before")
        await asyncio.sleep(1)
        cell = node.runtime.cells["Clerk/a"]
        await tell(clerk.note, "after")
        node._guardian.stop_after_turn(cell)
        await asyncio.sleep(1)
        assert SEEN == ["before", "after"]
        assert books(node)["handled"] == 2

    virtually(body)


def test_a_root_that_cannot_start_is_tried_three_times_for_a_reliable_tell():
    class Broken(Actor):
        async def on_start(self) -> None:
            SEEN.append("start")
            raise OSError("no disk")

        @reliable
        async def note(self) -> None: ...

    async def body(node):
        await tell(node.actor(Broken, "a").note)
        await asyncio.sleep(30)
        assert SEEN == ["start"] * 3
        assert books(node)["quarantined"] == 1
        assert "no disk" in node.quarantined[0].reason

    virtually(body)


def test_senders_wait_at_the_bound_of_unsettled_bytes_and_nothing_is_refused():
    async def body(node):
        clerk = node.actor(Clerk, "a")
        for number in range(500):
            await tell(clerk.note, f"{number:01000}")
        await asyncio.sleep(1)
        assert books(node)["handled"] == 500
        assert node.router.kept == 0

    virtually(body, reliable_bytes=20_000)


def test_a_marked_class_marks_all_methods_but_streams_and_its_heirs():
    @reliable
    class Parent(Actor):
        async def one(self) -> None: ...

        async def many(self) -> AsyncIterator[int]:
            yield 1

    class Heir(Parent):
        async def two(self) -> None: ...

    methods = Heir.__denoagents_type__.methods
    assert {name for name, method in methods.items() if method.reliable} == {"one", "two"}
    with pytest.raises(DeclarationError, match="cannot be sent again"):

        class Wrong(Actor):
            @reliable
            async def many(self) -> AsyncIterator[int]:
                yield 1
