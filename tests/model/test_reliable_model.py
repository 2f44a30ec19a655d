"""Streams and windows against a plain model: lost sessions, repeats, floors, hand-over."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from denoagents._native.envelope import RELIABLE, Envelope
from denoagents._native.remote import RemoteReply
from denoagents._native.window import Windows


def message(stream: int, number: int, floor: int) -> Envelope:
    reply = RemoteReply()
    reply.stream, reply.sequence, reply.floor = stream, number, floor
    return Envelope(None, None, b"", 0, 1, RELIABLE, reply)


class Model:
    """What an actor with a perfect memory does: each number of a stream runs once."""

    def __init__(self) -> None:
        self.known: dict[tuple[str, int, int], object] = {}
        self.floors: dict[int, int] = {}

    def arrive(self, address: str, envelope: Envelope) -> str:
        stream, number = envelope.identity
        floor = self.floors.get(stream, 0)
        if number < floor:
            return "settled"
        self.floors[stream] = max(floor, envelope.floor)
        found = self.known.setdefault((address, stream, number), envelope)
        if found is envelope:
            return "new"
        return "running" if isinstance(found, Envelope) else "answered"


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["arrive", "arrive", "arrive", "answer", "sweep", "move"]),
        st.sampled_from(["A/1", "A/2"]),
        st.integers(1, 2),
        st.integers(1, 12),
        st.integers(0, 3),
    ),
    max_size=60,
)


@settings(max_examples=300, deadline=None)
@given(STEPS)
def test_a_window_knows_what_came_whatever_is_swept_or_moved(steps):
    windows, model = Windows(), Model()
    running: dict[tuple[str, int, int], Envelope] = {}
    for step, address, stream, number, behind in steps:
        key = (address, stream, number)
        if step == "arrive":
            envelope = message(stream, number, max(1, number - behind))
            expected = model.arrive(address, envelope)
            got = windows.arrive(address, envelope)
            if expected == "new":
                assert got is envelope
                running[key] = envelope
            elif expected == "running":
                assert got is running[key]
            else:
                assert isinstance(got, tuple)
                if expected == "answered":
                    assert got == (model.known[key],)
        elif step == "answer" and key in running:
            windows.answered(address, running.pop(key), b"%d" % number)
            model.known[key] = b"%d" % number
        elif step == "sweep":
            windows.sweep(0)
        elif step == "move" and not any(one[0] == address for one in running):
            entries = windows.export(address)
            windows.drop(address)
            assert windows.restore(address, entries) == []
    assert len(windows) >= len(running)


@pytest.mark.parametrize("seed", range(5))
def test_a_windows_size_follows_the_floor(seed):
    windows, chance = Windows(), random.Random(seed)
    for number in range(1, 50_000):
        envelope = message(7, number, max(1, number - chance.randrange(100)))
        assert windows.arrive("A/1", envelope) is envelope
        windows.answered("A/1", envelope, None)
    assert len(windows) <= 8400


def test_what_was_handled_elsewhere_is_not_handled_here_again():
    there, here = Windows(), Windows()
    first = message(7, 3, 1)
    there.arrive("A/1", first)
    there.answered("A/1", first, b"yes")
    again = message(7, 3, 1)
    assert here.arrive("A/1", again) is again
    assert here.restore("A/1", there.export("A/1")) == [(again, b"yes")]
    assert here.arrive("A/1", message(7, 3, 1)) == (b"yes",)


def test_a_silent_stream_is_forgotten_but_not_what_still_waits():
    windows = Windows()
    waiting, done = message(7, 1, 1), message(7, 2, 1)
    for envelope in (waiting, done):
        windows.arrive("A/1", envelope)
    windows.answered("A/1", done, None)
    assert windows.sweep(windows.forget_after_ns + 1) == 1
    windows.answered("A/1", waiting, None)
    assert len(windows) == 0
