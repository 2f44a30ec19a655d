"""Messages that were given up: kept once, in order, over a restart of the broker."""

import pytest

from denoagents.errors import StoreError
from denoagents.store import quarantine_store
from denoagents.store.lease_store import FileLeaseStore, MemoryLeaseStore
from denoagents.store.quarantine_store import MemoryQuarantineStore, Row, beside


@pytest.fixture(params=["memory", "file"])
def store(request, tmp_path):
    if request.param == "memory":
        yield beside(MemoryLeaseStore())
        return
    leases = FileLeaseStore(tmp_path / "broker.db")
    yield beside(leases)
    leases.close()


def test_messages_are_kept_in_their_order_and_lists_leave_the_payload_out(store):
    assert store.size() == (0, 0)
    assert [store.add(b"k%d" % n, n, b"h%d" % n, bytes(n)) for n in (1, 2, 3)] == [1, 2, 3]
    assert store.size() == (3, 6)
    assert store.rows(0, 10) == [Row(n, n, b"h%d" % n) for n in (1, 2, 3)]
    assert [row.id for row in store.rows(1, 1)] == [2]
    assert store.row(2) == Row(2, 2, b"h2", bytes(2))
    assert store.row(9) is None


def test_what_was_removed_is_known_by_its_key_and_its_number_is_not_used_again(store):
    for number in (1, 2, 3):
        store.add(b"k%d" % number, 0, b"h", b"p")
    assert store.remove([3, 1, 9]) == 2
    assert store.size() == (1, 1)
    assert (store.find(b"k1"), store.find(b"k2"), store.find(b"k4")) == (1, 2, None)
    assert store.row(3) is None
    assert store.add(b"k4", 0, b"h", b"p") == 4
    assert store.remove(None) == 2
    assert (store.size(), store.rows(0, 10)) == ((0, 0), [])


def test_the_keys_of_the_last_removals_are_remembered_and_no_more(store, monkeypatch):
    monkeypatch.setattr(quarantine_store, "REMEMBERED", 2)
    for number in range(5):
        store.add(b"k%d" % number, 0, b"h", b"p")
    store.remove([1, 2, 3, 4])
    found = [store.find(b"k%d" % number) for number in range(5)]
    assert found == [None, None, 3, 4, 5], "the oldest goes first"


def test_a_file_keeps_them_over_a_restart_beside_the_brokers_records(tmp_path):
    leases = FileLeaseStore(tmp_path / "broker.db")
    leases.save(b"fleet")
    store = beside(leases)
    store.size()
    store.add(b"k", 5, b"h", b"payload")
    leases.close()
    again = FileLeaseStore(tmp_path / "broker.db")
    assert again.load() == b"fleet"
    assert beside(again).size() == (1, 7)
    assert beside(again).row(1) == Row(1, 5, b"h", b"payload")
    assert beside(again).is_durable
    again.close()


def test_without_a_file_it_says_that_nothing_outlives_the_broker():
    store = beside(MemoryLeaseStore())
    assert isinstance(store, MemoryQuarantineStore)
    assert not store.is_durable


def test_a_full_disk_is_a_typed_error_and_nothing_is_kept(tmp_path):
    leases = FileLeaseStore(tmp_path / "broker.db")
    store = beside(leases)
    store.size()
    leases.run(lambda connection: connection.execute("PRAGMA max_page_count = 8"))
    with pytest.raises(StoreError, match="disk is full"):
        store.add(b"k", 0, b"h", bytes(100_000))
    assert store.size() == (0, 0)
    leases.close()
