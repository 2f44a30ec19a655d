"""What every `StateStore` must do, as tests: inherit `StoreConformance`, say how to make one.

```
class TestMyStore(StoreConformance):
    @contextlib.asynccontextmanager
    async def place(self, tmp_path):
        yield lambda: MyStore(...)    # each call: another store on the same place
```

Each test runs its own event loop; nothing but pytest is needed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from denoagents.durability import (
    JOURNAL,
    MODES,
    Commit,
    Effect,
    Handled,
    Kept,
    Mode,
    Outgoing,
    Reminder,
    StateStore,
    Wake,
    stream_of,
)
from denoagents.errors import FencedError, StoreError

Make = Callable[[], StateStore]
HIGH = stream_of("Account/1")
"""A stream with the top bit set: numbers of 64 bits must fit."""


def tell(number: int, target: str = "Other/1") -> Outgoing:
    """An outgoing message."""
    return Outgoing(number, target, "take", 1, b"payload %d" % number)


def effect(number: int, index: int, result: bytes | None = None) -> Effect:
    """A call of an effect by the message `number` of the stream HIGH."""
    return Effect(HIGH, number, index, "pay", b"arguments", 3, result)


@contextlib.asynccontextmanager
async def opened(make: Make) -> AsyncIterator[StateStore]:
    """A store that is open meanwhile."""
    store = make()
    await store.open()
    try:
        yield store
    finally:
        await store.close()


class StoreConformance:
    """The tests; a subclass whose name begins with Test is collected."""

    survives_close = True
    """Whether what was committed is there after all stores on the place were closed."""

    def place(self, tmp_path: Path) -> AbstractAsyncContextManager[Make]:
        """A new, empty place for stores; each call of what it gives makes one more store on it."""
        raise NotImplementedError

    def run(self, tmp_path: Path, story: Callable[[StateStore], Coroutine[Any, Any, None]]) -> None:
        """Play a story with one open store."""

        async def play(make: Make) -> None:
            async with opened(make) as store:
                await story(store)

        self.run_with(tmp_path, play)

    def run_with(self, tmp_path: Path, story: Callable[[Make], Coroutine[Any, Any, None]]) -> None:
        """Play a story that opens its stores itself."""

        async def play() -> None:
            async with asyncio.timeout(30), self.place(tmp_path) as make:
                await story(make)

        asyncio.run(play())

    # --- what is kept -----------------------------------------------------------------------------

    def test_nothing_is_kept_of_an_actor_that_never_committed(self, tmp_path: Path) -> None:
        async def story(store: StateStore) -> None:
            assert await store.claim("Account/1", 1) is None
            assert await store.claim("Account/1", 1) is None

        self.run(tmp_path, story)

    def test_everything_of_a_commit_is_kept_in_every_mode(self, tmp_path: Path) -> None:
        async def story(store: StateStore) -> None:
            for mode in MODES:
                actor = f"Account/{mode}"
                await store.claim(actor, 3)
                commit = Commit(
                    actor, 3, b"state \0\xff", 7, Handled(HIGH, 12, b"reply"), (HIGH, 5), 2,
                    (tell(1), tell(2)), (), (Reminder("r", "m", b"p", 99, 2.5),), (effect(13, 0),),
                )  # fmt: skip
                await store.commit(commit, mode)
                assert await store.claim(actor, 3) == Kept(
                    b"state \0\xff", 7, 2, [tell(1), tell(2)], [Handled(HIGH, 12, b"reply")],
                    {HIGH: 5}, [Reminder("r", "m", b"p", 99, 2.5)], [effect(13, 0)],
                )  # fmt: skip

        self.run(tmp_path, story)

    def test_what_a_commit_does_not_name_stays(self, tmp_path: Path) -> None:
        async def story(store: StateStore) -> None:
            await store.claim("Account/1", 1)
            reminders = (Reminder("r", "m", b"p", 5),)
            await store.commit(Commit("Account/1", 1, b"a", 4, reminders=reminders), "os")
            await store.commit(Commit("Account/1", 1, handled=Handled(7, 1)), "os")
            kept = await store.claim("Account/1", 1)
            assert kept == Kept(b"a", 4, handled=[Handled(7, 1)], reminders=list(reminders))
            await store.commit(Commit("Account/1", 1, b"", 5, reminders=()), "os")
            assert await store.claim("Account/1", 1) == Kept(b"", 5, handled=[Handled(7, 1)])

        self.run(tmp_path, story)

    def test_an_empty_state_is_kept_as_a_state(self, tmp_path: Path) -> None:
        async def story(store: StateStore) -> None:
            await store.claim("Account/1", 1)
            await store.commit(Commit("Account/1", 1, b""), "os")
            assert await store.claim("Account/1", 1) == Kept()

        self.run(tmp_path, story)

    def test_names_of_actors_are_told_apart_exactly(self, tmp_path: Path) -> None:
        names = ["A/1", "A/1/c", "a/1", "A/1 ", "A/%2F", "A/;1 2,", "A/Ä", f"{JOURNAL}w1", "A/'\""]

        async def story(store: StateStore) -> None:
            for name in names:
                await store.commit(Commit(name, 1, name.encode()), "os")
            for name in names:
                assert await store.claim(name, 1) == Kept(name.encode())

        self.run(tmp_path, story)

    def test_large_states_and_many_rows_are_kept(self, tmp_path: Path) -> None:
        async def story(store: StateStore) -> None:
            state = bytes(range(256)) * 4096
            await store.commit(Commit("A/1", 1, state), "os")
            many = tuple(tell(number) for number in range(1, 1001))
            await store.commit(Commit("A/1", 1, sent=1000, outgoing=many), "os")
            assert await store.claim("A/1", 1) == Kept(state, sent=1000, outgoing=list(many))

        self.run(tmp_path, story)

    # --- what is dropped --------------------------------------------------------------------------

    def test_settled_messages_are_dropped_and_the_order_stays(self, tmp_path: Path) -> None:
        async def story(store: StateStore) -> None:
            many = tuple(tell(number) for number in range(1, 7))
            await store.commit(Commit("A/1", 1, sent=6, outgoing=many), "os")
            await store.commit(Commit("A/1", 1, settled=(2, 4, 77)), "os")
            store.settle("A/1", 1, [5, 88])
            kept = await store.claim("A/1", 1)
            assert kept is not None
            assert [one.number for one in kept.outgoing] == [1, 3, 6]
            assert kept.sent == 6

        self.run(tmp_path, story)

    def test_the_highest_number_sent_stays_when_all_is_settled(self, tmp_path: Path) -> None:
        async def story(store: StateStore) -> None:
            await store.commit(Commit("A/1", 1, sent=2, outgoing=(tell(1), tell(2))), "os")
            await store.commit(Commit("A/1", 1, settled=(1, 2)), "os")
            assert await store.claim("A/1", 1) == Kept(sent=2)

        self.run(tmp_path, story)

    def test_a_floor_drops_what_is_below_it_in_its_stream_alone(self, tmp_path: Path) -> None:
        async def story(store: StateStore) -> None:
            for stream in (HIGH, 7):
                for number in (1, 2, 3):
                    await store.commit(Commit("A/1", 1, handled=Handled(stream, number)), "os")
            await store.commit(Commit("A/1", 1, handled=Handled(HIGH, 4), floor=(HIGH, 3)), "os")
            kept = await store.claim("A/1", 1)
            assert kept is not None
            left = [(HIGH, 3), (HIGH, 4), (7, 1), (7, 2), (7, 3)]
            assert sorted((one.stream, one.number) for one in kept.handled) == sorted(left)
            assert kept.floors == {HIGH: 3}

        self.run(tmp_path, story)

    def test_a_floor_never_falls(self, tmp_path: Path) -> None:
        async def story(store: StateStore) -> None:
            for floor in (5, 3, 4):
                await store.commit(Commit("A/1", 1, b"", floor=(7, floor)), "os")
            kept = await store.claim("A/1", 1)
            assert kept is not None
            assert kept.floors == {7: 5}

        self.run(tmp_path, story)

    def test_effects_are_replaced_and_dropped_with_their_message(self, tmp_path: Path) -> None:
        async def story(store: StateStore) -> None:
            await store.commit(Commit("A/1", 1, effects=(effect(1, 0), effect(1, 1))), "os")
            await store.commit(
                Commit("A/1", 1, effects=(effect(1, 0, b"done"), effect(2, 0))), "os"
            )
            kept = await store.claim("A/1", 1)
            assert kept is not None
            assert kept.effects == [effect(1, 0, b"done"), effect(1, 1), effect(2, 0)]
            await store.commit(Commit("A/1", 1, handled=Handled(HIGH, 1)), "os")
            kept = await store.claim("A/1", 1)
            assert kept is not None
            assert kept.effects == [effect(2, 0)]

        self.run(tmp_path, story)

    # --- fences -----------------------------------------------------------------------------------

    def test_a_lower_fence_neither_claims_nor_commits_nor_settles(self, tmp_path: Path) -> None:
        async def story(store: StateStore) -> None:
            await store.claim("A/1", 4)
            await store.commit(Commit("A/1", 4, b"old", sent=1, outgoing=(tell(1),)), "os")
            await store.claim("A/1", 5)
            for mode in ("os", "disk"):
                await refused(store, Commit("A/1", 4, b"zombie"), mode)
            try:
                await store.claim("A/1", 4)
            except FencedError:
                pass
            else:
                raise AssertionError("a lower fence claimed the actor")
            store.settle("A/1", 4, [1])
            kept = await store.claim("A/1", 5)
            assert kept == Kept(b"old", sent=1, outgoing=[tell(1)])

        self.run(tmp_path, story)

    def test_a_fenced_commit_does_not_fail_its_neighbours(self, tmp_path: Path) -> None:
        async def story(store: StateStore) -> None:
            await store.claim("A/1", 5)
            commits = [Commit(f"A/{n}", 4, b"%d" % n) for n in range(20)]
            ends = await asyncio.gather(
                *[store.commit(one, "os") for one in commits], return_exceptions=True
            )
            failed = [n for n, end in enumerate(ends) if end is not None]
            assert failed == [1]
            assert isinstance(ends[1], FencedError)
            for n in (0, 2, 19):
                assert await store.claim(f"A/{n}", 4) == Kept(b"%d" % n)

        self.run(tmp_path, story)

    def test_settling_claims_nothing_and_of_nothing_is_nothing(self, tmp_path: Path) -> None:
        async def story(store: StateStore) -> None:
            store.settle("A/1", 9, [1])
            assert await store.claim("A/1", 1) is None
            await store.commit(Commit("A/1", 1, sent=1, outgoing=(tell(1),)), "os")
            store.settle("A/1", 9, [1])
            assert await store.claim("A/1", 2) == Kept(sent=1)
            assert await store.to_wake() == []
            assert await store.highest_fence() == 2

        self.run(tmp_path, story)

    def test_fences_of_one_store_bind_another_on_the_same_place(self, tmp_path: Path) -> None:
        async def story(make: Make) -> None:
            async with opened(make) as one, opened(make) as two:
                assert one.identity == two.identity
                await one.claim("A/1", 1)
                await one.commit(Commit("A/1", 1, b"one"), "os")
                assert await two.claim("A/1", 2) == Kept(b"one")
                await refused(one, Commit("A/1", 1, b"zombie"), "os")
                await two.commit(Commit("A/1", 2, b"two"), "os")
                assert await one.claim("A/1", 3) == Kept(b"two")

        self.run_with(tmp_path, story)

    def test_the_next_fence_is_above_all_that_were(self, tmp_path: Path) -> None:
        async def story(make: Make) -> None:
            async with opened(make) as one, opened(make) as two:
                assert await one.highest_fence() == 0
                await one.claim("A/1", 41)
                assert await two.highest_fence() == 41
                assert [await s.next_fence() for s in (one, two, one)] == [42, 43, 44]
                assert await two.highest_fence() == 44

        self.run_with(tmp_path, story)

    # --- order and time ---------------------------------------------------------------------------

    def test_commits_of_one_actor_take_effect_in_the_order_of_the_calls(
        self, tmp_path: Path
    ) -> None:
        async def story(store: StateStore) -> None:
            await store.claim("A/1", 1)
            ends = [
                store.commit(Commit("A/1", 1, b"%d" % n), MODES[n % len(MODES)]) for n in range(50)
            ]
            kept = await store.claim("A/1", 1)
            assert kept == Kept(b"49")
            await asyncio.gather(*ends)

        self.run(tmp_path, story)

    def test_actors_commit_side_by_side(self, tmp_path: Path) -> None:
        async def story(store: StateStore) -> None:
            async def live(actor: str) -> None:
                await store.claim(actor, 1)
                for n in range(1, 11):
                    commit = Commit(actor, 1, b"%d" % n, 0, Handled(7, n), (7, n))
                    await store.commit(commit, "disk")

            await asyncio.gather(*[live(f"A/{n}") for n in range(40)])
            for n in range(40):
                assert await store.claim(f"A/{n}", 1) == Kept(
                    b"10", handled=[Handled(7, 10)], floors={7: 10}
                )

        self.run(tmp_path, story)

    def test_what_was_committed_is_there_for_the_next_process(self, tmp_path: Path) -> None:
        async def story(make: Make) -> None:
            async with opened(make) as store:
                await store.claim("A/1", 6)
                for mode in MODES:
                    await store.commit(Commit("A/1", 6, mode.encode()), mode)
                identity = store.identity
            if not self.survives_close:
                return
            async with opened(make) as again:
                assert again.identity == identity
                assert await again.highest_fence() == 6
                await refused(again, Commit("A/1", 5, b"zombie"), "os")
                assert await again.claim("A/1", 6) == Kept(MODES[-1].encode())

        self.run_with(tmp_path, story)

    # --- waking -----------------------------------------------------------------------------------

    def test_actors_with_messages_or_reminders_are_to_be_woken(self, tmp_path: Path) -> None:
        async def story(store: StateStore) -> None:
            journal = f"{JOURNAL}w1"
            reminders = (Reminder("b", "m", b"", 70), Reminder("a", "m", b"", 50))
            for actor in ("A/sends", journal):
                await store.commit(Commit(actor, 1, sent=1, outgoing=(tell(1),)), "os")
            await store.commit(Commit("A/waits", 1, b"", reminders=reminders), "os")
            await store.commit(Commit("A/idle", 1, b""), "os")
            found = sorted(await store.to_wake(), key=lambda one: one.actor)
            assert found == [Wake("A/sends", 0), Wake("A/waits", 50), Wake(journal, 0)]
            await store.commit(Commit("A/waits", 1, reminders=()), "os")
            store.settle("A/sends", 1, [1])
            await store.commit(Commit(journal, 1, settled=(1,)), "os")
            assert await store.to_wake() == []

        self.run(tmp_path, story)

    # --- its life ---------------------------------------------------------------------------------

    def test_a_closed_store_refuses_work_and_opens_again(self, tmp_path: Path) -> None:
        async def story(make: Make) -> None:
            store = make()
            await store.open()
            await store.commit(Commit("A/1", 1, b"a"), "os")
            await store.close()
            await store.close()
            try:
                await store.commit(Commit("A/1", 1, b"b"), "os")
            except StoreError:
                pass
            else:
                raise AssertionError("a closed store took a commit")
            if self.survives_close:
                await store.open()
                assert await store.claim("A/1", 1) == Kept(b"a")
                await store.close()

        self.run_with(tmp_path, story)


async def refused(store: StateStore, commit: Commit, mode: Mode) -> None:
    """The commit must end as a `FencedError`."""
    try:
        await store.commit(commit, mode)
    except FencedError:
        return
    raise AssertionError(f"the commit under fence {commit.fence} was not refused")
