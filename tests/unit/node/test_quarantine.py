"""Messages that were given up: they are their sender's until somebody keeps them."""

from __future__ import annotations

import asyncio

import pytest
from embedded import in_virtual_time

from denoagents import Node
from denoagents.cluster import messages
from denoagents.cluster.messages import Quarantined
from denoagents.errors import ProtocolError, UnreachableError
from denoagents.node.quarantine import AGAIN_S, LARGEST_BYTES, Quarantine
from denoagents.testing.loop import run_virtually


def message(number: int, payload: bytes = b"\x90") -> Quarantined:
    return Quarantined(7, number, "Counter/a", "add", payload, "ValueError: x")


def test_a_node_without_a_broker_keeps_them_itself_up_to_its_limit():
    quarantine, told = Quarantine(limit=2), []
    for number in (1, 2, 3):
        quarantine.add(message(number), lambda number=number: told.append(number))
    assert told == [1, 2], "the third is its sender's: it is not lost"
    assert quarantine.statistics() == {"count": 3, "waiting": 1, "kept": 2}
    assert quarantine.purge(1)
    assert told == [1, 2, 3], "there was room"
    assert [one.number for one in quarantine.kept.values()] == [2, 3]
    assert not quarantine.purge(1)


class Broker:
    """Keeps what it is offered, when it is there."""

    def __init__(self) -> None:
        self.is_there, self.stored, self.is_slow = True, [], False

    async def store(self, one: Quarantined) -> None:
        if self.is_slow:
            await asyncio.sleep(5)
        if not self.is_there:
            raise UnreachableError("away")
        self.stored.append((one.node, one.number))


def test_a_message_is_its_senders_until_the_broker_has_stored_it():
    async def main(_: object) -> None:
        broker, quarantine, told = Broker(), Quarantine(), []
        quarantine.attach("me", broker.store)
        broker.is_there, broker.is_slow = False, True
        for number in (1, 2, 1):
            quarantine.add(message(number), lambda number=number: told.append(number))
        await asyncio.sleep(10 * AGAIN_S)
        assert (told, broker.stored, quarantine.waiting) == ([], [], 2)
        broker.is_there = True
        await asyncio.sleep(2 * AGAIN_S)
        assert (told, broker.stored) == ([1], [("me", 1)]), "one after the other"
        await asyncio.sleep(10)
        assert (told, broker.stored) == ([1, 2], [("me", 1), ("me", 2)])
        assert quarantine.statistics() == {"count": 2, "waiting": 0, "kept": 0}
        broker.is_there = False
        quarantine.add(message(3), lambda: told.append(3))
        await asyncio.sleep(0.1)
        await quarantine.close()
        assert told == [1, 2]

    run_virtually(main)


def test_what_no_control_message_can_carry_stays_with_its_node():
    async def main(_: object) -> None:
        broker, quarantine, told = Broker(), Quarantine(), []
        quarantine.attach("me", broker.store)
        quarantine.add(message(1, bytes(LARGEST_BYTES + 1)), lambda: told.append(1))
        await asyncio.sleep(0.1)
        assert (told, broker.stored, len(quarantine.kept)) == ([1], [], 1)

    run_virtually(main)


@in_virtual_time(codec=(False,))
async def test_an_embedded_node_shows_what_it_keeps(node: Node) -> None:
    told: list[int] = []
    node._directory.quarantine(
        9, 4, "Counter/a", "add", b"\x90", 1, None, "r" * 9000, 3, 10**9, lambda: told.append(1)
    )
    assert told == [1]
    (kept,) = node.quarantined
    assert (kept.stream, kept.number, kept.target, kept.deaths) == (9, 4, "Counter/a", 3)
    assert (len(kept.reason), kept.age_s) == (4000, 1.0)
    assert node.statistics()["quarantine"] == {"count": 1, "waiting": 0, "kept": 1}


def test_a_stream_is_any_number_of_64_bits():

    high = messages.Quarantine(
        id=1, message=Quarantined(2**64 - 1, 2**63, "Counter/a", "add", b"\x90", "x")
    )
    assert messages.decode(messages.encode(high)) == high
    low = messages.Quarantine(id=1, message=Quarantined(-1, 1, "Counter/a", "add", b"", "x"))
    with pytest.raises(ProtocolError):
        messages.decode(messages.encode(low))
