"""A stalled actor: its senders pause, others flow, memory stays bounded, beyond it `Overloaded`."""

import asyncio
import time

import pytest
from real_fleet import OPEN, RealFleet, key_of, load, refs_on, settled, until

from denoagents import tell
from denoagents.errors import Overloaded

app = load()
LIMIT, RESERVE = 200, 600


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    limit = ("--set", f"actor.mailbox_limit={LIMIT}")
    with RealFleet(tmp_path_factory.mktemp("full"), flags=limit) as fleet:
        small = fleet.begin("b", "--set", f"actor.mailbox_reserve={RESERVE}")
        fleet.start("a")
        small.wait_for("joined")
        yield fleet


async def stalled_journal(client, worker, key):
    """A journal that holds still, a witness beside it, and the task of the turn that holds it."""
    (journal,) = await refs_on(client, app.Journal, worker, 1, key)
    (witness,) = await refs_on(client, app.Witness, worker, 1, key)
    holding = asyncio.create_task(journal.hold(key))
    await until(lambda: witness.seen(key))
    return journal, witness, holding


@pytest.mark.asyncio
async def test_a_stalled_actor_pauses_its_senders_and_nobody_else(fleet):
    """50 MB for one actor that holds still, while another on the same link is asked."""
    async with fleet.client() as client:
        await settled(client, "a", "b")
        journal, witness, holding = await stalled_journal(client, fleet.workers["a"], "stall")
        (free,) = await refs_on(client, app.Counter, fleet.workers["a"], 1, "free")
        before = fleet.workers["a"].rss
        sent = 0

        async def pour():
            nonlocal sent
            for number in range(5000):
                await tell(journal.note_big, number, bytes(10_000))
                sent += 1

        pouring = asyncio.create_task(pour())
        begun = time.monotonic()
        count = 0
        while time.monotonic() - begun < 1.0:
            assert await free.add(1) == count + 1
            count += 1
        assert count > 200, "others flow"
        assert sent < 5000, "the teller waits"
        waiting = sent
        await asyncio.sleep(0.2)
        assert sent == waiting, "and goes on waiting"
        assert fleet.workers["a"].rss - before < 30e6
        await witness.open("stall")
        await holding
        await asyncio.wait_for(pouring, 10)
        assert await journal.noted() == list(range(5000)), "nothing is lost, in order"
        assert client.statistics()["accounting"]["off"] == 0
        rows = (await client.control("status"))["nodes"]
        assert all(row["statistics"]["accounting"]["off"] == 0 for row in rows)


@pytest.mark.asyncio
async def test_a_teller_that_never_rests_loses_nothing_to_a_stalled_actor(fleet):
    """30 000 small tells in one go: what is under way fits into the actor's reserve."""
    async with fleet.client() as client:
        journal, witness, holding = await stalled_journal(client, fleet.workers["a"], "go")

        async def pour():
            for number in range(30_000):
                await tell(journal.note, number)

        pouring = asyncio.create_task(pour())
        await asyncio.sleep(0.3)
        assert not pouring.done()
        rows = {row["name"]: row for row in (await client.control("status"))["nodes"]}
        waiting = rows["a"]["statistics"]["accounting"]["receiver"]["waiting"]
        assert LIMIT <= waiting < 10_000
        await witness.open("go")
        await holding
        await asyncio.wait_for(pouring, 10)
        assert await journal.noted() == list(range(30_000))
        assert client.statistics()["accounting"]["sender"]["refused"] == 0


@pytest.mark.asyncio
async def test_beyond_the_reserve_asks_are_overloaded(fleet):
    """Three clients ask at once, unpaused yet: the reserve takes some, the rest is refused."""
    async with fleet.client() as client:
        journal, witness, holding = await stalled_journal(client, fleet.workers["b"], "reserve")
        others = [fleet.client() for _ in range(3)]
        for one in others:
            await one.start()
        try:
            refs = [one.actor(app.Journal, key_of(journal)) for one in others]
            asks = [asyncio.create_task(ref.note(n)) for ref in refs for n in range(1000)]
            await asyncio.sleep(0.5)
            refused = [one for one in asks if one.done()]
            assert refused
            assert all(isinstance(one.exception(), Overloaded) for one in refused)
            assert "messages waiting" in str(refused[0].exception())
            await witness.open("reserve")
            await holding
            outcomes = await asyncio.gather(*asks, return_exceptions=True)
            answered = [one for one in outcomes if isinstance(one, int)]
            assert len(answered) + len(refused) == 3000, "each has its outcome"
            assert len(answered) >= RESERVE
            assert len(await journal.noted()) == len(answered), "what was refused did not run"
        finally:
            for one in others:
                await one.close()


@pytest.mark.asyncio
async def test_a_full_link_holds_tellers_until_the_peer_accepts(fleet):
    """The window of a link to a frozen process bounds what its senders may pile up."""
    frozen = fleet.workers["b"]
    async with fleet.client("window", OPEN) as client:
        (journal,) = await refs_on(client, app.Journal, frozen, 1, "window")
        frozen.freeze()
        sent = 0

        async def pour():
            nonlocal sent
            for number in range(400):
                await tell(journal.note_big, number, bytes(100_000))
                sent += 1

        pouring = asyncio.create_task(pour())
        await asyncio.sleep(0.5)
        window = OPEN.link.window_bytes
        assert sent * 100_000 <= 1.3 * window, f"{sent} of 100 kB left, the window is {window}"
        assert not pouring.done()
        frozen.thaw()
        await asyncio.wait_for(pouring, 10)
        assert await journal.noted() == list(range(400))
