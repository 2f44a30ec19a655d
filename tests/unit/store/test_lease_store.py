import os
import resource
import sqlite3
import subprocess
import sys
import textwrap

import pytest

from denoagents.errors import StoreError
from denoagents.store.lease_store import FileLeaseStore, MemoryLeaseStore


@pytest.fixture
def path(tmp_path):
    return tmp_path / "broker.store"


@pytest.fixture
def store(path):
    store = FileLeaseStore(path)
    yield store
    store.close()


@pytest.mark.parametrize("kind", ["file", "memory"])
def test_a_store_gives_back_what_was_saved_last(kind, store):
    one = store if kind == "file" else MemoryLeaseStore()
    assert one.load() is None
    one.save(b"first")
    one.save(b"second" * 1000)
    assert one.load() == b"second" * 1000
    one.close()


def test_the_state_survives_the_store(store, path):
    store.save(b"state")
    store.close()
    again = FileLeaseStore(path)
    assert again.load() == b"state"
    again.close()


def test_one_file_remains_after_a_clean_end(store, path):
    store.save(b"state")
    store.close()
    assert list(path.parent.iterdir()) == [path]


def test_a_second_broker_on_the_same_file_is_refused(store, path):
    store.save(b"state")
    with pytest.raises(StoreError, match="another broker uses the file"):
        FileLeaseStore(path).load()


def test_a_full_disk_is_an_error_and_the_state_before_stays(store, path):
    store.save(b"before")
    store._connection.execute("PRAGMA max_page_count = 3")
    with pytest.raises(StoreError, match="the disk is full"):
        store.save(os.urandom(100_000))
    assert store.load() == b"before"
    store.save(b"after")
    assert store.load() == b"after"


def test_a_write_error_of_the_system_is_an_error_and_the_state_before_stays(path):
    script = f"""
        import os, resource, signal
        from denoagents.errors import StoreError
        from denoagents.store.lease_store import FileLeaseStore
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        store = FileLeaseStore({str(path)!r})
        store.save(b"before")
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))
        try:
            store.save(os.urandom(1_000_000))
        except StoreError as error:
            print(error)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        print(store.load())
    """
    assert resource.RLIMIT_FSIZE is not None
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    first, second = done.stdout.splitlines()
    assert first.startswith("the broker's store")
    assert second == "b'before'"


def test_a_killed_writer_leaves_a_state_that_is_whole(path):
    script = f"""
        import itertools
        from denoagents.store.lease_store import FileLeaseStore
        store = FileLeaseStore({str(path)!r})
        for number in itertools.count():
            store.save(b"%09d" % number * 3000)
            print(number, flush=True)
    """
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True
    )
    with child:
        for _ in range(30):
            said = int(child.stdout.readline())
        child.kill()
        said = max([said, *map(int, child.stdout.read().split())])
    store = FileLeaseStore(path)
    state = store.load()
    store.close()
    assert state == state[:9] * 3000
    assert int(state[:9]) >= said


@pytest.mark.parametrize("content", [b"junk" * 1000, b"SQLite format 3\0" + bytes(5000)])
def test_a_file_that_is_no_store_is_an_error(path, content):
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"no broker store|damaged"):
        FileLeaseStore(path).load()


def test_another_programs_database_is_left_alone(path):
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE t (x)")
    other.close()
    with pytest.raises(StoreError, match="belongs to another program"):
        FileLeaseStore(path).load()


def test_a_flipped_bit_is_an_error_or_harmless_and_never_a_wrong_state(path):
    store = FileLeaseStore(path)
    store.save(bytes(range(256)) * 40)
    store.close()
    whole = path.read_bytes()
    for at in range(0, len(whole), 97):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        store = FileLeaseStore(path)
        try:
            assert store.load() == bytes(range(256)) * 40
        except StoreError:
            pass
        finally:
            store.close()


def test_a_folder_that_is_missing_is_named(tmp_path):
    with pytest.raises(StoreError, match=r"missing/x.*cannot be opened"):
        FileLeaseStore(tmp_path / "missing" / "x").load()
