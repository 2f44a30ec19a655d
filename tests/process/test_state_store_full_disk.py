"""A disk that is really full, under the state store: needs root, to mount 12 MiB of memory."""

import asyncio
import os
import subprocess

import pytest

from denoagents.durability import Commit, Kept
from denoagents.errors import StoreFullError
from denoagents.store.settings import StoreSettings
from denoagents.store.state_inspection import verify
from denoagents.store.state_store import SqliteStateStore


@pytest.fixture
def small_disk(tmp_path):
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=12m", "denoagents-test", tmp_path], check=True
    )
    yield tmp_path
    subprocess.run(["umount", tmp_path], check=True)


async def fill(store, told):
    """Commit until the disk is full; returns the errors of one round of sixteen."""
    for turn in range(100):
        commits = [Commit(f"A/{turn}-{n}", 1, os.urandom(20_000)) for n in range(16)]
        ends = await asyncio.gather(
            *[store.commit(one, "disk") for one in commits], return_exceptions=True
        )
        for one, end in zip(commits, ends, strict=True):
            if end is None:
                told[one.actor] = one.state
        if errors := [end for end in ends if end is not None]:
            return errors
    raise AssertionError("the disk never was full")


@pytest.mark.services
@pytest.mark.asyncio
async def test_a_full_disk_refuses_commits_and_keeps_every_one_that_was_told(small_disk):
    path, ballast = small_disk / "actors.db", small_disk / "ballast"
    ballast.write_bytes(bytes(3_000_000))
    store = SqliteStateStore(path, StoreSettings(low_mark_bytes=0))
    await store.open()
    told = {}
    try:
        errors = await fill(store, told)
        assert {type(one) for one in errors} == {StoreFullError}
        assert "the disk is full" in str(errors[0])
        for actor, state in told.items():
            assert await store.claim(actor, 1) == Kept(state)
        ballast.unlink()
        told = dict.fromkeys(told, b"there is room again")
        for actor, state in told.items():
            await store.commit(Commit(actor, 1, state), "disk")
    finally:
        await store.close()
    assert verify(path).is_whole
    await store.open()
    for actor, state in told.items():
        assert await store.claim(actor, 1) == Kept(state)
    await store.close()


@pytest.mark.services
@pytest.mark.asyncio
async def test_the_low_mark_stops_work_before_the_disk_is_full(small_disk):
    store = SqliteStateStore(small_disk / "actors.db", StoreSettings(low_mark_bytes=3_000_000))
    await store.open()
    try:
        errors = await fill(store, {})
        assert "low_mark" in str(errors[0])
        assert os.statvfs(small_disk).f_bavail > 0
    finally:
        await store.close()
