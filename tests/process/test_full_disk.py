"""A disk that is really full, under the broker's store: needs root, to mount 128 KiB of memory."""

import subprocess

import pytest

from denoagents.errors import StoreError
from denoagents.store.lease_store import FileLeaseStore


@pytest.fixture
def small_disk(tmp_path):
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=128k", "denoagents-test", tmp_path], check=True
    )
    yield tmp_path
    subprocess.run(["umount", tmp_path], check=True)


@pytest.mark.services
def test_a_full_disk_is_told_and_what_was_safe_stays_safe(small_disk):
    store = FileLeaseStore(small_disk / "broker.sqlite")
    try:
        store.save(b"version 1")
        with pytest.raises(StoreError, match="full"):
            store.save(b"x" * 400_000)
        assert store.load() == b"version 1"
        store.save(b"version 2")
        assert store.load() == b"version 2"
    finally:
        store.close()
