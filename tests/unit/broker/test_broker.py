import asyncio
import functools

import pytest
from unit.broker.brokers import Stage

from denoagents.broker.broker import Broker
from denoagents.cluster import messages as m
from denoagents.cluster import slots as slot_set
from denoagents.cluster.beat import BeatStatus
from denoagents.errors import LinkError, StoreError
from denoagents.store.lease_store import MemoryLeaseStore
from denoagents.testing.loop import run_virtually
from denoagents.testing.network import Network


def staged(test):
    """The test gets a running broker, in virtual time."""

    @functools.wraps(test)
    def run():
        async def body(clock):
            async with Stage(clock) as stage:
                await test(stage)

        run_virtually(body)

    del run.__wrapped__
    return run


async def pair(stage):
    """A worker that runs everything, and a client."""
    worker = await (await stage.puppet("w", 1)).join()
    worker.say(m.Activated(version=1, group="g", slots=slot_set.pack(slot_set.ALL)))
    client = await (await stage.puppet("c", 2, "client")).join()
    await asyncio.sleep(0.5)
    return worker, client


@staged
async def test_a_worker_joins_and_is_placed(stage):
    worker, client = await pair(stage)
    assert worker.all(m.Joined)[0].broker == 999
    assert worker.all(m.Published)[0].record.members[0].state == "placed"
    assert [one.version for one in worker.all(m.Settled)] == [1]
    assert client.all(m.Joined)[0].record.version == 1


@staged
async def test_heartbeats_are_answered(stage):
    await pair(stage)
    await stage.puppet("stranger", 77)
    await asyncio.sleep(0.5)
    assert stage.beat_answers["w"].status is BeatStatus.OK
    assert stage.beat_answers["w"].version == 1
    assert stage.beat_answers["stranger"].status is BeatStatus.UNKNOWN


@staged
async def test_a_silent_worker_is_evicted_and_its_link_is_ended(stage):
    worker, client = await pair(stage)
    await asyncio.sleep(2.5)
    worker.beats = False
    await asyncio.sleep(2.8)
    assert [one.reason for one in worker.all(m.Evicted)] == ["silent for 2.4 s"]
    assert worker.over
    assert client.all(m.Published)[-1].record.over == [1]


@staged
async def test_a_reaped_worker_is_evicted_at_once(stage):
    _, client = await pair(stage)
    answer = await client.operate("reaped", incarnation=1)
    assert answer.body == {"was_member": True}
    assert client.all(m.Published)[-1].record.over == [1]


@staged
async def test_two_workers_with_one_name_the_second_is_refused(stage):
    await pair(stage)
    second = await (await stage.puppet("w", 5)).join()
    await asyncio.sleep(second.all(m.Refused)[0].retry_after_s)
    await second.join()
    assert "a worker named 'w' is alive" in second.all(m.Refused)[-1].reason


@staged
async def test_a_join_under_a_false_incarnation_ends_the_link(stage):
    worker = await stage.puppet("w", 1)
    await worker.join()
    liar = await stage.puppet("x", 3)
    liar.incarnation = 1
    await liar.join()
    assert liar.over
    assert not liar.all(m.Joined)


@staged
async def test_junk_from_a_member_ends_its_link_and_nothing_else(stage):
    worker, client = await pair(stage)
    client.link.send(b"\x03junk", 1)
    await asyncio.sleep(0.2)
    assert client.over
    assert not worker.over
    stage.broker.datagram(b"r", b"junk")
    assert stage.broker.facts()["junk_beats"] == 1


@staged
async def test_status_holds_the_statistics_of_those_who_answer(stage):
    worker, client = await pair(stage)
    worker.answers[m.Report] = {"actors": 3}
    answer = await client.operate("status")
    rows = {row["name"]: row for row in answer.body["nodes"]}
    assert rows["w"]["statistics"] == {"actors": 3}
    assert rows["c"]["statistics"] is None
    assert rows["w"]["liveness"] == "alive"
    assert rows["w"]["slots_held"] == 4096
    assert answer.body["broker"]["is_settled"] is True
    assert [event["event"] for event in answer.body["events"]] == ["joined", "version", "joined"]


@staged
async def test_get_and_describe_show_nodes_groups_types_and_actors(stage):
    _, client = await pair(stage)
    get = {
        kind: (await client.operate("get", kind=kind)).body["rows"] for kind in ("nodes", "type")
    }
    assert [row["name"] for row in get["nodes"]] == ["c", "w"]
    assert [row["group"] for row in get["type"]] == ["g"]
    actor = (await client.operate("describe", kind="actor", name="T/x")).body
    assert (actor["owner"], actor["group"]) == ("w", "g")
    node = (await client.operate("describe", kind="node", name="w")).body
    assert node["role"] == "worker"
    types = (await client.operate("types")).body["types"]
    assert types["T"]["signature"] == {"name": "T", "methods": {}}


@pytest.mark.parametrize(
    ("verb", "body", "code", "said"),
    [
        ("stauts", {}, "usage", "no verb 'stauts'. Did you mean 'status'?"),
        ("get", {"kind": "wrokers"}, "usage", "Did you mean 'workers'?"),
        ("get", {}, "usage", "needs a text 'kind'"),
        ("describe", {"kind": "node", "name": "ww"}, "not_found", "no node 'ww'"),
        ("describe", {"kind": "type", "name": "U"}, "not_found", "no worker hosts"),
        ("describe", {"kind": "actor", "name": "noslash"}, "usage", "no key"),
        ("drain", {"name": "x"}, "not_found", "no node 'x'"),
        ("set", {"path": "pool/p", "values": {}}, "usage", "needs values"),
        ("set", {"path": "pool/p", "values": {"weight.w": -1}}, "usage", "from 0 to 1000"),
        ("set", {"path": "pool/p", "values": {"strategy": "weighted"}}, "usage", "in the code"),
        ("set", {"path": "worker/c", "values": {"weight": 2}}, "usage", "not a worker"),
        ("set", {"path": "x", "values": {"a": 1}}, "usage", "cannot be set"),
        ("reaped", {"incarnation": "1"}, "usage", "needs the incarnation"),
    ],
)
def test_a_wrong_request_is_answered_with_what_is_wrong(verb, body, code, said):
    async def run(clock):
        async with Stage(clock) as stage:
            _, client = await pair(stage)
            answer = await client.operate(verb, **body)
            assert answer.error["code"] == code
            assert said in answer.error["message"]

    run_virtually(run)


@staged
async def test_set_publishes_the_weights_of_a_pool(stage):
    _, client = await pair(stage)
    values = {"weight.w": 3, "weight.v": 0}
    answer = await client.operate("set", path="pool/p", values=values)
    assert (answer.body["path"], answer.body["values"]) == ("pool/p", values)
    assert client.all(m.Published)[-1].record.settings == {"pool/p": values}


@staged
async def test_a_weight_of_a_worker_that_is_not_there_is_set_with_a_warning(stage):
    _, client = await pair(stage)
    await (await stage.puppet("summaries-1", 3)).join()
    values = {"weight.sumaries-1": 3, "weight.w": 2}
    answer = await client.operate("set", path="pool/p", values=values)
    assert answer.body["values"] == values
    said = "the fleet has no worker 'sumaries-1' now. Did you mean 'summaries-1'?"
    assert answer.body["warnings"] == [said]
    answer = await client.operate("set", path="pool/p", values={"weight.sumaries-1": None})
    assert "warnings" not in answer.body


@staged
async def test_drain_takes_the_slots_and_tells_the_worker(stage):
    worker, client = await pair(stage)
    await client.operate("drain", name="w")
    assert worker.all(m.Drain)
    assert client.all(m.Published)[-1].record.members[0].state == "draining"


@staged
async def test_a_worker_that_fails_three_probes_owns_nothing_until_it_answers(stage):
    worker, client = await pair(stage)
    other = await (await stage.puppet("v", 3)).join()
    other.answers[m.Probe] = {"ok": True}
    everything = slot_set.pack(slot_set.ALL)

    async def hand_over(node):
        """The slots of both are taken for handed over, in whatever way."""
        group = stage.broker.fleet.groups["g"]
        group.holders = dict(group.owners)
        node.say(m.Activated(version=1, group="g", slots=slot_set.pack(0)))
        await asyncio.sleep(0.2)

    assert len(everything) == 512
    await hand_over(worker)
    await asyncio.sleep(100)
    await hand_over(worker)
    states = {one.name: one.state for one in client.all(m.Published)[-1].record.members}
    assert states == {"w": "unhealthy", "v": "placed"}
    row = (await client.operate("describe", kind="node", name="w")).body
    assert row["probe_reason"] == "no answer within 5 s"
    worker.answers[m.Probe] = {"ok": True}
    await asyncio.sleep(40)
    await hand_over(worker)
    states = {one.name: one.state for one in client.all(m.Published)[-1].record.members}
    assert states == {"w": "placed", "v": "placed"}


class FullStore(MemoryLeaseStore):
    is_full = False

    def save(self, state):
        if self.is_full:
            raise StoreError("the disk is full")
        super().save(state)


def test_a_full_disk_refuses_joins_and_settings_and_status_says_so():
    async def run(clock):
        store = FullStore()
        async with Stage(clock, store=store) as stage:
            _, client = await pair(stage)
            store.is_full = True
            late = await (await stage.puppet("v", 3)).join()
            assert "the disk is full" in late.all(m.Refused)[0].reason
            assert late.all(m.Refused)[0].retry_after_s > 0
            assert (await client.operate("status")).body["broker"]["store_error"]
            answer = await client.operate("set", path="pool/p", values={"weight.w": 1})
            assert answer.error["code"] == "store"
            store.is_full = False
            await late.join()
            assert late.all(m.Joined)

    run_virtually(run)


def test_a_broker_that_starts_again_knows_its_fleet():
    async def run(clock):
        store = MemoryLeaseStore()
        async with Stage(clock, store=store) as stage:
            await pair(stage)
        async with Stage(clock, store=store) as stage:
            assert [one.name for one in stage.broker.fleet.members.values()] == ["w", "c"]
            assert stage.broker.fleet.version == 1

    run_virtually(run)


def test_a_store_that_cannot_be_read_ends_the_start_with_its_reason():
    async def run(clock):
        broker = Broker(clock=clock, store=MemoryLeaseStore(b"junk"))
        with pytest.raises(StoreError, match="holds no fleet"):
            await broker.start()
        await broker.close()

    run_virtually(run)


def test_a_port_in_use_ends_the_start_with_its_reason():
    async def run(clock):
        network = Network(1)
        first = Broker(bind="tcp://b:1", clock=clock, transport=network.transport("a"))
        second = Broker(bind="tcp://b:1", clock=clock, transport=network.transport("b"))
        async with first:
            with pytest.raises(LinkError, match="in use"):
                await second.start()

    run_virtually(run)
