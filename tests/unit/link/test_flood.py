"""The limits against floods: who says too much or nothing is ended, and nobody else."""

import asyncio
import socket
from types import SimpleNamespace

import pytest

from denoagents.link import flood
from denoagents.link.flood import HELLOS_PER_S, JUNK_BYTES_PER_S, MAX_UNPROVEN, FloodGate

S = 1_000_000_000


@pytest.fixture
def ended(monkeypatch):
    found = []
    monkeypatch.setattr(flood, "end_connection", found.append)
    return found


def packet(fd, body=b""):
    return SimpleNamespace(fd=fd, body=body)


def test_the_oldest_connection_that_said_nothing_makes_way(ended):
    gate = FloodGate()
    for fd in range(100, 100 + MAX_UNPROVEN):
        gate.accepted(fd)
    assert gate.takes_hello(packet(100), 0)  # proven: it does not count any more
    gate.accepted(5000)
    assert ended == []
    gate.accepted(5001)
    assert ended == [101]
    assert gate.crowded_out == 1


def test_a_connection_that_is_gone_makes_room(ended):
    gate = FloodGate()
    for fd in range(10 * MAX_UNPROVEN):
        gate.accepted(fd + 100)
        gate.gone(fd + 100)
    assert ended == []


def test_too_many_hellos_in_a_second_end_the_connection_and_no_other(ended):
    gate = FloodGate()
    assert all(gate.takes_hello(packet(9), 5 * S) for _ in range(HELLOS_PER_S))
    assert gate.takes_hello(packet(8), 5 * S)
    assert not gate.takes_hello(packet(9), 5 * S)
    assert ended == [9]
    assert gate.cut_off == 1


def test_junk_over_its_bytes_a_second_ends_the_connection(ended):
    gate = FloodGate()
    for second in range(20):  # a little of it, for long, is only counted
        gate.junk(packet(9, bytes(1000)), second * S)
    assert ended == []
    for _ in range(1 + JUNK_BYTES_PER_S // 256):
        gate.junk(packet(7), 30 * S)
    assert 7 in ended
    gate.junk(packet(6, bytes(JUNK_BYTES_PER_S)), 30 * S)
    assert 6 in ended
    assert 9 not in ended


def test_a_flood_of_connections_takes_bounded_memory(ended):
    gate = FloodGate()
    for fd in range(50_000):
        gate.accepted(fd + 3)
        gate.junk(packet(fd + 3), 0)
    assert len(gate._unproven) <= MAX_UNPROVEN
    assert len(gate._spent) <= flood.MAX_WATCHED
    assert len(ended) == gate.crowded_out == 50_000 - MAX_UNPROVEN


def test_ending_a_connection_is_heard_by_its_peer_and_harmless_for_anything_else(tmp_path):
    here, there = socket.socketpair()
    with here, there:
        there.settimeout(5)
        flood.end_connection(here.fileno())
        assert there.recv(10) == b""
    with (tmp_path / "file").open("w") as file:
        flood.end_connection(file.fileno())
        file.write("still open")
    flood.end_connection(0)
    flood.end_connection(99_999)


def test_in_memory_networks_have_no_descriptors_and_nothing_is_cut():
    gate = FloodGate()
    for _ in range(HELLOS_PER_S * 3):
        gate.takes_hello(packet(0), 0)
    assert gate.cut_off == 0
    assert asyncio  # the gate itself needs no loop
