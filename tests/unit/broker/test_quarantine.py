"""The broker's quarantine: stored before it is answered for, bounded, shown and purged by id."""

import asyncio
import functools
import threading

import msgspec
import pytest
from unit.broker.brokers import Stage

from denoagents.broker.quarantine import Quarantine
from denoagents.cluster import messages as m
from denoagents.cluster.settings import ClusterSettings
from denoagents.errors import StoreError
from denoagents.store.lease_store import FileLeaseStore
from denoagents.store.quarantine_store import MemoryQuarantineStore, beside
from denoagents.testing.loop import run_virtually

SMALL = ClusterSettings(quarantine_messages=3, quarantine_bytes=100)


def message(number, payload=b"\x91\x05", target="Counter/a"):
    return m.Quarantined(
        7, number, target, "add", payload, "ValueError: no", deaths=3, node="c", age_s=1.5
    )


def staged(test):
    """The test gets a running broker in virtual time, and a client that has joined."""

    @functools.wraps(test)
    def run():
        async def body(clock):
            async with Stage(clock, settings=SMALL) as stage:
                client = await (await stage.puppet("c", 2, "client")).join()
                await test(stage, client)

        run_virtually(body)

    del run.__wrapped__
    return run


async def keep(client, one):
    number = len(client.heard) + 5000
    client.say(m.Quarantine(id=number, message=one))
    await asyncio.sleep(0.2)
    return next((a for a in client.all(m.Answer) if a.re == number), None)


async def ids(client):
    return [row["id"] for row in (await client.operate("quarantined")).body["rows"]]


@staged
async def test_a_message_is_kept_once_and_listed_without_its_payload(stage, client):
    assert (await keep(client, message(1))).body == {"id": 1}
    assert (await keep(client, message(1))).body == {"id": 1}
    assert (await keep(client, message(1, target="Counter/b"))).body == {"id": 2}
    listing = (await client.operate("quarantined")).body
    first = listing["rows"][0]
    assert first.pop("at").endswith("+00:00")
    assert first == {
        "id": 1, "target": "Counter/a", "method": "add", "deaths": 3, "reason": "ValueError: no",
        "node": "c", "priority": 1, "age_s": 1.5, "stream": "7", "number": 1,
    }  # fmt: skip
    assert (listing["messages"], listing["bytes"], listing["is_durable"]) == (2, 4, False)
    shown = (await client.operate("quarantined_message", id=1)).body
    assert msgspec.msgpack.decode(shown["payload"]) == [5]
    assert stage.broker.facts()["quarantine"]["messages"] == 2


@staged
async def test_a_full_quarantine_refuses_and_takes_messages_again_when_there_is_room(stage, client):
    for number in (1, 2):
        await keep(client, message(number))
    assert (await keep(client, message(3, bytes(97)))).error["code"] == "overloaded"
    await keep(client, message(4))
    refused = (await keep(client, message(5))).error
    assert refused["code"] == "overloaded"
    assert "the quarantine is full (3 messages, 6 bytes)" in refused["message"]
    assert (await client.operate("purge", ids=[2])).body == {"purged": 1}
    assert (await keep(client, message(5))).body == {"id": 4}
    assert await ids(client) == [1, 3, 4]


@staged
async def test_a_purged_message_does_not_come_back_with_its_senders_next_try(stage, client):
    """The sender may not have heard that it was stored."""
    await keep(client, message(1))
    await client.operate("purge", ids=[1])
    assert (await keep(client, message(1))).body == {"id": 1}
    assert await ids(client) == []


@staged
async def test_unknown_ids_are_typed_errors_and_nothing_is_purged(stage, client):
    for number in (1, 2):
        await keep(client, message(number))
    assert (await client.operate("quarantined_message", id=9)).error["code"] == "not_found"
    refused = (await client.operate("purge", ids=[1, 8, 9])).error
    assert refused["code"] == "not_found"
    assert "no message 8, 9; nothing was purged" in refused["message"]
    assert await ids(client) == [1, 2]
    assert (await client.operate("purge", all=True)).body == {"purged": 2}
    for body in ({}, {"ids": 1}, {"ids": ["1"]}, {"ids": [1], "all": True}, {"ids": [True]}):
        assert (await client.operate("purge", **body)).error["code"] == "usage"
    assert (await client.operate("quarantined", after="x")).error["code"] == "usage"


class FailingStore:
    """A store whose disk is full when the test says so."""

    is_blocking = is_durable = False

    def __init__(self, store):
        self.store, self.fails = store, False

    def __getattr__(self, name):
        return getattr(self.store, name)

    def add(self, *row):
        if self.fails:
            raise StoreError("the disk is full")
        return self.store.add(*row)


@staged
async def test_what_the_store_does_not_take_stays_with_its_sender(stage, client):
    failing = stage.broker.quarantine.store = FailingStore(stage.broker.quarantine.store)
    failing.fails = True
    assert (await keep(client, message(1))).error["code"] == "store"
    assert stage.broker.facts()["quarantine"]["messages"] == 0
    failing.fails = False
    assert (await keep(client, message(1))).body == {"id": 1}


class HeldStore(MemoryQuarantineStore):
    """A store whose disk is done when the test says so."""

    is_blocking = True

    def __init__(self):
        super().__init__()
        self.may_end = threading.Event()

    def add(self, *row):
        assert self.may_end.wait(10)
        return super().add(*row)


@pytest.mark.asyncio
async def test_a_message_is_answered_for_when_it_is_stored_and_not_before():
    store = HeldStore()
    quarantine = Quarantine(store, SMALL)
    first = asyncio.create_task(quarantine.keep(message(1)))
    second = asyncio.create_task(quarantine.keep(message(1)))
    await asyncio.sleep(0.1)
    assert not first.done()
    assert not second.done()
    store.may_end.set()
    assert [await first, await second] == [1, 1]
    quarantine.close()


@pytest.mark.asyncio
async def test_a_broker_that_starts_again_has_what_it_answered_for(tmp_path):
    leases = FileLeaseStore(tmp_path / "broker.db")
    quarantine = Quarantine(beside(leases), SMALL)
    quarantine.load()
    number = await quarantine.keep(message(1))
    leases.close()  # nothing more is written
    again = Quarantine(beside(FileLeaseStore(tmp_path / "broker.db")), SMALL)
    again.load()
    assert again.facts() == {"messages": 1, "bytes": 2, "is_durable": True}
    assert (await again.show({"id": number}))["payload"] == b"\x91\x05"
    for one in (quarantine, again):
        one.close()
    again.store._store.close()
