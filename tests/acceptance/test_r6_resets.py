"""R6: connections are reset five times a second, nothing is lost; bare ZeroMQ beside it loses."""

import asyncio
import contextlib
import importlib.util
import sys
import time
from pathlib import Path
from random import Random

import psutil
import pytest
from fault_run import FULL, FaultRun, Target, Voice, app, books, draw_seed
from real_fleet import settled

from denoagents import options
from denoagents.testing.checker import Bars
from denoagents.testing.proxy import FaultProxy

RATE = 10_000
SECONDS = 300.0 if FULL else 5.0
CONTROL_S = 5.0 if FULL else 2.0
EVERY_S = 0.2
TWIN = Path(__file__).parents[2] / "bench" / "peers" / "zmq_asyncio.py"


async def reset_for(seconds, proxies, chance, on_reset=lambda: None):
    """One random connection each 200 ms; how many were reset."""
    done, begun = 0, time.monotonic()
    while time.monotonic() - begun < seconds:
        await asyncio.sleep(EVERY_S)
        proxy = chance.choices(proxies, [one.connections + 1e-9 for one in proxies])[0]
        if proxy.reset_one():
            on_reset()
            done += 1
    return done


def forwarders(client, count):
    refs = [options(client.actor(app.Forwarder, f"{n}"), timeout_s=20) for n in range(count)]
    return refs, [Target(f"Forwarder/{n}", "plain", False, ref.take) for n, ref in enumerate(refs)]


@pytest.mark.timeout(900 if FULL else 120)
@pytest.mark.asyncio
async def test_r6_resets_of_random_links_lose_nothing_and_cost_less_than_half(tmp_path):
    """Client to worker and worker to worker, 10 000 messages a second, of both promises."""
    seed = draw_seed()
    chance = Random(seed)
    with FaultRun(tmp_path, seed) as run:
        proxies = await run.start_behind_proxies(2)
        try:
            async with run.fleet.client("load") as client:
                await settled(client)
                refs, passing = forwarders(client, 50)
                targets = [*run.targets(client, plain=50, reliable=100), *passing]
                voice = Voice("load", run.history, targets)
                sent_rate = RATE * len(targets) / (len(targets) + len(passing))
                await voice.drive(sent_rate, 0.5)
                await voice.settle()
                control = await voice.drive(sent_rate, CONTROL_S)
                control_left = len(voice.open)
                await voice.settle()
                planned = int(0.8 * SECONDS / EVERY_S)
                run.history.plan("reset", planned, seed)
                resetting = asyncio.create_task(
                    reset_for(SECONDS, proxies, chance, lambda: run.history.fault("reset"))
                )
                stretch = await voice.drive(sent_rate, SECONDS)
                left = len(voice.open)
                resets = await resetting
                await voice.settle(30)
                await run.barrier(client, targets)
                await asyncio.gather(*[ref.forwarded() for ref in refs])
                wrong = await books(client)
                share = len(targets) + len(passing)
                messages = share / len(targets)
                undisturbed = messages * (control.sent - control_left) / control.seconds
                disturbed = messages * (stretch.sent - left) / stretch.seconds
                run.figures |= {
                    "undisturbed msg/s": round(undisturbed), "msg/s under resets": round(disturbed),
                    "resets": resets, "connections made": sum(one.accepted for one in proxies),
                }  # fmt: skip
            verdict = run.verdict(Bars(operations=int(0.5 * undisturbed * SECONDS)))
        finally:
            for proxy in proxies:
                await proxy.close()
        run.show("R6 resets", verdict)
        assert verdict.is_good, str(verdict)
        assert all(set(counts) == {"ok"} for counts in verdict.outcomes.values()), verdict.outcomes
        assert verdict.lost_tells == verdict.repeats == 0
        assert not wrong
        assert resets >= planned
        assert disturbed >= 0.5 * undisturbed


@pytest.mark.timeout(900 if FULL else 60)
@pytest.mark.asyncio
async def test_r6_bare_zeromq_loses_messages_under_the_same_resets(tmp_path):
    """The same sockets without a session: what nobody keeps, a reset takes along."""
    seed = draw_seed()
    spec = importlib.util.spec_from_file_location("zmq_asyncio_twin", TWIN)
    twin = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(twin)
    async with bare_server() as port, FaultProxy(port, seed=seed) as proxy:
        client = twin.Client(proxy.endpoint)
        try:
            async with asyncio.timeout(5):
                await client.ask("received")
            resetting = asyncio.create_task(reset_for(SECONDS, [proxy], Random(seed)))
            sent, begun = 0, time.monotonic()
            while (passed := time.monotonic() - begun) < SECONDS:
                while sent < RATE * passed:
                    await client.tell("add", 1)
                    sent += 1
                await asyncio.sleep(0.005)
            resets = await resetting
            await asyncio.sleep(1.0)  # what is queued in its sockets leaves by now
            async with asyncio.timeout(10):
                got, _ = await client.ask("received")
        finally:
            client.reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await client.reading
            client.socket.context.destroy(0)
    lost = sent - got
    print(f"\nR6 bare pyzmq: seed {seed}, {sent} sent, {resets} resets, {lost} lost in silence")
    assert resets >= 0.6 * SECONDS / EVERY_S
    assert sent > 1000 * SECONDS
    assert lost > 0


@contextlib.asynccontextmanager
async def bare_server():
    server = await asyncio.create_subprocess_exec(
        sys.executable, TWIN, "serve", "tcp://127.0.0.1:*", stdin=asyncio.subprocess.PIPE
    )
    try:
        yield await listening_port(server.pid)
    finally:
        server.kill()
        await server.wait()


async def listening_port(pid):

    end = time.monotonic() + 10
    while time.monotonic() < end:
        found = [
            one.laddr.port
            for one in psutil.Process(pid).net_connections("tcp4")
            if one.status == psutil.CONN_LISTEN
        ]
        if found:
            return found[0]
        await asyncio.sleep(0.02)
    raise AssertionError("the bare server does not listen")
