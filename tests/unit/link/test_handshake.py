"""Who may talk to whom, and what is said to the others."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from denoagents.envelope import WIRE_VERSION
from denoagents.errors import EvictedError, HandshakeError, LinkLost, ProtocolError
from denoagents.link import Identity
from denoagents.link.handshake import (
    Hello,
    Refused,
    Welcome,
    decode,
    encode,
    error_of,
    other_version,
    refusal,
)

ME = Identity("b", "worker", 22, "home")


def hello(**changes):
    fields = {
        "wire": WIRE_VERSION, "cluster": "home", "name": "a", "role": "client",
        "incarnation": 11, "session": 1, "accepted": 0, "limit_bytes": 1 << 20,
    }  # fmt: skip
    return Hello(**fields | changes)


def test_what_is_said_is_understood():
    said = hello(compression=["lz4", "none"], expected=22)
    assert decode(Hello, encode(said)) == said


def test_a_later_release_may_say_more():
    body = msgspec.msgpack.encode(msgspec.to_builtins(hello()) | {"later": 1})
    assert decode(Hello, body) == hello()


@pytest.mark.parametrize("kind", [Hello, Welcome, Refused])
@given(noise=st.binary(max_size=200))
def test_noise_is_a_typed_error(kind, noise):
    with pytest.raises(ProtocolError):
        decode(kind, noise)


def test_each_truncation_is_a_typed_error():
    body = encode(hello())
    for size in range(len(body)):
        with pytest.raises(ProtocolError):
            decode(Hello, body[:size])


def test_a_wrong_type_is_a_typed_error():
    body = msgspec.msgpack.encode(msgspec.to_builtins(hello()) | {"session": "one"})
    with pytest.raises(ProtocolError, match="session"):
        decode(Hello, body)


@pytest.mark.parametrize("session", [-1, 0, 2**63])
def test_a_number_out_of_range_is_a_typed_error(session):
    body = msgspec.msgpack.encode(msgspec.to_builtins(hello()) | {"session": session})
    with pytest.raises(ProtocolError, match="session"):
        decode(Hello, body)


def test_a_handshake_beyond_its_size_is_not_even_read():
    with pytest.raises(ProtocolError, match="bytes"):
        decode(Hello, encode(hello(name="x" * 5000)))


def test_deep_nesting_is_a_typed_error():
    with pytest.raises(ProtocolError):
        decode(Hello, b"\x81\xa1x" + b"\x91" * 4000)


def test_a_fitting_hello_is_not_refused():
    assert refusal(hello(expected=22), ME) is None


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"cluster": "other"}, "cluster", "'home', the caller to 'other'"),
        ({"expected": 21}, "incarnation", "restarted"),
        ({"welcomed_by": 21}, "incarnation", "restarted"),
    ],
)
def test_a_refusal_says_why(changes, code, words):
    refused = refusal(hello(**changes), ME)
    assert refused.code == code
    assert words in refused.reason


def test_another_version_is_told_both():
    assert "wire version 1, the caller speaks 9" in other_version(9, ME).reason


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("version", HandshakeError),
        ("cluster", HandshakeError),
        ("incarnation", LinkLost),
        ("session", LinkLost),
        ("evicted", EvictedError),
        ("protocol", ProtocolError),
        ("of a later release", HandshakeError),
    ],
)
def test_a_refusal_is_a_typed_error(code, error):
    raised = error_of(Refused(code, "why"))
    assert type(raised) is error and "why" in str(raised)
