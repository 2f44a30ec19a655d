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


def by_process(path: Path) -> list[list[int]]:
    """The numbers in a ledger's file, those of each process apart."""
    found: dict[str, list[int]] = {}
    for line in path.read_text().splitlines():
        number, pid = line.split()
        found.setdefault(pid, []).append(int(number))
    return list(found.values())


@pytest.mark.asyncio
async def test_no_reliable_tell_is_lost_or_overtaken_when_a_worker_is_killed(fleet):
    """Many wait for each actor at that time, in three priorities; large ones fill batches alone."""
    async with fleet.client() as client:
        await settled(client, "a", "b")
        refs = await refs_on(client, app.Ledger, fleet.workers["a"], 8, "l")
        refs += await refs_on(client, app.Ledger, fleet.workers["b"], 4, "m")
        ledgers = {
            fleet.folder / f"{key_of(ref)}.{priority}": options(ref, priority=priority)
            for ref in refs
            for priority in ("high", "normal", "low")
        }

        async def note(numbers: range, pause_s: float = 0.002) -> None:
            for number in numbers:
                for path, ref in ledgers.items():
                    padding = "-" * 40_000 if number % 10 == 7 else ""
                    await tell(ref.note, str(path), number, 0.005, padding)
                await asyncio.sleep(pause_s)

        def books() -> dict[str, int]:
            return client.statistics()["accounting"]["reliable"]

        await note(range(40))
        waiting = {path: 40 - len(handled(path)) for path in ledgers}
        assert min(waiting.values()) >= 10
        fleet.workers["a"].kill()
        await note(range(40, 90))  # while nobody owns what was there, and after it
        await settled(client, "b")
        await note(range(90, 110))
        await until(lambda: books()["outstanding"] == 0, 20)
        for path in ledgers:
            assert handled(path) == list(range(110)), path
            for numbers in by_process(path):
                assert numbers == list(range(numbers[0], numbers[-1] + 1)), path
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


@pytest.mark.asyncio
async def test_only_the_message_that_kills_its_process_is_quarantined(fleet):
    """Three processes die of it; what waits behind it and beside it is handled."""
    fleet.start("c", "d")
    async with fleet.client() as client:
        await settled(client, "a", "b", "c", "d")
        refs = await refs_on(client, app.Ledger, fleet.workers["a"], 4, "p")
        paths = [fleet.folder / f"{key_of(ref)}.ledger" for ref in refs]
        poisoned = fleet.folder / "poison"
        for number in range(20):
            for ref, path in zip(refs, paths, strict=True):
                await tell(ref.note, str(path), number)
            if number == 10:
                await tell(refs[0].die, str(poisoned), number)

        def books() -> dict[str, int]:
            return client.statistics()["accounting"]["reliable"]

        await until(lambda: books()["outstanding"] == 0, 30)
        assert len(poisoned.read_text().splitlines()) == 3
        assert books()["quarantined"] == 1
        assert books()["handled"] == books()["sent"] - 1
        for path in paths:
            assert handled(path) == list(range(20)), path
        assert client.statistics()["accounting"]["off"] == 0


@pytest.mark.asyncio
async def test_reliable_messages_survive_their_actors_moves_once_each(fleet):
    """A worker joins and one drains under load: nothing is lost, repeated or overtaken."""
    async with fleet.client() as client:
        await settled(client, "a", "b")
        refs = [client.actor(app.Ledger, f"m{n}") for n in range(20)]
        paths = [fleet.folder / f"m{n}.ledger" for n in range(20)]
        for number in range(300):
            for ref, path in zip(refs, paths, strict=True):
                await tell(ref.note, str(path), number)
            await asyncio.sleep(0.004)
            if number == 50:
                fleet.begin("c")
            if number == 150:
                await client.control("drain", {"name": "a"})

        def books() -> dict[str, int]:
            return client.statistics()["accounting"]["reliable"]

        await until(lambda: books()["outstanding"] == 0, 20)
        for path in paths:
            lines = [int(line.split()[0]) for line in path.read_text().splitlines()]
            assert lines == list(range(300)), path
