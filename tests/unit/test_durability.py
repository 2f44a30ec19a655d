"""Records of durable actors go through bytes unchanged; their streams are never an incarnation."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from denoagents.durability import Commit, Effect, Handled, Kept, Outgoing, Reminder, stream_of


def test_records_come_back_from_bytes():
    kept = Kept(
        b"state", 2, 3, [Outgoing(3, "A/b", "add", 1, b"\x91\x01")], [Handled(1 << 63, 7, b"\xc0")],
        {5: 6}, [Reminder("tick", "tick", b"\x90", 1_000, 2.5)], [Effect(5, 6, 0, "pay", b"", 4)],
    )  # fmt: skip
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(kept), type=Kept) == kept
    commit = Commit("A/b", 9, handled=Handled(1, 2))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(commit), type=Commit) == commit


@given(st.text())
def test_a_stream_has_the_top_bit_that_no_incarnation_has(name):
    assert stream_of(name) == stream_of(name)
    assert 1 << 63 <= stream_of(name) < 1 << 64
