import asyncio
import contextlib
import sqlite3
import subprocess
import sys

import pytest

from denoagents.durability import Commit, Handled, Kept, Outgoing, Reminder
from denoagents.errors import CorruptError, FencedError, NotFoundError, StoreError
from denoagents.store.state_backup import backup, restore
from denoagents.store.state_group import JUMP
from denoagents.store.state_inspection import show, show_actor, verify
from denoagents.store.state_store import SqliteStateStore
from denoagents.store.state_upkeep import Deletion, Pruning, delete, prune

DAY_MS = 86_400_000
SECRET = b"a secret of seven seals"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "actors.db"


@contextlib.asynccontextmanager
async def opened(path, now_ms=lambda: 0):
    store = SqliteStateStore(path, now_ms=now_ms)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


def tell(number, target="B/1", payload=b"payload"):
    return Outgoing(number, target, "m", 1, payload)


def raw(path):
    return b"".join(one.read_bytes() for one in path.parent.iterdir())


# --- delete ---------------------------------------------------------------------------------------


async def with_secrets(store):
    """One key's data in every place that there is, beside the data of others."""
    reminders = (Reminder("r", "m", SECRET, 5),)
    await store.commit(
        Commit("Person/7", 3, b"old " + SECRET, 1, Handled(7, 1, SECRET), (7, 1), 1,
               (tell(1, "Bank/1", SECRET),), (), reminders), "os",
    )  # fmt: skip
    await store.commit(Commit("Person/7", 3, SECRET * 4000, 1), "os")
    await store.commit(Commit("Person/7", 3, SECRET, 1), "disk")
    await store.commit(Commit("Person/7/child", 3, SECRET, 1), "os")
    await store.commit(Commit("Person/77", 3, b"somebody else"), "os")
    for sender in ("Bank/1", "~journal/w1"):
        await store.commit(
            Commit(sender, 2, b"kept", sent=2,
                   outgoing=(tell(1, "Person/7", SECRET), tell(2, "Person/77"))), "os",
        )  # fmt: skip


@pytest.mark.asyncio
async def test_delete_leaves_no_byte_of_the_key_in_the_files(path):
    async with opened(path) as store:
        await with_secrets(store)
        assert SECRET in raw(path)
        assert b"Person/7/child" in raw(path)
        done = await asyncio.to_thread(delete, path, "Person/7")
        assert done == Deletion(("Person/7", "Person/7/child"), 2, True)
        assert SECRET not in raw(path)
        assert b"Person/7/child" not in raw(path)
        assert await store.claim("Person/77", 3) == Kept(b"somebody else")
        for sender in ("Bank/1", "~journal/w1"):
            assert await store.claim(sender, 2) == Kept(
                b"kept", sent=2, outgoing=[tell(2, "Person/77")]
            )
    assert SECRET not in raw(path)
    assert verify(path).is_whole


@pytest.mark.asyncio
async def test_without_secure_delete_the_search_would_find_the_bytes(path):
    async with opened(path) as store:
        await with_secrets(store)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("PRAGMA secure_delete=OFF")
    other.execute("DELETE FROM parts")
    other.close()
    assert SECRET in raw(path)


@pytest.mark.asyncio
async def test_an_actor_that_lives_while_it_is_deleted_begins_anew(path):
    async with opened(path) as store:
        await with_secrets(store)
        await asyncio.to_thread(delete, path, "Person/7")
        with pytest.raises(FencedError, match="deleted"):
            await store.commit(Commit("Person/7", 3, SECRET), "os")
        with pytest.raises(FencedError):
            await store.claim("Person/7", 2)
        assert await store.claim("Person/7", 3) == Kept(sent=1)
        await store.commit(Commit("Person/7", 3, b"anew"), "os")
        assert await store.claim("Person/7", 3) == Kept(b"anew", sent=1)
    assert verify(path).is_whole


@pytest.mark.asyncio
async def test_delete_helps_where_a_row_is_damaged(path):
    async with opened(path) as store:
        await with_secrets(store)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("UPDATE parts SET at_ms = 9 WHERE content = ?", (SECRET,))
    other.close()
    assert not verify(path).is_whole
    delete(path, "Person/7")
    assert verify(path).is_whole


@pytest.mark.asyncio
async def test_what_is_not_there_cannot_be_deleted(path):
    async with opened(path):
        pass
    with pytest.raises(NotFoundError, match="holds nothing"):
        delete(path, "Person/7")
    with pytest.raises(StoreError, match="there is no state store"):
        delete(path.with_name("none.db"), "Person/7")


# --- prune ----------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_prune_takes_out_what_was_untouched_and_leaves_what_has_work(path):
    now = 0
    async with opened(path, lambda: now) as store:
        await store.commit(Commit("A/old", 4, b"a"), "os")
        await store.commit(Commit("A/sent", 4, b"a", sent=9), "os")
        await store.commit(Commit("A/waits", 4, b"a", sent=1, outgoing=(tell(1),)), "os")
        await store.commit(
            Commit("A/reminds", 4, b"a", reminders=(Reminder("r", "m", b"", 5),)), "os"
        )
        await store.commit(Commit("~journal/w", 4, sent=5), "os")
        now = 10 * DAY_MS
        await store.commit(Commit("A/new", 4, b"a"), "os")
        done = await asyncio.to_thread(prune, path, 5 * 86400, 5 * 86400, now)
        assert done == Pruning(actors=2, window_entries=0, names=1)
        assert await store.claim("A/old", 4) is None
        assert await store.claim("A/sent", 4) == Kept(sent=9)
        for actor in ("A/waits", "A/reminds", "~journal/w", "A/new"):
            assert await store.claim(actor, 4) is not None
    assert verify(path).is_whole


@pytest.mark.asyncio
async def test_prune_forgets_old_window_entries_and_keeps_the_state(path):
    now = 0
    async with opened(path, lambda: now) as store:
        await store.commit(Commit("A/1", 4, b"a", 0, Handled(7, 1), (7, 1)), "os")
        now = 10 * DAY_MS
        await store.commit(Commit("A/1", 4, handled=Handled(8, 1)), "os")
        done = await asyncio.to_thread(prune, path, 100 * 86400, 5 * 86400, now)
        assert done == Pruning(actors=0, window_entries=2, names=0)
        assert await store.claim("A/1", 4) == Kept(b"a", handled=[Handled(8, 1)])
        await store.commit(Commit("A/1", 4, b"b", 0, Handled(7, 2), (7, 2)), "os")
    assert verify(path).is_whole


# --- backup and restore ---------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_backup_of_a_busy_store_is_one_moment_and_private(path):
    target = path.with_name("backup.db")
    async with opened(path) as store:

        async def live():
            for n in range(1, 400):
                commits = [Commit(f"A/{m}", 1, b"%d" % n, sent=n) for m in range(2)]
                await asyncio.gather(*[store.commit(one, "os") for one in commits])

        life = asyncio.ensure_future(live())
        await asyncio.sleep(0.05)
        found = await asyncio.to_thread(backup, path, target)
        await life
    assert found.is_whole and found.actors == 2
    assert target.stat().st_mode & 0o777 == 0o600
    async with opened(target) as copy:
        kept = [await copy.claim(f"A/{n}", 1) for n in range(2)]
    assert all(0 < int(one.state) < 400 for one in kept)
    left = {one.name for one in path.parent.iterdir()}
    assert left == {"actors.db", "actors.db-told", "backup.db", "backup.db-told"}


@pytest.mark.asyncio
async def test_restore_brings_back_the_moment_of_the_backup_as_another_place(path):
    target = path.with_name("backup.db")
    async with opened(path) as store:
        await store.commit(Commit("A/1", 6, b"then", sent=3, outgoing=(tell(3),)), "os")
        identity = store.identity
        await asyncio.to_thread(backup, path, target)
        await store.commit(Commit("A/1", 6, b"later", sent=9), "os")
    done = restore(path, target)
    assert done.found.is_whole and done.replaced == path.with_name("actors.db.replaced")
    async with opened(path) as store:
        assert store.identity.split("@")[0] != identity.split("@")[0]
        kept = await store.claim("A/1", 6)
        assert kept == Kept(b"then", sent=3 + JUMP, outgoing=[tell(3)])
    assert verify(path).is_whole
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.asyncio
async def test_restore_is_refused_while_this_process_uses_the_store(path):
    target = path.with_name("backup.db")
    async with opened(path) as store:
        await store.commit(Commit("A/1", 1, b"a"), "os")
        backup(path, target)
        with pytest.raises(StoreError, match="in use"):
            restore(path, target)
        await store.commit(Commit("A/1", 1, b"b"), "os")


def test_restore_is_refused_while_another_process_uses_the_store(path):
    script = """
import asyncio, sys
from denoagents.durability import Commit
from denoagents.store.state_store import SqliteStateStore
async def main():
    store = SqliteStateStore(sys.argv[1])
    await store.open()
    await store.commit(Commit("A/1", 1, b"a"), "os")
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    await store.close()
asyncio.run(main())
"""
    target = path.with_name("backup.db")
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as child:  # fmt: skip
        assert child.stdout.readline() == "ready\n"
        backup(path, target)
        with pytest.raises(StoreError, match="in use: stop the workers"):
            restore(path, target)
        child.communicate("go\n", timeout=10)
    assert restore(path, target).found.is_whole


@pytest.mark.asyncio
async def test_a_damaged_backup_is_not_restored(path):
    target = path.with_name("backup.db")
    async with opened(path) as store:
        await store.commit(Commit("A/1", 1, b"the state of an actor"), "os")
        backup(path, target)
    whole = target.read_bytes()
    target.write_bytes(whole.replace(b"the state of an", b"THE state of an"))
    before = path.read_bytes()
    with pytest.raises(CorruptError, match="does not match its digest"):
        restore(path, target)
    assert path.read_bytes() == before
    with pytest.raises(StoreError, match="exists already"):
        backup(path, target)


# --- verify and show ------------------------------------------------------------------------------


@pytest.mark.asyncio
@pytest.mark.parametrize("change", [
    "UPDATE parts SET content = x'00'",
    "DELETE FROM parts",
    "INSERT INTO parts VALUES (x'0102030405060708ff', x'', 1, 1)",
    "UPDATE heads SET actor = 'A/2'",
    "UPDATE heads SET touched_ms = touched_ms + 1",
    "UPDATE heads SET waiting = waiting + 1",
    "DELETE FROM heads",
    "UPDATE meta SET value = '7'",
])  # fmt: skip
async def test_verify_finds_every_kind_of_change(path, change):
    async with opened(path) as store:
        await store.commit(Commit("A/1", 1, b"a", sent=1, outgoing=(tell(1),)), "os")
    assert verify(path).is_whole
    other = sqlite3.connect(path, isolation_level=None)
    other.execute(change)
    other.close()
    assert not verify(path).is_whole


@pytest.mark.asyncio
async def test_show_counts_and_tells_no_contents(path):
    async with opened(path) as store:
        await with_secrets(store)
    facts = show(path)
    assert facts["actors"] == 5
    assert facts["types"] == {"Bank": 1, "Person": 3, "~journal": 1}
    assert (facts["with_waiting_messages"], facts["with_reminders"]) == (3, 1)
    one = show_actor(path, "Person/7")
    assert (one["fence"], one["state_bytes"], one["handled"]) == (3, len(SECRET), 1)
    assert one["outgoing"] == [
        {"number": 1, "target": "Bank/1", "method": "m", "bytes": len(SECRET)}
    ]
    assert SECRET.decode() not in str(one)
    with pytest.raises(NotFoundError):
        show_actor(path, "Person/8")
