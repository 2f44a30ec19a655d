import pytest

from denoagents.cluster.beat import (
    BEAT_ANSWER_SIZE,
    BEAT_SIZE,
    Beat,
    BeatAnswer,
    BeatFlag,
    BeatStatus,
    decode_answer,
    decode_beat,
    encode_answer,
    encode_beat,
)
from denoagents.errors import ProtocolError

BEAT = Beat(2**63 - 1, 123, 1, 2, 3, 4, 5, BeatFlag.BLOCKED)
ANSWER = BeatAnswer(BeatStatus.EVICTED, 7, 123, 2**62, 9)


def test_a_beat_and_its_answer_survive_the_wire():
    assert decode_beat(encode_beat(BEAT)) == BEAT
    assert decode_answer(encode_answer(ANSWER)) == ANSWER


def test_the_sizes_are_part_of_the_wire():
    assert (BEAT_SIZE, BEAT_ANSWER_SIZE) == (48, 40)


def test_a_time_that_is_too_long_for_its_field_is_saturated():
    beat = Beat(1, 2, tick_age_us=10**12)
    assert decode_beat(encode_beat(beat)).tick_age_us == 2**32 - 1


@pytest.mark.parametrize("at", range(4))
def test_another_head_is_refused(at):
    for encode, decode, value in (
        (encode_beat, decode_beat, BEAT),
        (encode_answer, decode_answer, ANSWER),
    ):
        packet = bytearray(encode(value))
        packet[at] ^= 0xFF
        with pytest.raises(ProtocolError):
            decode(bytes(packet))


def test_every_other_length_is_refused():
    packet = encode_beat(BEAT)
    for size in (*range(BEAT_SIZE), BEAT_SIZE + 1):
        with pytest.raises(ProtocolError):
            decode_beat((packet + b"x")[:size])
    with pytest.raises(ProtocolError):
        decode_answer(packet)


def test_an_unknown_status_is_refused():
    packet = bytearray(encode_answer(ANSWER))
    packet[4] = 3
    with pytest.raises(ProtocolError, match="status 3"):
        decode_answer(bytes(packet))
