"""Bank transfers between durable actors while workers are killed: no cent is lost or made."""

import asyncio
import functools
from pathlib import Path
from random import Random

import pytest
from fault_run import FULL, FaultRun, Target, Voice, books, calibrate, draw_seed
from real_fleet import load, settled, until

from denoagents import options
from denoagents.testing.checker import Bars
from denoagents.testing.schedule import plan_kills

APP = Path(__file__).parents[1] / "process" / "apps" / "bank.py"
EVERY_S = 5.0 if FULL else 3.5
KILLS = 120 if FULL else 3
RATE = 200
ACCOUNTS = 50


async def give(ref, keys, chance, client, number):
    return await ref.give(client, number, chance.choice(keys), chance.randrange(1, 500))


@pytest.mark.timeout(1200 if FULL else 120)
@pytest.mark.asyncio
async def test_bank_transfers_survive_kills_with_every_cent(tmp_path):
    """Each transfer has one effect on either side, and the total is what it was."""
    bank, seed = load(APP), draw_seed()
    chance = Random(seed)
    keys = [f"{n}" for n in range(ACCOUNTS)]
    with FaultRun(tmp_path, seed, app=APP) as run:
        run.start_workers(4)
        async with run.fleet.client("teller") as client:
            await settled(client)
            refs = {key: options(client.actor(bank.Account, key), timeout_s=20) for key in keys}
            targets = [
                Target(
                    f"Account/{key}", "durable", True,
                    functools.partial(give, ref, [one for one in keys if one != key], chance),
                )
                for key, ref in refs.items()
            ]  # fmt: skip
            voice = Voice("teller", run.history, targets)
            carried, _ = await calibrate(voice, RATE)
            schedule = run.kills(plan_kills(seed, KILLS, EVERY_S, jitter_s=0.5))
            killing = asyncio.create_task(schedule.run())
            stretch = await voice.drive(RATE, EVERY_S * KILLS + 3.5)
            await killing
            await voice.settle(30)
            await settled(client, *run.fleet.workers)
            statements = {}

            async def is_quiet():
                """Every transfer that was given has arrived."""
                nonlocal statements
                found = await asyncio.gather(*[ref.statement() for ref in refs.values()])
                statements = dict(zip(keys, found, strict=True))
                given = sum(sum(given.values()) for _, _, given, _ in found)
                got = sum(b - a + 1 for *_, got in found for runs in got.values() for a, b in runs)
                return given == got

            await until(is_quiet, 20)
            wrong = await books(client)
        note_transfers(run.history, statements)
        total = sum(cents for cents, *_ in statements.values())
        run.figures |= {
            "control transfers/s": round(carried), "under kills": round(stretch.rate),
            "kills": f"{schedule.executed}/{schedule.planned}",
            "total": f"{total} of {ACCOUNTS * bank.OPENED_WITH}",
        }  # fmt: skip
        floor = int(0.7 * min(RATE, carried) * stretch.seconds)
        verdict = run.verdict(Bars(operations=floor))
        run.show("Bank", verdict)
        assert verdict.is_good, str(verdict)
        assert total == ACCOUNTS * bank.OPENED_WITH
        assert not wrong
        assert schedule.executed == KILLS


def note_transfers(history, statements):
    """The clients' orders, and the transfers among accounts, as histories of their own."""
    for key, (_, orders, given, got) in statements.items():
        for client, runs in orders.items():
            history.read(client, f"Account/{key}", runs)
        for to, count in given.items():
            for number in range(1, count + 1):
                voice, actor = f"Account/{key}", f"Account/{to}"
                history.invoke(voice, actor, number, "durable", is_ask=False)
                history.end(voice, actor, number, "ok")
        for giver, runs in got.items():
            history.read(giver, f"Account/{key}", runs)
