"""Workers are killed under reliable messages: each is handled, in order; the books are exact."""

import asyncio
from pathlib import Path

import pytest
from real_fleet import RealFleet, key_of, load, refs_on, settled, until

from denoagents import options, tell

APP = Path(__file__).parent / "apps" / "delivering.py"
app = load(APP)


@pytest.fixture
def fleet(tmp_path):
    with RealFleet(tmp_path, APP) as fleet:
        fleet.start("a", "b")
        yield fleet


def handled(path: Path) -> list[int]:
    """The numbers in a ledger's file, each where it was handled first."""
    lines = path.read_text().splitlines() if path.exists() else []
    return list(dict.fromkeys(int(line.split()[0]) for line in lines))


@pytest.mark.asyncio
async def test_no_reliable_tell_is_lost_or_overtaken_when_a_worker_is_killed(fleet):
    async with fleet.client() as client:
        await settled(client, "a", "b")
        refs = await refs_on(client, app.Ledger, fleet.workers["a"], 8, "l")
        refs += await refs_on(client, app.Ledger, fleet.workers["b"], 4, "m")
        paths = [fleet.folder / f"{key_of(ref)}.ledger" for ref in refs]
        for number in range(400):
            for ref, path in zip(refs, paths, strict=True):
                await tell(ref.note, str(path), number)
            await asyncio.sleep(0.002)
            if number == 150:
                fleet.workers["a"].kill()

        def books() -> dict[str, int]:
            return client.statistics()["accounting"]["reliable"]

        await until(lambda: books()["outstanding"] == 0, 15)
        for path in paths:
            assert handled(path) == list(range(400)), path
        assert books()["handled"] == books()["sent"]
        assert client.statistics()["accounting"]["off"] == 0


@pytest.mark.asyncio
async def test_a_reliable_ask_is_sent_again_until_its_deadline(fleet):
    async with fleet.client() as client:
        await settled(client, "a", "b")
        refs = await refs_on(client, app.Ledger, fleet.workers["a"], 5, "k")
        paths = [str(fleet.folder / f"{key_of(ref)}.ledger") for ref in refs]
        asks = [
            asyncio.create_task(options(ref, timeout_s=20).ask(path, number))
            for number in range(40)
            for ref, path in zip(refs, paths, strict=True)
        ]
        await asyncio.sleep(0.03)
        fleet.workers["a"].kill()
        answers = await asyncio.gather(*asks)
        assert answers == [number for number in range(40) for _ in refs]
        assert client.statistics()["accounting"]["off"] == 0
