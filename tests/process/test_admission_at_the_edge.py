"""A client's edge: the bucket admits its rate, the rest waits by priority and expires typed."""

import asyncio
import time
from collections import Counter

import pytest
from real_fleet import RealFleet, key_of, load, refs_on, settled

from denoagents import NodeSettings, options
from denoagents.errors import ExpiredError, Overloaded, RequestTimeoutError
from denoagents.limits.settings import AdmissionSettings

app = load()
LEVELS = ("high", "normal", "low")


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    with RealFleet(tmp_path_factory.mktemp("edge")) as fleet:
        fleet.start("a", "b")
        yield fleet


@pytest.mark.asyncio
async def test_two_thousand_a_second_offered_are_one_thousand_admitted(fleet):
    """The default profile: 1000/s, burst 100; who is late gets `ExpiredError`, sums are exact."""
    outcomes = Counter()
    async with fleet.client("caller", NodeSettings()) as client:
        await settled(client, "a", "b")
        refs = [client.actor(app.Counter, f"c{n}") for n in range(50)]

        async def ask(number):
            level = LEVELS[number % 3]
            ref = options(refs[number % 50], timeout_s=0.5, priority=level)
            try:
                await ref.add(1)
                outcomes[level, "answered"] += 1
            except ExpiredError as error:
                outcomes[level, "expired" if "never sent" in str(error) else "late"] += 1
            except RequestTimeoutError:
                outcomes[level, "unknown"] += 1

        tasks = []
        begun = time.monotonic()
        readings = []
        while (passed := time.monotonic() - begun) < 2.0:
            while len(tasks) < 2000 * passed:
                tasks.append(asyncio.create_task(ask(len(tasks))))
            if passed > 0.5:
                granted = client.statistics()["admission"]["granted"]
                readings.append((time.monotonic(), granted))
            await asyncio.sleep(0.002)
        await asyncio.gather(*tasks)
        (first_s, first), (last_s, last) = readings[0], readings[-1]
        rate = (last - first) / (last_s - first_s)
        assert rate == pytest.approx(1000, rel=0.01)

        edge = client.statistics()["admission"]
        sums = Counter()
        for (_, what), count in outcomes.items():
            sums[what] += count
        assert sum(sums.values()) == len(tasks) == edge["requested"]
        assert edge["expired"] == sums["expired"]
        assert edge["granted"] == sums["answered"] + sums["late"] + sums["unknown"]
        late = sums["late"] + sums["unknown"]  # admitted in their last milliseconds
        assert late < edge["granted"] / 10
        assert edge["waiting"] == edge["refused"] == edge["cancelled"] == 0
        shares = [outcomes[level, "answered"] / (len(tasks) / 3) for level in LEVELS]
        assert shares[0] > 0.9, "8:4:1 of 1000/s is more than high needs"
        assert shares[0] > shares[1] > shares[2] > 0, "and none starves"
        assert client.statistics()["accounting"]["off"] == 0
    done = sum(await _counts(fleet))
    least, most = sums["answered"], sums["answered"] + sums["unknown"]
    assert least <= done <= most, "what expired never ran, what was admitted ran once"


async def _counts(fleet):
    async with fleet.client() as client:
        return await asyncio.gather(
            *[client.actor(app.Counter, f"c{n}").count() for n in range(50)]
        )


@pytest.mark.asyncio
async def test_status_shows_the_edge_of_every_client(fleet):
    async with fleet.client("watched", NodeSettings()) as client:
        await client.actor(app.Counter, "watched").add(1)
        rows = {row["name"]: row for row in (await client.control("status"))["nodes"]}
        edge = rows["watched"]["statistics"]["admission"]
        assert edge["granted"] == edge["requested"] == 1
        assert edge["by_priority"]["granted"] == [0, 1, 0]
        assert "admission" not in rows["a"]["statistics"], "actors among themselves pass no edge"


@pytest.mark.asyncio
async def test_actors_among_themselves_are_not_held_by_the_edge(fleet):
    """300 messages between two actors in one go, although one external request may enter."""
    tight = NodeSettings(admission=AdmissionSettings(burst=1))
    async with fleet.client("tight", tight) as client:
        (relay,) = await refs_on(client, app.Relay, fleet.workers["a"], 1, "edge")
        (other,) = await refs_on(client, app.Relay, fleet.workers["b"], 1, "edge")
        key = key_of(other)
        begun = time.monotonic()
        assert await relay.ask_often(key, 300) == 300
        assert time.monotonic() - begun < 0.29


@pytest.mark.asyncio
async def test_too_many_waiting_at_the_edge_are_refused_at_once(fleet):
    narrow = NodeSettings(admission=AdmissionSettings(burst=1, max_waiting=10))
    async with fleet.client("narrow", narrow) as client:
        ref = client.actor(app.Counter, "narrow")
        asks = [asyncio.create_task(ref.add(1)) for _ in range(50)]
        outcomes = await asyncio.gather(*asks, return_exceptions=True)
        refused = [one for one in outcomes if isinstance(one, Overloaded)]
        assert len(refused) == 39
        assert refused[0].retry_after_s >= 0
        assert await ref.count() == 11
