"""Links between real processes: resets, damage, kills, freezes, junk and refusals."""

import asyncio
import contextlib
import signal
import socket
import sys
import time
from pathlib import Path
from random import Random

import psutil
import pytest
import pytest_asyncio
import zmq
from link_nodes import LinkNode, until
from packet_oracle import packet
from tcp_proxy import TcpProxy
from wire_junk import junk

from denoagents._native.clock import Clock
from denoagents.envelope import PacketKind
from denoagents.errors import ConfigurationError, HandshakeError, LinkError, UsageError
from denoagents.link import LinkSettings, ZeroMQTransport
from denoagents.link.handshake import Refused, decode

ECHO = Path(__file__).parent / "link_echo.py"


class EchoProcess:
    """Another process that sends everything back."""

    def __init__(self, process, endpoint):
        self.process, self.endpoint = process, endpoint

    @classmethod
    async def start(cls, incarnation=77, cluster="default", endpoint="tcp://127.0.0.1:0"):
        process = await asyncio.create_subprocess_exec(
            sys.executable, ECHO, str(incarnation), cluster, endpoint,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        async with asyncio.timeout(10):
            line = await process.stdout.readline()
        return cls(process, line.decode().strip())

    @property
    def port(self):
        return int(self.endpoint.rpartition(":")[2])

    async def line(self):
        async with asyncio.timeout(10):
            return (await self.process.stdout.readline()).decode().strip()

    async def end(self):
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGCONT)
            self.process.stdin.close()
        try:
            async with asyncio.timeout(5):
                await self.process.wait()
        except TimeoutError:
            self.process.kill()
            await self.process.wait()


@pytest_asyncio.fixture
async def echo():
    process = await EchoProcess.start()
    yield process
    await process.end()


@pytest_asyncio.fixture
async def caller():
    node = LinkNode("caller")
    node.open(ZeroMQTransport(), Clock())
    await node.mesh.start(None)
    yield node
    await node.mesh.close()


def numbered(count, size=100):
    return [b"%d " % number + bytes(size) for number in range(count)]


@pytest.mark.asyncio
async def test_resets_lose_nothing_keep_the_order_and_double_nothing(echo, caller):
    sent = numbered(3000)
    async with TcpProxy(echo.port) as proxy:
        link = caller.mesh.dial(proxy.endpoint)
        await until(lambda: caller.ups)
        for number, body in enumerate(sent):
            link.send(body, 1)
            if number % 10 == 9:
                await asyncio.sleep(0.005)
            if number % 200 == 199:
                proxy.reset()
        await until(lambda: len(caller.bodies) >= len(sent), 20)
        await until(lambda: caller.accepted_count == len(sent))
        assert caller.bodies == sent
        told = link.statistics()
        assert proxy.resets >= 10 and told.connections > 10 and told.resends > 0


@pytest.mark.asyncio
async def test_flipped_bits_on_the_way_lose_nothing(echo, caller):
    sent = numbered(1000)
    async with TcpProxy(echo.port, seed=3) as proxy:
        link = caller.mesh.dial(proxy.endpoint)
        await until(lambda: caller.ups)
        proxy.damage_share = 0.05
        for number, body in enumerate(sent):
            link.send(body, 1)
            if number % 5 == 0:
                await asyncio.sleep(0.003)
        proxy.damage_share = 0.0
        await until(lambda: len(caller.bodies) >= len(sent), 30)
        assert caller.bodies == sent and proxy.damaged >= 3
        assert link.statistics().connections > 1


@pytest.mark.asyncio
async def test_a_killed_peer_is_noticed_at_once_and_its_successor_is_another(echo, caller):
    link = caller.mesh.dial(echo.endpoint)
    await until(lambda: caller.ups)
    echo.process.kill()
    await until(lambda: link.state == "down", 1.0)
    link.send(b"unknown", 3)
    successor = await EchoProcess.start(78, endpoint=echo.endpoint)
    await until(lambda: caller.overs)
    assert caller.overs == [("echo", "other incarnation", 3)]
    assert caller.bodies == []
    await successor.end()


@pytest.mark.asyncio
async def test_a_frozen_peer_loses_nothing(echo, caller):
    link = caller.mesh.dial(echo.endpoint)
    await until(lambda: caller.ups)
    sent = numbered(2000)
    echo.process.send_signal(signal.SIGSTOP)
    for body in sent:
        link.send(body, 1)
    await asyncio.sleep(0.5)
    assert caller.bodies == [] and link.state == "up" and link.retained_count == 2000
    echo.process.send_signal(signal.SIGCONT)
    await until(lambda: len(caller.bodies) == 2000)
    assert caller.bodies == sent and len(caller.ups) == 1


@pytest.mark.asyncio
async def test_a_dead_network_is_found_within_the_keep_alive_time(echo):
    caller = LinkNode("caller")
    settings = LinkSettings(keep_alive_s=1.0)
    caller.open(ZeroMQTransport(settings), Clock(), settings=settings)
    await caller.mesh.start(None)
    async with TcpProxy(echo.port) as proxy:
        link = caller.mesh.dial(proxy.endpoint)
        await until(lambda: caller.ups)
        await asyncio.sleep(1.5)
        assert link.state == "up" and len(caller.ups) == 1
        proxy.stall()
        await until(lambda: link.state == "down", 1.2)
        proxy.reset()
        proxy.go_on()
        await until(lambda: link.state == "up", 5)
    await caller.mesh.close()


@pytest.mark.asyncio
async def test_a_goodbye_reaches_the_other_process(echo):
    caller = LinkNode("caller")
    caller.open(ZeroMQTransport(), Clock())
    await caller.mesh.start(None)
    link = caller.mesh.dial(echo.endpoint)
    link.send(b"x", 1)
    await until(lambda: caller.bodies)
    start_s = time.monotonic()
    await caller.mesh.close()
    assert time.monotonic() - start_s < 1.0
    assert [await echo.line(), await echo.line()] == ["up caller True", "over caller 0 goodbye"]


@pytest.mark.asyncio
async def test_closing_does_not_hang_on_a_frozen_peer(echo):
    caller = LinkNode("caller")
    caller.open(ZeroMQTransport(), Clock())
    await caller.mesh.start(None)
    link = caller.mesh.dial(echo.endpoint)
    await until(lambda: caller.ups)
    echo.process.send_signal(signal.SIGSTOP)
    link.send(bytes(1 << 20), 7)
    start_s = time.monotonic()
    await caller.mesh.close(linger_s=0.3)
    assert 0.3 <= time.monotonic() - start_s < 2.0
    assert caller.overs == [("echo", "closed", 7)]


@pytest.mark.asyncio
@pytest.mark.parametrize("size", [0, 1 << 10, 1 << 20, 16 << 20])
async def test_large_bodies_come_back_whole(echo, caller, size):
    body = Random(size).randbytes(size) or b"x"
    link = caller.mesh.dial(echo.endpoint)
    link.send(body, 1)
    await until(lambda: caller.bodies)
    assert caller.bodies == [body]


@pytest.mark.asyncio
async def test_another_cluster_is_refused_and_told_why(caller):
    stranger = await EchoProcess.start(cluster="elsewhere")
    link = caller.mesh.dial(stranger.endpoint)
    link.send(b"x", 1)
    await until(lambda: caller.overs)
    assert isinstance(link.error, HandshakeError) and "'elsewhere'" in str(link.error)
    assert caller.overs[0][2] == 1
    stranger.process.stdin.close()
    logged = (await stranger.process.stdout.read()).decode()
    assert "link.refused" in logged and "elsewhere" in logged
    await stranger.end()


@pytest.mark.asyncio
async def test_another_wire_version_is_refused_and_told_why(echo):
    context = zmq.Context()
    dealer = context.socket(zmq.DEALER)
    dealer.linger = 0
    dealer.connect(echo.endpoint)
    dealer.send(packet(PacketKind.HELLO, b"whatever that version says", version=9))
    await until(lambda: dealer.poll(0))
    answer = dealer.recv(zmq.DONTWAIT)
    assert answer[3] == PacketKind.REFUSED
    assert "speaks 9" in decode(Refused, answer[48:]).reason
    dealer.close()
    context.term()


@pytest.mark.asyncio
async def test_a_port_in_use_is_a_clear_error(echo):
    node = LinkNode("second")
    mesh = node.open(ZeroMQTransport(), Clock())
    with pytest.raises(LinkError, match="the port is in use"):
        await mesh.start(echo.endpoint)
    with pytest.raises(ConfigurationError, match="tcp://HOST:PORT"):
        await mesh.start("nonsense")
    await mesh.close()


@pytest.mark.asyncio
async def test_no_endpoint_is_a_clear_error(caller):
    with pytest.raises(UsageError, match="tcp://HOST:PORT"):
        caller.mesh.dial("nonsense")


@pytest.mark.asyncio
async def test_junk_on_the_port_disturbs_nobody_and_takes_no_memory(echo, caller):
    link = caller.mesh.dial(echo.endpoint)
    await until(lambda: caller.ups)
    before = psutil.Process(echo.process.pid).memory_info().rss
    open_sockets = []
    for number, noise in enumerate(junk()):
        raw = socket.create_connection(("127.0.0.1", echo.port))
        raw.sendall(noise)
        open_sockets.append(raw)
        link.send(b"%d" % number, 1)
        await asyncio.sleep(0.002)
    await until(lambda: len(caller.bodies) == len(open_sockets))
    await asyncio.sleep(0.1)
    for raw in open_sockets:
        raw.close()
    assert caller.bodies == [b"%d" % number for number in range(len(open_sockets))]
    assert len(caller.ups) == 1 and echo.process.returncode is None
    assert psutil.Process(echo.process.pid).memory_info().rss - before < 16 << 20


@pytest.mark.asyncio
async def test_links_that_come_and_go_leave_nothing_behind(echo, caller):
    async def come_and_go(times):
        for _ in range(times):
            link = caller.mesh.dial(echo.endpoint)
            link.send(b"x", 1)
            await link.when_accepted()
            caller.mesh.end(link, "enough")

    await come_and_go(20)
    await asyncio.sleep(0.2)
    before = psutil.Process().num_fds()
    await come_and_go(100)
    await until(lambda: psutil.Process().num_fds() <= before + 3)
    assert list(caller.mesh.links) == []


@pytest.mark.asyncio
async def test_no_wake_up_is_lost_at_full_speed(echo, monkeypatch):
    monkeypatch.setattr("denoagents.link.mesh._LONGEST_TICK_S", 1000)  # nothing looks again
    settings = LinkSettings(keep_alive_s=20_000)
    caller = LinkNode("caller")
    caller.open(ZeroMQTransport(settings), Clock(), settings=settings)
    await caller.mesh.start(None)
    link = caller.mesh.dial(echo.endpoint)
    body = b"keep" + Random(1).randbytes(3000)
    for number in range(20_000):
        link.send(body, 1)
        if link.credit_bytes <= 0:
            await until(lambda: link.credit_bytes > 0, 5)
        elif number % 20 == 0:
            await asyncio.sleep(0)
    await until(lambda: caller.accepted_count == 20_000, 5)
    await caller.mesh.close()


@pytest.mark.asyncio
async def test_an_idle_link_costs_next_to_no_time(echo, caller):
    link = caller.mesh.dial(echo.endpoint)
    link.send(b"x", 1)
    await link.when_accepted()
    await asyncio.sleep(0.1)
    before_s = time.process_time()
    await asyncio.sleep(1.0)
    assert time.process_time() - before_s < 0.02
