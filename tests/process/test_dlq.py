"""The quarantine with real processes: stored over the broker's death, shown, replayed, purged."""

import asyncio
import json
import sys

import msgspec
import pytest
from real_fleet import RealFleet, load, settled

from denoagents.errors import UnreachableError

app = load()


async def dlq(fleet, *words, code=0):
    """One command with `-o json`; its value, or the error that it ended with."""
    command = [sys.executable, "-m", "denoagents.cli", "dlq", *map(str, words), "-o", "json"]
    process = await asyncio.create_subprocess_exec(
        *command, "--broker", fleet.endpoint,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, error = await process.communicate()
    assert process.returncode == code, (out, error)
    return json.loads(out) if out else json.loads(error)["error"]


def give_up(client, number, target, method, *arguments):
    """What the sender of a reliable message does in the end; done when somebody keeps it."""
    kept = asyncio.get_running_loop().create_future()
    payload = msgspec.msgpack.encode(arguments)
    client._directory.quarantine(
        1, number, target, method, payload, 1, None, "killed its actor", 3, 0,
        lambda: kept.set_result(None),
    )  # fmt: skip
    return kept


@pytest.mark.asyncio
async def test_operators_list_show_replay_and_purge(tmp_path):
    with RealFleet(tmp_path) as fleet:
        fleet.start("a")
        async with fleet.client() as client:
            await settled(client, "a")
            await give_up(client, 1, "Counter/x", "add", 5)
            await give_up(client, 2, "Counter/x", "add", "no number")
            await give_up(client, 3, "Counter/x", "forgotten")

            rows = await dlq(fleet, "ls")
            assert [(row["id"], row["target"], row["method"]) for row in rows] == [
                (1, "Counter/x", "add"), (2, "Counter/x", "add"), (3, "Counter/x", "forgotten"),
            ]  # fmt: skip
            assert not any("payload" in row or "arguments" in row for row in rows)
            shown = await dlq(fleet, "show", 2)
            assert (shown["arguments"], shown["deaths"]) == (["no number"], 3)

            assert (await dlq(fleet, "show", 9, code=4))["code"] == "not_found"
            assert (await dlq(fleet, "purge", 1, 9, code=4))["code"] == "not_found"
            assert (await dlq(fleet, "replay", code=2))["code"] == "usage"

            results = await dlq(fleet, "replay", "--all", code=1)
            assert [(one["handled"], one["removed"]) for one in results] == [
                (True, True), (False, False), (False, False),
            ]  # fmt: skip
            assert [one["error"] and one["error"]["code"] for one in results] == [
                None, "arguments", "unknown_method",
            ]  # fmt: skip
            assert await client.actor(app.Counter, "x").count() == 5
            assert await dlq(fleet, "purge", 2) == {"purged": 1}
            await dlq(fleet, "replay", 3, "--remove", "always", code=1)
            assert await dlq(fleet, "ls") == []


@pytest.mark.asyncio
async def test_a_message_is_handed_over_when_the_broker_is_back_and_outlives_it(tmp_path):
    with RealFleet(tmp_path) as fleet:
        async with fleet.client() as client:
            await give_up(client, 1, "Counter/x", "add", 1)
            fleet.broker.kill()
            kept = give_up(client, 2, "Counter/x", "add", 2)
            await asyncio.sleep(0.3)
            assert not kept.done(), "nobody has stored it"
            assert client.statistics()["quarantine"]["waiting"] == 1
            fleet.start_broker()
            async with asyncio.timeout(20):
                await kept
            assert client.statistics()["quarantine"] == {"count": 2, "waiting": 0, "kept": 0}
            fleet.broker.kill()
            fleet.start_broker().wait_for("listening")
            rows = await _rows_when_back(client)
            assert [row["number"] for row in rows] == [1, 2]


async def _rows_when_back(client):
    for _ in range(200):
        try:
            return (await client.control("quarantined", {}))["rows"]
        except UnreachableError:
            await asyncio.sleep(0.05)
    raise AssertionError("the broker is not back")
