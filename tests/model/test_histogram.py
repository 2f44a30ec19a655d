"""The histogram against a sorted list: 1 % off at most, exact ends, merging loses nothing."""

import itertools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from denoagents._native.histogram import Histogram
from denoagents.errors import ProtocolError

times = st.one_of(
    st.integers(0, 300), st.integers(1, 10**13), st.integers(0, 43).map(lambda n: 2**n - 1)
)
lists = st.lists(times, max_size=200)
quantiles = st.one_of(st.sampled_from([0.0, 0.5, 0.95, 0.99, 0.999, 1.0]), st.floats(0, 1))


def histogram_of(values):
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    return histogram


def rank_of(q, count):
    return min(max(math.ceil(q * count), 1), count)


@given(lists.filter(bool), quantiles)
def test_a_quantile_is_off_by_a_hundredth_at_most(values, q):
    exact = sorted(values)[rank_of(q, len(values)) - 1]
    assert histogram_of(values).quantile(q) == pytest.approx(exact, rel=0.01, abs=0)


@given(lists)
def test_count_sum_and_ends_are_exact(values):
    histogram = histogram_of(values)
    assert (histogram.count, len(histogram)) == (len(values), len(values))
    assert histogram.sum_ns == sum(values)
    assert histogram.min_ns == histogram.quantile(0) == min(values, default=0)
    assert histogram.max_ns == histogram.quantile(1) == max(values, default=0)
    assert histogram.count_at_most(2**62) == len(values)


@given(st.lists(lists, max_size=5), quantiles)
def test_merged_histograms_are_the_histogram_of_all(parts, q):
    merged = Histogram()
    for part in parts:
        merged.merge(histogram_of(part))
    whole = histogram_of(itertools.chain.from_iterable(parts))
    assert merged == whole
    assert merged.quantile(q) == whole.quantile(q)


@given(lists)
def test_bytes_give_the_same_histogram_back(values):
    histogram = histogram_of(values)
    again = Histogram.from_bytes(memoryview(histogram.to_bytes()))
    assert again == histogram
    assert (again.count, again.sum_ns, again.quantile(0.9)) == (
        histogram.count, histogram.sum_ns, histogram.quantile(0.9),
    )  # fmt: skip


@given(lists, times)
def test_the_share_below_a_time_is_that_of_its_bucket(values, limit):
    histogram = histogram_of(values)
    surely = sum(value <= limit for value in values)
    perhaps = sum(value <= limit * 1.016 + 1 for value in values)
    assert surely <= histogram.count_at_most(limit) <= perhaps


@given(st.binary(max_size=60))
def test_foreign_bytes_are_a_histogram_or_a_protocol_error(junk):
    for start in (b"", b"\x01"):
        try:
            histogram = Histogram.from_bytes(start + junk)
        except ProtocolError:
            continue
        assert Histogram.from_bytes(histogram.to_bytes()) == histogram


@given(lists.filter(bool), st.data())
def test_damaged_bytes_are_a_histogram_or_a_protocol_error(values, data):
    whole = bytearray(histogram_of(values).to_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at] ^= 1 << data.draw(st.integers(0, 7))
    whole = whole[: data.draw(st.integers(0, len(whole)))]
    try:
        histogram = Histogram.from_bytes(whole)
    except ProtocolError:
        return
    assert sum(1 for _ in [histogram.quantile(q / 10) for q in range(11)]) == 11
    assert histogram.min_ns <= histogram.quantile(0.5) <= histogram.max_ns


def varint(number):
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def packed(*numbers):
    return b"\x01" + b"".join(varint(number) for number in numbers)


def test_a_histogram_written_by_hand_is_read():
    assert Histogram.from_bytes(packed(2, 8, 3, 5, 4, 1, 2, 1)) == histogram_of([3, 5])


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\x02", b"\x01", packed(0, 1, 0, 0), packed(0, 0, 0, 0, 1, 1), packed(1, 5, 5, 5),
        packed(1, 5, 5, 5, 0, 1),             # a bucket before the first
        packed(2, 6, 3, 3, 4, 1, 0, 1),       # a bucket twice
        packed(1, 5, 5, 5, 6, 2),             # more inside than counted
        packed(2, 10, 5, 5, 6, 1),            # fewer
        packed(1, 5, 5, 5, 5000, 1),          # no such bucket
        packed(1, 5, 4, 5, 6, 1),             # least lies in another bucket
        packed(1, 5, 5, 6, 6, 1),             # so does most
        packed(1, 6, 5, 5, 6, 1),             # a sum that cannot be
        packed(2**62 + 1, 5, 5, 5, 6, 1), packed(2, 10, 5, 5, 6, 2**62),
        packed(1, 2**130, 5, 5, 6, 1),
        packed(1, 5, 2**63, 5, 6, 1), packed(1, 5, 5, 5, 6, 0), packed(1, 5, 5, 5, 6) + b"\x81\x00",
        packed(1, 5, 5, 5, 6) + b"\xff" * 20, packed(2**62, 2**62 * 5, 5, 5, 6, 2**62, 1, 2**62),
    ],
)  # fmt: skip
def test_bytes_that_contradict_themselves_are_refused(data):
    with pytest.raises(ProtocolError):
        Histogram.from_bytes(data)


def test_hostile_counts_cannot_overflow_a_merge():
    full = Histogram.from_bytes(packed(2**62, 2**62 * 5, 5, 5, 6, 2**62))
    with pytest.raises(OverflowError):
        full.merge(full.copy())


def test_times_beyond_the_range_are_kept_in_count_and_ends():
    histogram = histogram_of([-5, 2**63 - 1, 2**50])
    assert (histogram.count, histogram.min_ns, histogram.max_ns) == (3, 0, 2**62)
    assert Histogram.from_bytes(histogram.to_bytes()) == histogram


def test_a_merged_p99_of_four_workers_is_that_of_the_raw_samples():
    chance = random.Random(42)
    samples = [[int(chance.lognormvariate(14, 1.5)) for _ in range(5000)] for _ in range(4)]
    merged = Histogram()
    for worker in samples:
        merged.merge(Histogram.from_bytes(histogram_of(worker).to_bytes()))
    exact = sorted(itertools.chain.from_iterable(samples))[rank_of(0.99, 20_000) - 1]
    assert merged.quantile(0.99) == pytest.approx(exact, rel=1 / 64)
    assert len(merged.to_bytes()) < 3000


def test_clear_and_copy_are_independent():
    histogram = histogram_of([1, 2, 3])
    twin = histogram.copy()
    histogram.clear()
    assert histogram == Histogram()
    assert twin == histogram_of([1, 2, 3])
    assert "n=3" in repr(twin)
    assert "empty" in repr(histogram)


@pytest.mark.parametrize("q", [-0.1, 1.1, float("nan")])
def test_a_quantile_outside_0_to_1_is_refused(q):
    with pytest.raises(ValueError, match="0 to 1"):
        Histogram().quantile(q)
