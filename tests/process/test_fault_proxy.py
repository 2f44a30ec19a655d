"""The fault proxy: each fault does what its name says, live, and in the direction asked for."""

import asyncio
import contextlib
import time

import pytest
import pytest_asyncio

from denoagents.errors import UsageError
from denoagents.testing.proxy import Conditions, FaultProxy


class Echo:
    """A server that answers with what it got, and counts it."""

    def __init__(self):
        self.got = b""
        self.chunks = 0
        self.ends = []

    async def serve(self, reader, writer):
        try:
            while chunk := await reader.read(65536):
                self.got += chunk
                self.chunks += 1
                writer.write(chunk)
                await writer.drain()
            self.ends.append("eof")
            writer.write(b"bye")
            await writer.drain()
            writer.close()
        except ConnectionError:
            self.ends.append("reset")


@pytest_asyncio.fixture
async def echo():
    echo = Echo()
    server = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
    echo.port = server.sockets[0].getsockname()[1]
    yield echo
    server.close()
    await server.wait_closed()


@contextlib.asynccontextmanager
async def through(echo, **options):
    async with FaultProxy(echo.port, **options) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        try:
            yield proxy, reader, writer
        finally:
            writer.transport.abort()


async def round_trip_s(reader, writer, data=b"x"):
    begun = time.monotonic()
    writer.write(data)
    assert await reader.readexactly(len(data)) == data
    return time.monotonic() - begun


@pytest.mark.asyncio
async def test_bytes_pass_unchanged_in_any_size(echo):
    async with through(echo) as (proxy, reader, writer):
        for size in (1, 1000, 1_000_000):
            await round_trip_s(reader, writer, bytes(range(256)) * (size // 256 + 1))
        assert proxy.connections == 1
        assert proxy.passed_bytes == 2 * len(echo.got)


@pytest.mark.asyncio
async def test_latency_and_jitter_delay_one_direction_or_both_and_go_away(echo):
    async with through(echo) as (proxy, reader, writer):
        await round_trip_s(reader, writer)
        proxy.set("to_target", latency_s=0.1)
        assert 0.1 <= await round_trip_s(reader, writer) < 0.19
        proxy.set("from_target", latency_s=0.1)
        assert await round_trip_s(reader, writer) >= 0.2
        proxy.set(jitter_s=0.1)
        begun = time.monotonic()
        for number in range(20):  # on their way together: the delay is of each, not of their sum
            writer.write(bytes([number]))
            await asyncio.sleep(0.001)
        assert await reader.readexactly(20) == bytes(range(20)), "in order, whatever the jitter"
        assert 0.2 <= time.monotonic() - begun < 0.6
        proxy.heal()
        assert min([await round_trip_s(reader, writer) for _ in range(3)]) < 0.1


@pytest.mark.asyncio
async def test_bandwidth_is_what_was_asked_for(echo):
    async with through(echo) as (proxy, reader, writer):
        proxy.set("to_target", rate_bytes_per_s=500_000, slice_bytes=10_000)
        took_s = await round_trip_s(reader, writer, bytes(200_000))
        assert 0.39 <= took_s < 0.9


@pytest.mark.asyncio
async def test_slices_arrive_in_pieces(echo):
    async with through(echo) as (proxy, reader, writer):
        proxy.set("to_target", slice_bytes=10, rate_bytes_per_s=20_000)
        await round_trip_s(reader, writer, bytes(200))
        assert echo.chunks >= 15


@pytest.mark.asyncio
async def test_a_reset_ends_both_sides_and_new_connections_pass(echo):
    async with through(echo) as (proxy, reader, writer):
        await round_trip_s(reader, writer)
        assert proxy.reset() == 1
        with pytest.raises(ConnectionError):
            assert await reader.read(1) == b"", "cut, not closed"
            raise ConnectionResetError
        await asyncio.sleep(0.05)
        assert echo.ends == ["reset"]
        assert (proxy.resets, proxy.connections) == (1, 0)
        again, other = await asyncio.open_connection("127.0.0.1", proxy.port)
        await round_trip_s(again, other)
        other.transport.abort()


@pytest.mark.asyncio
async def test_a_reset_of_a_share_is_drawn_from_the_seed(echo):
    async with FaultProxy(echo.port, seed=4) as proxy:
        both = [await asyncio.open_connection("127.0.0.1", proxy.port) for _ in range(20)]
        for one in both:
            await round_trip_s(*one)
        assert 3 < proxy.reset(0.5) < 17
        for _, writer in both:
            writer.transport.abort()


@pytest.mark.asyncio
@pytest.mark.parametrize("direction", ["to_target", "from_target", "both"])
async def test_a_black_hole_holds_everything_and_closes_nothing(echo, direction):
    async with through(echo) as (proxy, reader, writer):
        await round_trip_s(reader, writer)
        proxy.black_hole(direction)
        writer.write(b"lost?")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await reader.read(1)
        assert (echo.got == b"xlost?") == (direction == "from_target")
        proxy.heal()
        assert await reader.readexactly(5) == b"lost?", "as TCP would send it again"


@pytest.mark.asyncio
async def test_a_half_closed_connection_goes_on_in_the_other_direction(echo):
    async with through(echo) as (proxy, reader, writer):
        await round_trip_s(reader, writer)
        assert proxy.half_close("to_target") == 1
        assert await reader.readexactly(3) == b"bye"
        assert echo.ends == ["eof"]
        assert await reader.read() == b""


@pytest.mark.asyncio
async def test_damage_flips_single_bits_after_the_greeting(echo):
    async with through(echo, seed=2) as (proxy, reader, writer):
        await round_trip_s(reader, writer, bytes(1000))
        proxy.set("to_target", damage_share=1.0)
        writer.write(bytes(1000))
        back = await reader.readexactly(1000)
        assert sum(byte.bit_count() for byte in back) == proxy.damaged >= 1


@pytest.mark.asyncio
async def test_a_proxy_that_refuses_can_listen_again_where_it_was(echo):
    async with through(echo) as (proxy, reader, writer):
        await round_trip_s(reader, writer)
        proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", proxy.port)
        await round_trip_s(reader, writer)
        before = proxy.port
        await proxy.listen()
        assert proxy.port == before
        again, other = await asyncio.open_connection("127.0.0.1", proxy.port)
        await round_trip_s(again, other)
        other.transport.abort()


def test_a_proxy_stays_on_this_machine():
    with pytest.raises(UsageError, match=r"192\.0\.2\.1"):
        FaultProxy(1, host="192.0.2.1")
    with pytest.raises(UsageError):
        FaultProxy(1, host="example.org")
    assert FaultProxy(1, host="::1").target == ("::1", 1)
    with pytest.raises(UsageError):
        Conditions(latency_s=-1)
    with pytest.raises(UsageError):
        Conditions(damage_share=2)
