"""Compression is negotiated, never makes a body longer, and trusts no length."""

import contextlib
import gzip
import random

import lz4.block
import pytest
from hypothesis import given
from hypothesis import strategies as st

from denoagents.errors import ProtocolError
from denoagents.link.compression import NUMBERS, choose, compress, decompress, preference

LIMIT = 1 << 20
NOISE = random.Random(1).randbytes(5000)


@pytest.mark.parametrize("name", ["lz4", "gzip"])
@given(body=st.binary(max_size=4000), times=st.integers(1, 20))
def test_what_is_compressed_comes_back(name, body, times):
    body *= times
    number, packed = compress(NUMBERS[name], body)
    if number:
        assert decompress(number, packed, len(body), LIMIT) == body
    else:
        assert packed is body


@pytest.mark.parametrize("name", ["lz4", "gzip"])
def test_a_body_that_does_not_shrink_stays_as_it_is(name):
    assert compress(NUMBERS[name], NOISE) == (0, NOISE)


@pytest.mark.parametrize("name", ["lz4", "gzip"])
@pytest.mark.parametrize("claim", [0, 1, 4999, 5001, LIMIT + 1, 2**32 - 1])
def test_a_false_length_is_refused(name, claim):
    number, packed = compress(NUMBERS[name], b"a" * 5000)
    with pytest.raises(ProtocolError):
        decompress(number, packed, claim, LIMIT)


@pytest.mark.parametrize("name", ["lz4", "gzip"])
def test_a_claim_that_no_compression_reaches_takes_no_memory(name):
    with pytest.raises(ProtocolError, match="claim"):
        decompress(NUMBERS[name], b"tiny", 1 << 19, LIMIT)


@pytest.mark.parametrize("name", ["lz4", "gzip"])
@given(noise=st.binary(max_size=300), claim=st.integers(0, 2000))
def test_noise_is_refused_with_a_typed_error_or_keeps_its_length(name, noise, claim):
    with contextlib.suppress(ProtocolError):
        assert len(decompress(NUMBERS[name], noise, claim, LIMIT)) == claim


def test_a_gzip_body_with_something_behind_it_is_refused():
    with pytest.raises(ProtocolError):
        decompress(2, gzip.compress(b"a" * 100) + b"more", 100, LIMIT)


def test_any_lz4_of_the_same_length_is_accepted():
    packed = lz4.block.compress(b"a" * 3000, mode="high_compression", store_size=False)
    assert decompress(1, memoryview(packed), 3000, LIMIT) == b"a" * 3000


def test_an_unknown_algorithm_is_refused():
    with pytest.raises(ProtocolError):
        decompress(3, b"x", 1, LIMIT)


@pytest.mark.parametrize(
    ("dialer", "acceptor", "chosen"),
    [
        ("lz4", "lz4", "lz4"),
        ("gzip", "lz4", "gzip"),
        ("none", "lz4", "none"),
        ("lz4", "none", "none"),
    ],
)
def test_the_dialer_s_choice_counts_unless_one_side_says_none(dialer, acceptor, chosen):
    assert choose(preference(dialer), acceptor) == chosen


def test_an_algorithm_that_is_unknown_here_is_passed_over():
    assert choose(["zstd", "gzip", "none"], "lz4") == "gzip"
    assert choose([], "lz4") == "none"
