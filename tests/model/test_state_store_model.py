"""The store in SQLite against the store in memory: any story, the same outcomes and rows."""

import asyncio
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from denoagents.durability import Commit, Effect, Handled, Outgoing, Reminder, stream_of
from denoagents.errors import StoreError
from denoagents.store.memory_state_store import MemoryStateStore
from denoagents.store.state_inspection import verify
from denoagents.store.state_store import SqliteStateStore

ACTORS = ["A/1", "A/2", "~journal/w"]
numbers = st.integers(1, 6)
streams = st.sampled_from([7, stream_of("A/1")])
fences = st.integers(1, 3)
small = st.binary(max_size=4)
outgoing = st.builds(Outgoing, numbers, st.just("B/1"), st.just("m"), st.just(1), small)
effects = st.builds(
    Effect, streams, numbers, st.integers(0, 2), st.just("pay"), small, fences, st.none() | small
)
reminders = st.builds(Reminder, st.just("r"), st.just("m"), small, st.integers(1, 9))
commits = st.builds(
    Commit,
    st.sampled_from(ACTORS),
    fences,
    st.none() | small,
    st.integers(0, 2),
    st.none() | st.builds(Handled, streams, numbers, st.none() | small),
    st.none() | st.tuples(streams, numbers),
    st.integers(0, 6),
    st.lists(outgoing, max_size=3, unique_by=lambda one: one.number).map(tuple),
    st.lists(numbers, max_size=2).map(tuple),
    st.none() | st.lists(reminders, max_size=2).map(tuple),
    st.lists(effects, max_size=2, unique_by=lambda o: (o.stream, o.number, o.index)).map(tuple),
)
claims = st.tuples(st.sampled_from(ACTORS), fences)
settlements = st.tuples(st.sampled_from(ACTORS), fences, st.lists(numbers, max_size=3))
together = st.lists(st.tuples(commits, st.sampled_from(["memory", "os"])), min_size=1, max_size=8)
stories = st.lists(together | claims | settlements | st.just("open again"), max_size=14)


async def play(make, story, can_open_again):
    """The outcomes of a story, and what is kept at its end."""
    store = make()
    await store.open()
    told = []
    for step in story:
        if step == "open again":
            if can_open_again:
                await store.close()
                store = make()
                await store.open()
        elif isinstance(step, list):
            ends = [store.commit(one, mode) for one, mode in step]
            found = await asyncio.gather(*ends, return_exceptions=True)
            told += [
                None if mode == "memory" else type(one)
                for one, (_, mode) in zip(found, step, strict=True)
            ]
        elif len(step) == 3:
            store.settle(*step)
        else:
            told.append(await kept(store, *step))
    told += [await kept(store, actor, 9) for actor in ACTORS]
    told += [sorted(await store.to_wake(), key=lambda one: one.actor)]
    await store.close()
    return told


async def kept(store, actor, fence):
    try:
        found = await store.claim(actor, fence)
    except StoreError as error:
        return type(error)
    if found is None:
        return None
    found.handled.sort(key=lambda one: (one.stream, one.number))
    found.effects.sort(key=lambda one: (one.stream, one.number, one.index))
    return found


MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""Where files cost no fsync."""


@given(stories)
def test_sqlite_does_what_memory_does(story):
    memory = MemoryStateStore()
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        path = Path(folder, "actors.db")
        right = asyncio.run(play(lambda: memory, story, can_open_again=False))
        assert (
            asyncio.run(play(lambda: SqliteStateStore(path), story, can_open_again=True)) == right
        )
        assert verify(path).is_whole
