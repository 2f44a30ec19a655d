import pytest
from hypothesis import given
from hypothesis import strategies as st

from denoagents._native.router import RecordKind
from denoagents.broker.records import CONTROL, decode_records, encode_record
from denoagents.errors import ProtocolError


def test_the_kind_is_the_nodes():
    assert RecordKind.CONTROL == CONTROL


@given(st.lists(st.binary(max_size=400), max_size=5))
def test_records_survive_a_batch(payloads):
    body = b"".join(map(encode_record, payloads))
    assert decode_records(memoryview(body), len(payloads)) == payloads


@given(st.binary(max_size=60), st.integers(0, 3))
def test_junk_is_a_protocol_error_or_control_records(body, count):
    try:
        payloads = decode_records(body, count)
    except ProtocolError:
        return
    assert len(payloads) == count


@pytest.mark.parametrize(
    "body",
    [
        b"\x03\x00\x01x",
        bytes((CONTROL, 0, 5)) + b"1234",
        bytes((CONTROL, 0)) + b"\xff" * 9,
        bytes((CONTROL, 0)) + b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
        bytes((CONTROL,)),
        b"",
    ],
)
def test_a_record_that_lies_is_refused(body):
    with pytest.raises(ProtocolError):
        decode_records(body, 1)
