"""A fleet with keys: it works as without, and who is not on the allow-list has no part in it."""

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
import time

import pytest
import zmq
from real_fleet import Child, RealFleet, key_of, load, refs_on, settled, until
from wire_junk import junk

from denoagents import NodeSettings
from denoagents.errors import (
    ConfigurationError,
    DenoagentsError,
    KeyRefusedError,
    NotAllowedError,
    UnreachableError,
)
from denoagents.limits.settings import AdmissionSettings
from denoagents.security.allow_list import Entry
from denoagents.security.folder import KeysFolder
from denoagents.security.key import Key
from denoagents.security.settings import SecuritySettings

app = load()


def keys(folder, *words, code=0):
    """Run `denoagents keys …` for this folder; its JSON."""
    command = [
        sys.executable,
        "-m",
        "denoagents.cli",
        "keys",
        *words,
        "--keys",
        folder,
        "-o",
        "json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout if code == 0 else done.stderr)


def make(folder, **roles):
    path = KeysFolder(folder)
    for name, role in roles.items():
        key = Key.make(name, role)
        key.write(path.path)
        path.change(lambda now, key=key: now.with_entry(Entry(key.public, key.name, key.role)))
    return path


def settings(folder, key, **others):
    security = SecuritySettings(folder=str(folder.path), key=key)
    admission = AdmissionSettings(rate=None)
    return NodeSettings(admission=admission, security=security, join_timeout_s=3.0, **others)


class KeyedFleet(RealFleet):
    def __init__(self, folder):
        self.keys = make(
            folder / "keys",
            broker="broker", a="worker", b="worker", alice="client", ops="operator",
        )  # fmt: skip
        super().__init__(folder, flags=["--keys", str(self.keys.path)])

    def client(self, key="ops", **others):
        return super().client(settings=settings(self.keys, key), **others)


@pytest.fixture
def fleet(tmp_path):
    with KeyedFleet(tmp_path) as fleet:
        fleet.start("a", "b")
        yield fleet


@pytest.mark.asyncio
async def test_a_fleet_with_keys_does_what_one_without_does(fleet, tmp_path):
    async with fleet.client("alice") as client:
        await settled(client, "a", "b")
        here, there = [
            await refs_on(client, app.Counter, one, 5, "x") for one in fleet.workers.values()
        ]
        for ref, other in zip((*here, *there), (*there, *here), strict=True):
            path = str(tmp_path / "trace")
            await ref.add_and_tell(2, 0.0, [key_of(other)], path)  # from worker to worker
        names = [key_of(ref) for ref in (*here, *there)]
        before = [await ref.count() for ref in (*here, *there)]
        assert min(before) >= 4
    async with fleet.client("ops") as operator:
        await operator.control("drain", {"name": "a"})
        assert await fleet.workers["a"].ended() == 0
        await settled(operator, "b")
        after = [await operator.actor(app.Counter, name).count() for name in names]
        assert after == before, "state moved from worker to worker"
    assert "Traceback" not in fleet.broker.log + fleet.workers["b"].log


@pytest.mark.asyncio
async def test_roles_are_refused_with_an_error_that_names_them(fleet):
    async with fleet.client("alice") as client:
        await client.control("status")
        for verb, body in (("drain", {"name": "a"}), ("set", {"path": "worker/a"}), ("reaped", {})):
            with pytest.raises(NotAllowedError, match="'alice' has the role client"):
                await client.control(verb, body)
    for key in ("alice", "ops"):
        child = fleet.begin("c", "--set", f"security.key={key}")
        assert await child.ended() in {2, 5}
        assert "role" in child.log


@pytest.mark.asyncio
async def test_an_unlisted_key_no_key_and_a_wrong_broker_key_have_no_part(fleet, tmp_path):
    async with fleet.client() as operator:
        before = await operator.control("status")
        stranger = make(tmp_path / "strange", mallory="client")
        broker = fleet.keys.allowed().broker
        stranger.change(lambda now: now.with_entry(broker))
        begun = time.monotonic()
        with pytest.raises(KeyRefusedError, match="not on its allow-list"):
            await RealFleet.client(fleet, settings=settings(stranger, "mallory")).start()
        assert time.monotonic() - begun < 2
        with pytest.raises(UnreachableError, match="--keys"):
            await RealFleet.client(fleet, settings=NodeSettings(join_timeout_s=1.0)).start()
        other = Key.make("broker", "broker")
        wrong = make(tmp_path / "wrong", alice="client")
        wrong.change(lambda now: now.with_entry(Entry(other.public, "broker", "broker")))
        with pytest.raises(DenoagentsError, match="key"):
            await RealFleet.client(fleet, settings=settings(wrong, "alice")).start()
        after = await operator.control("status")
    assert [one["name"] for one in after["nodes"]] == [one["name"] for one in before["nodes"]]


@pytest.mark.asyncio
async def test_a_node_cannot_take_anothers_name(fleet):
    child = fleet.begin("b-1", "--set", "security.key=a")
    assert await child.ended() != 0
    assert "belongs to another key" in child.log + fleet.broker.log
    free = fleet.begin("a-1")  # its own key by its name
    free.wait_for("joined")


@pytest.mark.asyncio
async def test_a_revoked_key_ends_within_two_seconds_everywhere_and_never_comes_back(fleet):
    async with fleet.client() as operator, fleet.client("alice") as client:
        await settled(operator, "a", "b")
        refs = [client.actor(app.Counter, f"x{i}") for i in range(8)]
        for ref in refs:
            await ref.add(1)
        fleet.keys.change(lambda now: now.without("alice"))
        revoked = time.monotonic()

        async def is_cut():
            try:
                async with asyncio.timeout(0.5):
                    for ref in refs:
                        await ref.add(1)
            except (DenoagentsError, TimeoutError):
                return True
            return False

        await until(is_cut, 5)
        took = time.monotonic() - revoked
        assert took < 2.5, took
        counts = [await operator.actor(app.Counter, f"x{i}").count() for i in range(8)]
        await asyncio.sleep(1.0)
        assert counts == [await operator.actor(app.Counter, f"x{i}").count() for i in range(8)]
        with pytest.raises(KeyRefusedError):
            await fleet.client("alice").start()
        # a worker's key: its actors answer elsewhere
        fleet.keys.change(lambda now: now.without("a"))
        await settled(operator, "b")
        for i in range(8):
            await asyncio.wait_for(operator.actor(app.Counter, f"z{i}").add(1), 5)


@pytest.mark.asyncio
async def test_a_token_enrols_one_worker_once_and_in_time(fleet, tmp_path):
    folder = str(fleet.keys.path)
    token = keys(folder, "invite", "--broker", fleet.endpoint)["token"]
    here = tmp_path / "here"
    words = ("worker", fleet.app, "--join", token, "--keys", here, "--name")
    joined = Child("new", tmp_path, *words, "new")
    fleet.children.append(joined)
    joined.wait_for("joined")
    assert {one["name"] for one in keys(folder, "show") if one["state"] == "allowed"} >= {"new"}
    again = Child("again", tmp_path, *words[:-2], tmp_path / "there", "--name", "again")
    fleet.children.append(again)
    assert await again.ended() == 5
    assert "ask for another" in again.log
    assert not list((tmp_path / "there").glob("*.key"))
    short = keys(folder, "invite", "--broker", fleet.endpoint, "--expires", "300ms")["token"]
    await asyncio.sleep(0.4)
    with pytest.raises(ConfigurationError, match="expired"):
        from denoagents.security.token import Token

        Token.decode(short)
    async with fleet.client() as operator:
        await settled(operator, "a", "b", "new")
        joined.signal(15)
        await joined.ended()
    back = Child("back", tmp_path, *words, "new")  # the same words again: it is enrolled already
    fleet.children.append(back)
    back.wait_for("joined")


@pytest.mark.asyncio
async def test_up_makes_its_workers_a_key_and_runs(tmp_path):
    folder = make(tmp_path / "keys", broker="broker", ops="operator")
    up = Child("up", tmp_path, "up", load.__globals__["APP"], "--broker-port", "0", "--keys",
               folder.path)  # fmt: skip
    try:
        endpoint = up.wait_for("ready")["endpoint"]
        fleet = type("Fleet", (), {"endpoint": endpoint})
        async with RealFleet.client(fleet, settings=settings(folder, "ops")) as client:
            assert await client.actor(app.Counter, "x").add(3) == 3
        with pytest.raises(UnreachableError):
            await RealFleet.client(fleet, settings=NodeSettings(join_timeout_s=0.7)).start()
        up.signal(15)
        assert await up.ended() == 0
    finally:
        up.end()


@pytest.mark.asyncio
async def test_a_flood_of_connections_and_junk_disturbs_nobody(fleet, tmp_path):
    """Junk at the broker's and a worker's port for five seconds, by strangers and a listed key."""
    victims = (fleet.broker, fleet.workers["a"])
    async with fleet.client("alice") as client:
        operator = fleet.client("ops")
        await operator.start()
        await settled(operator, "a", "b")
        rows = (await client.control("get", {"kind": "workers"}))["rows"]
        worker = next(row["endpoint"] for row in rows if row["name"] == "a")
        ref = (await refs_on(client, app.Counter, fleet.workers["a"], 1, "junk"))[0]
        await operator.close()
        memory = [one.rss for one in victims]
        alice = fleet.keys.key("alice")
        servers = (fleet.keys.key("broker"), fleet.keys.key("a"))
        until_s = time.monotonic() + 5
        waits, count, sent = [], 0, 0
        context = zmq.Context()
        listed = [context.socket(zmq.DEALER) for _ in servers]
        for socket_, server, endpoint in zip(
            listed, servers, (fleet.endpoint, worker), strict=True
        ):
            socket_.linger, socket_.sndhwm = 0, 100
            socket_.setsockopt(zmq.CURVE_PUBLICKEY, bytes.fromhex(alice.public))
            socket_.setsockopt(zmq.CURVE_SECRETKEY, bytes.fromhex(alice.secret))
            socket_.setsockopt(zmq.CURVE_SERVERKEY, bytes.fromhex(server.public))
            socket_.connect(endpoint)
        noises, held = list(junk()), []
        try:
            while time.monotonic() < until_s:
                for endpoint in (fleet.endpoint, worker):
                    raw = socket.create_connection(("127.0.0.1", int(endpoint.rpartition(":")[2])))
                    held.append(raw)
                    if count % 4 == 0:  # the others say nothing, and stay
                        with contextlib.suppress(OSError):
                            raw.sendall(noises[count // 4 % len(noises)])
                for raw in held[:-800]:
                    raw.close()
                del held[:-800]
                for socket_ in listed:
                    for _ in range(20):
                        with contextlib.suppress(zmq.Again):
                            socket_.send(bytes(3000), zmq.DONTWAIT)
                            sent += 1
                begun = time.monotonic()
                count += 1
                assert await ref.add(1) == count
                waits.append(time.monotonic() - begun)
        finally:
            context.destroy(linger=0)
            for raw in held:
                raw.close()
        waits.sort()
        grown = [(one.rss - was) >> 20 for one, was in zip(victims, memory, strict=True)]
        print(
            f"{count} asks answered under the flood, p50 {waits[count // 2] * 1e3:.1f} ms, "
            f"max {waits[-1] * 1e3:.0f} ms; {sent} pieces of junk with a listed key; "
            f"memory +{grown} MiB"
        )
        assert count > 100
        assert sent > 200
        assert waits[int(count * 0.99)] < 1.0
        told = await client.control("describe", {"kind": "node", "name": "a"})
        strangers = told["statistics"]["strangers"]
        print(strangers)
        assert strangers["cut_off"] > 0
        assert strangers["crowded_out"] > 0
        rows = (await client.control("get", {"kind": "workers"}))["rows"]
        assert {row["name"] for row in rows} == {"a", "b"}
        for one, before in zip(victims, memory, strict=True):
            assert one.code is None
            assert one.rss - before < 32 << 20


@pytest.mark.asyncio
async def test_a_worker_that_listens_everywhere_says_where_it_is(fleet):
    lost = fleet.begin("a-1", "--bind", "tcp://0.0.0.0:0")
    assert await lost.ended() == 2
    assert "--advertise tcp://HOST:PORT" in lost.log
    fleet.begin("a-2", "--bind", "tcp://0.0.0.0:0", "--advertise", "tcp://127.0.0.1").wait_for(
        "joined"
    )
    async with fleet.client() as operator:
        await settled(operator, "a", "b", "a-2")
        rows = (await operator.control("get", {"kind": "workers"}))["rows"]
        endpoint = next(row["endpoint"] for row in rows if row["name"] == "a-2")
        assert endpoint.startswith("tcp://127.0.0.1:")
        for ref in await refs_on(operator, app.Counter, fleet.workers["a-2"], 2, "adv"):
            assert await ref.add(1) == 1
