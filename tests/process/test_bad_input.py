"""Everything wrong that can come in is told clearly, and nothing is lost over it."""

import asyncio
import resource
import socket
import time
from pathlib import Path

import psutil
import pytest
from link_nodes import LinkNode
from link_nodes import until as link_until
from real_fleet import Child, RealFleet, load, refs_on, settled, until
from wire_junk import junk

from denoagents import Actor, Node, NodeSettings, options, tell
from denoagents._native.clock import Clock
from denoagents.errors import (
    ArgumentsError,
    EncodingError,
    JoinRefusedError,
    PayloadTooLargeError,
    ReplyEncodingError,
    RequestTimeoutError,
    UnknownActorTypeError,
    UnknownMethodError,
    UnreachableError,
)
from denoagents.link.connection import ZeroMQTransport

app = load()


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    with RealFleet(tmp_path_factory.mktemp("bad")) as fleet:
        fleet.start("a", "b")
        yield fleet


class Stranger(Actor):
    """An actor that no worker hosts."""

    async def hello(self) -> None:
        """Says nothing."""


# --- calls ----------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_unknown_types_methods_and_arguments_name_what_there_is(fleet):
    async with fleet.client() as client:
        await settled(client, "a", "b")
        with pytest.raises(UnknownActorTypeError, match=r"no worker hosts.*'Stranger'.*Hosted are"):
            await client.actor(Stranger, "x").hello()
        with pytest.raises(UnknownActorTypeError, match="Did you mean 'Counter'"):
            await client.ask("Conter/x", "add", 1)
        with pytest.raises(UnknownMethodError, match="Did you mean 'add'"):
            await client.ask("Counter/x", "ad", 1)
        with pytest.raises(UnknownMethodError):
            await client.ask("Counter/x", "_private")
        with pytest.raises(ArgumentsError, match=r"add\(n: int\)"):
            await client.ask("Counter/x", "add", 1, 2)
        with pytest.raises(ArgumentsError):
            await client.ask("Counter/x", "add", "one")
        with pytest.raises(UnknownMethodError, match="Did you mean 'add'"):
            client.actor(app.Counter, "x").ad(1)
        assert await client.actor(app.Counter, "x").count() == 0, "none of it ran"


@pytest.mark.asyncio
async def test_a_payload_that_cannot_be_encoded_never_leaves(fleet):
    async with fleet.client() as client:
        ref = client.actor(app.Journal, "encode")
        for wrong in (object(), open, 2**70, asyncio.current_task()):
            with pytest.raises((EncodingError, ArgumentsError)):
                await ref.note(wrong)
            with pytest.raises((EncodingError, ArgumentsError)):
                await tell(ref.note, wrong)
        assert await ref.noted() == []
        books = client.statistics()["accounting"]
        assert books["off"] == 0


@pytest.mark.asyncio
async def test_a_hundred_megabytes_are_refused_before_a_byte_leaves(fleet):
    async with fleet.client() as client:
        ref = client.actor(app.Faulty, "big")
        assert await ref.take(b"small") == 5
        before = sum(link["bytes_out"] for link in client.statistics()["links"])
        with pytest.raises(PayloadTooLargeError) as caught:
            await ref.take(bytes(100_000_000))
        assert caught.value.size_bytes >= 100_000_000
        for part in (
            str(caught.value.size_bytes),
            str(caught.value.limit_bytes),
            "link.max_payload",
        ):
            assert part in str(caught.value)
        with pytest.raises(PayloadTooLargeError):
            await tell(ref.take, bytes(100_000_000))
        assert sum(link["bytes_out"] for link in client.statistics()["links"]) - before < 10_000
        with pytest.raises(PayloadTooLargeError, match=r"link\.max_payload"):
            await ref.big(100_000_000)  # the reply: refused at its sender, told to the asker
        assert await ref.take(bytes(10_000_000)) == 10_000_000, "what is allowed passes"


# --- handlers -------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_garbage_from_a_handler_is_the_handlers_error(fleet):
    async with fleet.client() as client:
        ref = client.actor(app.Faulty, "garbage")
        with pytest.raises(ReplyEncodingError, match="garbage"):
            await ref.garbage()
        with pytest.raises(ReplyEncodingError):
            await ref.opaque()
        assert await ref.where(), "the actor goes on"


@pytest.mark.asyncio
async def test_a_handler_that_never_ends_ends_with_its_deadline(fleet):
    async with fleet.client() as client:
        ref = client.actor(app.Faulty, "never")
        with pytest.raises(RequestTimeoutError, match="whether it ran is unknown"):
            await options(ref, timeout_s=0.2).never()
        assert await options(ref, timeout_s=2).where(), "the turn was cancelled: the actor is free"


@pytest.mark.asyncio
async def test_a_handler_that_blocks_is_named_while_it_does(fleet):
    """And others on the same worker answer when it is over: nothing is lost."""
    worker = fleet.workers["a"]
    async with fleet.client() as client:
        (ref,) = await refs_on(client, app.Faulty, worker, 1, "block")
        others = await refs_on(client, app.Counter, worker, 10, "beside")
        address = str(ref)[5:-1]
        blocking = asyncio.create_task(ref.block(1.0))
        begun = time.monotonic()
        await until(lambda: "turn_holds_the_loop" in worker.log, 1.5)
        assert time.monotonic() - begun < 1.0, "while it still blocks"
        assert not blocking.done()
        line = next(one for one in worker.log.splitlines() if "turn_holds_the_loop" in one)
        assert address in line
        assert '"method":"block"' in line
        assert "time.sleep(seconds)" in line, "with the stack"
        assert await asyncio.gather(*[one.add(1) for one in others]) == [1] * 10
        assert await blocking == "free again"
        assert "evicted" not in fleet.broker.log


# --- addresses ------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_broker_that_does_not_answer_is_told_with_what_to_type(fleet):
    quick = NodeSettings(join_timeout_s=0.5)
    with pytest.raises(UnreachableError, match=r"denoagents broker --bind tcp://127\.0\.0\.1:1"):
        await Node(broker="tcp://127.0.0.1:1", settings=quick).start()
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(UnreachableError, match=r"within 0\.5 s"):
            await Node(broker=f"tcp://127.0.0.1:{silent.getsockname()[1]}", settings=quick).start()


@pytest.mark.asyncio
async def test_a_port_in_use_ends_a_worker_with_the_reason(fleet, tmp_path):
    async with fleet.client() as client:
        rows = (await client.control("get", {"kind": "workers"}))["rows"]
    child = fleet.begin("port", "--bind", rows[0]["endpoint"])
    assert await child.ended() == 5
    assert rows[0]["endpoint"] in child.log
    assert "in use" in child.log


# --- the wire -------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_junk_on_every_port_disturbs_nobody_and_takes_no_memory(fleet):
    """Noise, cut and damaged packets, huge lengths, at the broker's port and at a worker's."""
    victims = (fleet.broker, fleet.workers["a"])
    async with fleet.client() as client:
        rows = (await client.control("get", {"kind": "workers"}))["rows"]
        worker = next(row["endpoint"] for row in rows if row["name"] == "a")
        ports = [int(one.rpartition(":")[2]) for one in (fleet.endpoint, worker)]
        ref = (await refs_on(client, app.Counter, fleet.workers["a"], 1, "junk"))[0]
        memory = [one.rss for one in victims]
        for count, noise in enumerate(junk(), 1):
            raws = [socket.create_connection(("127.0.0.1", port)) for port in ports]
            for raw in raws:
                raw.sendall(noise)
            assert await ref.add(1) == count
            for raw in raws:
                raw.close()
        assert len((await client.control("get", {"kind": "workers"}))["rows"]) == 2
        for one, before in zip(victims, memory, strict=True):
            assert one.code is None
            assert one.rss - before < 20e6


@pytest.mark.asyncio
async def test_junk_from_a_peer_with_a_proper_handshake_ends_that_link_alone(fleet):
    """Records that claim what is not there, at a worker; then the next link works as ever."""
    async with fleet.client() as client:
        rows = (await client.control("get", {"kind": "workers"}))["rows"]
        endpoint = next(row["endpoint"] for row in rows if row["name"] == "a")
        ref = (await refs_on(client, app.Counter, fleet.workers["a"], 1, "records"))[0]
        bodies = (
            b"\x00", b"\xff" * 50, b"\x04\x01\x01\x00\x01\x00", b"\x01\xff\xff\xff\xff\x0f",
            b"\x01\x03abc\x04\x01\x01\x1c" + b"\xff" * 30, b"\x11\x00\x05\xc1\xc1\xc1\xc1\xc1",
            b"\x01\x01\xff\x03\x01\x01\x00\x01\x00", b"\x06" + b"\xff" * 9 + b"\x7f", b"\x0b\x01",
        )  # fmt: skip
        for number, body in enumerate(bodies):
            node = LinkNode(f"junk{number}")
            node.open(ZeroMQTransport(), Clock(), incarnation=1_000_000 + number)
            await node.mesh.start(None)
            link = node.mesh.dial(endpoint)
            await link_until(lambda node=node: node.ups)
            link.send(body, 1)
            await link_until(lambda node=node, link=link: node.overs or not link.retained_count)
            await node.mesh.close()
        assert await ref.add(1) == 1
        assert fleet.workers["a"].code is None
        assert "peer speaks nonsense" in fleet.workers["a"].log
        assert "Traceback" not in fleet.workers["a"].log.partition("turn_holds")[0]


# --- the machine ----------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_wall_clock_that_jumps_changes_nothing(fleet):
    """Deadlines, leases and admission run on the boot-time clock."""
    async with fleet.client() as client:
        workers = list(fleet.workers.values())[:2]
        refs = [(await refs_on(client, app.Faulty, one, 1, "jump"))[0] for one in workers]
        for days in (1, -2, 400):
            for ref in refs:
                await ref.jump(days * 86400.0)
            for ref in refs:
                assert await options(ref, timeout_s=1).where()
                with pytest.raises(RequestTimeoutError):
                    await options(ref, timeout_s=0.1).never()
            await asyncio.sleep(0.1)
        assert "evicted" not in fleet.broker.log
        assert client.statistics()["accounting"]["off"] == 0


@pytest.mark.asyncio
@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="only Linux can fill another's disk")
async def test_a_full_disk_refuses_joins_with_the_reason_and_stops_nobody(tmp_path):
    """The broker may write no byte more: members go on, deaths are told, room lets joins in."""
    with RealFleet(tmp_path) as fleet:
        fleet.start("a", "b")
        async with fleet.client("caller") as client:
            await settled(client, "a", "b")
            counters = [client.actor(app.Counter, f"d{n}") for n in range(20)]
            await asyncio.gather(*[one.add(1) for one in counters])
            limits = resource.prlimit(fleet.broker.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(fleet.broker.pid, resource.RLIMIT_FSIZE, (1, limits[1]))
            with pytest.raises(JoinRefusedError, match="cannot store"):
                await fleet.client("refused", NodeSettings(join_timeout_s=0.5)).start()
            assert await asyncio.gather(*[one.add(1) for one in counters]) == [2] * 20
            fleet.workers["b"].kill()
            begun = time.monotonic()
            assert set(await asyncio.gather(*[one.where() for one in counters])) == {
                fleet.workers["a"].pid
            }
            assert time.monotonic() - begun < 5
            resource.prlimit(fleet.broker.pid, resource.RLIMIT_FSIZE, limits)
            async with fleet.client("later"):
                pass


def test_a_store_that_cannot_be_written_is_told_at_the_start(tmp_path):
    words = ("broker", "--bind", "tcp://127.0.0.1:0", "--store", tmp_path / "no" / "broker.db")
    child = Child("broker", tmp_path, *words)
    try:
        assert child.process.wait(10) != 0
        assert "cannot be opened" in child.log
        assert "Traceback" not in child.log
    finally:
        child.end()


def test_a_store_of_another_program_is_left_alone(tmp_path):
    path = Path(tmp_path / "broker.db")
    path.write_bytes(b"this is somebody else's file" * 100)
    child = Child("broker", tmp_path, "broker", "--bind", "tcp://127.0.0.1:0", "--store", path)
    try:
        assert child.process.wait(10) != 0
        assert "no broker store" in child.log
        assert path.read_bytes() == b"this is somebody else's file" * 100
    finally:
        child.end()
    assert not psutil.pid_exists(child.pid)
