import asyncio
import contextlib
import os
import sqlite3
import subprocess
import sys
import textwrap

import pytest

from denoagents.durability import Commit, Handled, Kept, Outgoing, Reminder
from denoagents.errors import CorruptError, FencedError, StoreError, StoreFullError
from denoagents.store import state_file, state_told
from denoagents.store.settings import StoreSettings
from denoagents.store.state_group import JUMP
from denoagents.store.state_inspection import verify
from denoagents.store.state_store import SqliteStateStore

FULL = bool(os.environ.get("DENOAGENTS_FULL"))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "actors.db"


@contextlib.asynccontextmanager
async def opened(path, **settings):
    store = SqliteStateStore(path, StoreSettings(**settings))
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@contextlib.contextmanager
def held(path):
    """The file's write lock, held by somebody else."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield other
    finally:
        other.close()


async def outcomes(*ends):
    found = await asyncio.gather(*ends, return_exceptions=True)
    return [type(one) if one is not None else None for one in found]


# --- who may open what ----------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_the_file_is_private_and_alone_after_a_clean_end(path):
    async with opened(path) as store:
        await store.commit(Commit("A/1", 1, b"a"), "disk")
        modes = {one.name: one.stat().st_mode & 0o777 for one in path.parent.iterdir()}
        assert set(modes.values()) == {0o600}
    assert {one.name for one in path.parent.iterdir()} == {"actors.db", "actors.db-told"}


@pytest.mark.asyncio
async def test_a_file_that_others_may_read_is_refused(path):
    path.touch(mode=0o644)
    with pytest.raises(StoreError, match="chmod 600"):
        await SqliteStateStore(path).open()


@pytest.mark.asyncio
async def test_another_programs_database_is_left_alone(path):
    path.touch(mode=0o600)
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE t (x)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="belongs to another program"):
        await SqliteStateStore(path).open()
    assert path.read_bytes() == before


@pytest.mark.asyncio
async def test_a_file_of_a_newer_version_is_refused(path):
    async with opened(path):
        pass
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA user_version=99")
    other.close()
    with pytest.raises(StoreError, match="newer denoagents"):
        await SqliteStateStore(path).open()


@pytest.mark.asyncio
@pytest.mark.parametrize("content", [b"junk" * 2000, b"SQLite format 3\0" + bytes(5000)])
async def test_a_file_that_is_no_store_is_an_error(path, content):
    path.touch(mode=0o600)
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"no state store|damaged"):
        await SqliteStateStore(path).open()


@pytest.mark.asyncio
async def test_a_folder_that_is_missing_is_named(path):
    with pytest.raises(StoreError, match="there is no folder"):
        await SqliteStateStore(path.parent / "none" / "x.db").open()


def test_a_network_file_system_is_recognised(tmp_path):
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "/dev/sda / ext4 rw 0 0\nhost:/x /tmp nfs4 rw 0 0\ntmpfs /tmp/local tmpfs rw 0 0\n"
    )
    folder = tmp_path / "x"
    assert state_file.network_kind(folder, mounts) == "nfs4"
    assert state_file.network_kind(folder.parents[-1], mounts) is None
    mounts.write_text(f"host:/x /tmp nfs4 rw 0 0\ntmpfs {tmp_path} tmpfs rw 0 0\n")
    assert state_file.network_kind(folder, mounts) is None
    assert state_file.network_kind(folder, tmp_path / "none") is None


@pytest.mark.asyncio
async def test_a_store_on_a_network_file_system_is_refused_with_the_remedy(path, monkeypatch):
    monkeypatch.setattr(state_file, "network_kind", lambda _: "nfs4")
    with pytest.raises(StoreError, match=r"nfs4.*local disk"):
        await SqliteStateStore(path).open()


@pytest.mark.asyncio
async def test_a_copy_of_the_file_is_another_place(path):
    async with opened(path) as store:
        identity = store.identity
    copy = path.with_name("copy.db")
    copy.touch(mode=0o600)
    copy.write_bytes(path.read_bytes())
    async with opened(copy) as store:
        assert store.identity != identity
        assert store.identity.split("@")[0] == identity.split("@")[0]


# --- told when it is kept, not before -------------------------------------------------------------


@pytest.mark.asyncio
@pytest.mark.parametrize("mode", ["os", "disk"])
async def test_a_commit_is_told_when_it_is_in_the_file_and_not_before(path, mode):
    async with opened(path) as store:
        with held(path):
            end = asyncio.ensure_future(store.commit(Commit("A/1", 1, b"a"), mode))
            await asyncio.sleep(0.05)
            assert not end.done()
        await end


@pytest.mark.asyncio
async def test_what_waits_together_becomes_one_transaction(path):
    async with opened(path) as store:
        with held(path):
            ends = [store.commit(Commit(f"A/{n}", 1, b"a"), "disk") for n in range(100)]
        await asyncio.gather(*ends)
        assert store.statistics()["transactions"] <= 3


@pytest.mark.asyncio
async def test_another_process_that_holds_the_file_too_long_is_an_error(path):
    async with opened(path, busy_timeout_s=0.05) as store:
        with held(path), pytest.raises(StoreError, match="another process has held it"):
            await store.commit(Commit("A/1", 1, b"a"), "os")
        await store.commit(Commit("A/1", 1, b"b"), "os")
        assert await store.claim("A/1", 1) == Kept(b"b")


@pytest.mark.asyncio
async def test_close_writes_what_nobody_waits_for(path):
    async with opened(path) as store:
        await store.commit(Commit("A/1", 1, b"a", outgoing=(tell(1),), sent=1), "memory")
        store.settle("A/1", 1, [1])
    async with opened(path) as store:
        assert await store.claim("A/1", 1) == Kept(b"a", sent=1)


@pytest.mark.asyncio
async def test_commits_in_memory_wait_when_the_disk_cannot_follow(path):
    async with opened(path) as store:
        with held(path):
            ends = [store.commit(Commit(f"A/{n}", 1, bytes(1 << 20)), "memory") for n in range(50)]
            assert 32 <= sum(end.done() for end in ends) < 50
        await asyncio.gather(*ends)
        assert await store.claim("A/49", 1) == Kept(bytes(1 << 20))


def tell(number):
    return Outgoing(number, "B/1", "m", 1, b"payload")


# --- failures -------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_commit_that_fails_does_not_fail_its_neighbours(path):
    async with opened(path) as store:
        store._writer._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 100_000)
        with held(path):
            ends = [
                store.commit(Commit(f"A/{n}", 1, b"a" * (200_000 if n == 2 else 9)), "os")
                for n in range(5)
            ]
        assert await outcomes(*ends) == [None, None, StoreError, None, None]
        for n in (0, 1, 3, 4):
            assert await store.claim(f"A/{n}", 1) == Kept(b"a" * 9)
        assert await store.claim("A/2", 1) is None


@pytest.mark.asyncio
async def test_what_builds_on_a_failed_commit_fails_until_the_failure_is_told(path):
    async with opened(path) as store:
        await store.commit(Commit("A/1", 1, b"0"), "os")
        store._writer._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 100_000)
        with held(path):
            first = store.commit(Commit("A/1", 1, b"1" * 200_000), "os")
            await asyncio.sleep(0.05)  # it is alone in its transaction
        then = [store.commit(Commit("A/1", 1, b"%d" % n), "os") for n in (2, 3)]
        assert await outcomes(first, *then) == [StoreError] * 3
        assert await store.claim("A/1", 1) == Kept(b"0")
        await store.commit(Commit("A/1", 1, b"4"), "os")
        assert await store.claim("A/1", 1) == Kept(b"4")


@pytest.mark.asyncio
async def test_a_full_disk_is_told_and_there_is_room_again_later(path):
    async with opened(path) as store:
        await store.commit(Commit("A/1", 1, b"before"), "disk")
        pages = store._writer._connection.execute("PRAGMA page_count").fetchone()[0]
        store._writer._connection.execute(f"PRAGMA max_page_count={pages + 8}")
        ends = [store.commit(Commit("A/1", 1, os.urandom(100_000)), "disk")]
        ends += [store.commit(Commit("A/2", 1, b"small"), "disk")]
        assert await outcomes(*ends) == [StoreFullError, None]
        assert await store.claim("A/1", 1) == Kept(b"before")
        store._writer._connection.execute("PRAGMA max_page_count=100000")
        await store.commit(Commit("A/1", 1, b"after"), "disk")
        assert await store.claim("A/1", 1) == Kept(b"after")


@pytest.mark.asyncio
async def test_below_the_low_mark_nothing_new_is_kept_and_the_store_may_shrink(path):
    async with opened(path) as store:
        await store.commit(Commit("A/1", 1, b"a", sent=1, outgoing=(tell(1),)), "os")
    async with opened(path, low_mark_bytes=1 << 60) as store:
        with pytest.raises(StoreFullError, match="low_mark"):
            await store.commit(Commit("A/1", 1, b"b"), "os")
        store.settle("A/1", 1, [1])
        assert await store.claim("A/1", 2) == Kept(b"a", sent=1)


def test_a_write_error_of_the_system_is_told_and_the_store_serves_again(path):
    script = f"""
        import asyncio, os, resource, signal
        from denoagents.durability import Commit
        from denoagents.errors import StoreFullError
        from denoagents.store.state_store import SqliteStateStore
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

        async def main():
            store = SqliteStateStore({str(path)!r})
            await store.open()
            await store.commit(Commit("A/1", 1, b"before"), "disk")
            resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
            for _ in range(3):
                try:
                    await store.commit(Commit("A/1", 1, os.urandom(1_000_000)), "disk")
                except StoreFullError as error:
                    print("full", "input/output" in str(error))
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
            print((await store.claim("A/1", 1)).state)
            await store.commit(Commit("A/1", 1, b"after"), "disk")
            print((await store.claim("A/1", 1)).state, store.statistics()["reopened"])
            await store.close()

        asyncio.run(main())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True, text=True, timeout=20, check=True,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert lines == ["full True"] * 3 + ["b'before'", "b'after' 3"]


# --- damage ---------------------------------------------------------------------------------------


async def look(path, actors):
    """What a fresh store says of each actor: what is kept, or the error's class."""
    store = SqliteStateStore(path)
    try:
        await store.open()
    except StoreError as error:
        return {actor: type(error) for actor in actors}
    found = {}
    try:
        for actor in actors:
            try:
                found[actor] = await store.claim(actor, 9)
            except StoreError as error:
                found[actor] = type(error)
    finally:
        await store.close()
    return found


async def small_store(path):
    async with opened(path) as store:
        for n in range(12):
            rows = tuple(tell(number) for number in range(1, 4))
            reminders = (Reminder("r", "m", b"p", 5),)
            commit = Commit(
                f"A/{n}", 3, b"state %d " % n * 20, 1, Handled(7, 2, b"reply"), (7, 1), 3, rows
            )
            await store.commit(commit, "os")
            await store.commit(Commit(f"A/{n}", 3, reminders=reminders), "os")
    return [f"A/{n}" for n in range(12)]


@pytest.mark.asyncio
@pytest.mark.timeout(600)
async def test_a_flipped_bit_is_reported_or_harmless_and_never_served_as_a_state(path):
    actors = await small_store(path)
    whole = path.read_bytes()
    right = await look(path, actors)
    assert all(isinstance(one, Kept) for one in right.values())
    reported = 0
    step = 1 if FULL else 149
    for at in range(0, len(whole), step):
        for stale in path.parent.glob("actors.db-[ws]*"):
            stale.unlink()
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
        for actor, found in (await look(path, actors)).items():
            if found != right[actor]:
                assert isinstance(found, type), f"byte {at}: {actor} is {found}"
                reported += 1
    assert reported > 30 if FULL else 3


@pytest.mark.asyncio
@pytest.mark.parametrize("change", [
    "UPDATE parts SET content = x'00'",
    "UPDATE parts SET at_ms = at_ms + 1",
    "DELETE FROM parts WHERE key = (SELECT min(key) FROM parts)",
    "UPDATE heads SET fence = fence + 1",
    "UPDATE heads SET id = id + 1",
    "DELETE FROM heads; ",
])  # fmt: skip
async def test_rows_that_are_changed_lost_or_renamed_are_reported(path, change):
    async with opened(path) as store:
        await store.commit(Commit("A/1", 3, b"a", sent=1, outgoing=(tell(1),)), "os")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute(change)
    other.close()
    async with opened(path) as store:
        with pytest.raises(CorruptError):
            await store.claim("A/1", 9)
        assert await outcomes(
            store.commit(Commit("A/1", 9, b"b"), "os"), store.commit(Commit("B/1", 9, b"b"), "os")
        ) in ([CorruptError, None], [None, None])
        with pytest.raises(CorruptError):
            await store.claim("A/1", 9)


KILLED = """
import asyncio, os, sys
from denoagents.durability import Commit
from denoagents.store.state_store import SqliteStateStore
async def main():
    store = SqliteStateStore(sys.argv[1])
    await store.open()
    for n in range(20):
        await store.commit(Commit("A/1", 1, b"state %d" % n), sys.argv[2])
    os._exit(9)
asyncio.run(main())
"""


def log_of_a_killed_process(path, mode):
    subprocess.run([sys.executable, "-c", KILLED, str(path), mode], check=False, timeout=20)
    return path.with_name("actors.db-wal")


@pytest.mark.asyncio
@pytest.mark.parametrize("mode", ["os", "disk"])
async def test_a_damaged_log_is_reported_where_sqlite_would_serve_an_older_state(path, mode):
    log = log_of_a_killed_process(path, mode)
    content = bytearray(log.read_bytes())
    content[len(content) // 2] ^= 1
    log.write_bytes(content)
    with pytest.raises(CorruptError, match="before what was told"):
        await SqliteStateStore(path).open()
    path.with_name("actors.db-told").unlink()  # the remedy that the message names
    async with opened(path) as store:
        kept = await store.claim("A/1", 1)
        assert kept.state in {b"state %d" % n for n in range(5, 15)}


@pytest.mark.asyncio
@pytest.mark.parametrize(("mode", "is_reported"), [("os", False), ("disk", True)])
async def test_after_a_restart_of_the_machine_only_what_was_synced_must_be_there(
    path, mode, is_reported, monkeypatch
):
    log = log_of_a_killed_process(path, mode)
    log.write_bytes(log.read_bytes()[: log.stat().st_size // 2])
    monkeypatch.setattr(state_told, "boot", lambda: 1)
    if is_reported:
        with pytest.raises(CorruptError):
            await SqliteStateStore(path).open()
    else:
        async with opened(path) as store:
            assert await store.claim("A/1", 1)


@pytest.mark.asyncio
async def test_after_a_restart_of_the_machine_numbers_that_may_be_lost_are_left_out(
    path, monkeypatch
):
    async with opened(path) as store:
        await store.commit(Commit("A/1", 1, b"a", sent=1, outgoing=(tell(1),)), "os")
        await store.commit(Commit("A/2", 1, b"a"), "os")
    async with opened(path) as store:
        assert await store.claim("A/1", 1) == Kept(b"a", sent=1, outgoing=[tell(1)])
    monkeypatch.setattr(state_told, "boot", lambda: 1)
    for _ in range(2):
        async with opened(path) as store:
            assert await store.claim("A/1", 1) == Kept(b"a", sent=1 + JUMP, outgoing=[tell(1)])
            assert await store.claim("A/2", 1) == Kept(b"a")
    assert verify(path).is_whole


@pytest.mark.asyncio
async def test_an_old_copy_in_the_place_of_the_store_is_reported(path):
    async with opened(path) as store:
        await store.commit(Commit("A/1", 1, b"old"), "os")
    old = path.read_bytes()
    async with opened(path) as store:
        await store.commit(Commit("A/1", 1, b"new"), "disk")
    path.write_bytes(old)
    with pytest.raises(CorruptError, match="an old copy"):
        await SqliteStateStore(path).open()


@pytest.mark.asyncio
async def test_fences_of_commits_count_without_a_claim(path):
    async with opened(path) as store:
        await store.commit(Commit("A/1", 7, b"a"), "os")
        assert await outcomes(store.commit(Commit("A/1", 6, b"b"), "os")) == [FencedError]
        assert await store.highest_fence() == 7
