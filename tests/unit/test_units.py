"""Quantities with units: read exactly as people write them, written so that they read the same."""

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from denoagents.errors import ConfigurationError
from denoagents.units import Bytes, Duration, Rate


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("50MB", 50_000_000),
        ("50MiB", 52_428_800),
        ("1.5KiB", 1536),
        ("0B", 0),
        (" 2 GB ", 2 * 10**9),
        ("10kB", 10_000),
        ("10KB", 10_000),
        ("1_000B", 1000),
        ("123", 123),
        (7, 7),
    ],
)
def test_sizes_are_read_exactly(text: str, size: int) -> None:
    assert Bytes.parse(text) == size


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("30s", 30 * 10**9),
        ("5m", 300 * 10**9),
        ("1h30m", 5400 * 10**9),
        ("0.2s", 200_000_000),
        ("250 ms", 250_000_000),
        ("1µs", 1000),
        ("7ns", 7),
        ("30d", 30 * 86400 * 10**9),
        ("2 minutes", 120 * 10**9),
        ("1.5", 1_500_000_000),
        (30, 30 * 10**9),
        (0.1, 100_000_000),
    ],
)
def test_durations_are_read_exactly(text: str, ns: int) -> None:
    duration = Duration.parse(text)
    assert duration.ns == ns
    assert duration == ns / 10**9


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("3500/minute", Rate(3500, per_s=60)),
        ("1000/s", Rate(1000)),
        ("90_000/min", Rate(90_000, per_s=60)),
        ("10MB/s", Rate(10_000_000, is_bytes=True)),
        ("5 / hour", Rate(5, per_s=3600)),
    ],
)
def test_rates_are_read(text: str, rate: Rate) -> None:
    assert Rate.parse(text) == rate


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (50_000_000, "50MB"),
        (52_428_800, "50MiB"),
        (1536, "1536B"),
        (1_500_000, "1.5MB"),
        (0, "0B"),
        (2 * 10**9, "2GB"),
        (1, "1B"),
        (2**20 + 1, "1048577B"),
    ],
)
def test_sizes_are_shown_as_people_write_them(text: int, shown: str) -> None:
    assert str(Bytes(text)) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (30, "30s"),
        (300, "5m"),
        (0.2, "0.2s"),
        (0.05, "50ms"),
        (5400, "90m"),
        (86400, "1d"),
        (0, "0s"),
    ],
)
def test_durations_are_shown_as_people_write_them(seconds: float, shown: str) -> None:
    assert str(Duration(seconds)) == shown


def test_rates_are_shown_as_people_write_them() -> None:
    assert [str(Rate(3500, 60)), str(Rate(10_000_000, 1, is_bytes=True))] == [
        "3500/minute",
        "10MB/s",
    ]
    assert Rate(3500, per_s=60).per_second == pytest.approx(58.333, abs=0.001)


@given(st.integers(0, 2**63 - 1))
def test_what_is_shown_reads_as_the_same_value(number: int) -> None:
    assert Bytes.parse(str(Bytes(number))) == number
    assert Duration.parse(str(Duration.of_ns(number))).ns == number


@given(st.integers(0, 10**15), st.sampled_from([1, 60, 3600, 86400]), st.booleans())
def test_a_shown_rate_reads_as_the_same_rate(amount: int, per_s: int, is_bytes: bool) -> None:
    rate = Rate(amount, per_s, is_bytes)
    assert Rate.parse(str(rate)) == rate


@pytest.mark.parametrize(
    "text", ["", "MB", "-5MB", "5 parsecs", "1e3MB", "nan", "½MB", "5MB;", "0.5B", "9" * 30 + "TB"]
)
def test_a_wrong_size_names_value_rule_and_remedy(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Bytes.parse(text)
    assert repr(text) in str(caught.value)
    assert 'write for example "50MB"' in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "s", "-5s", "5 parsecs", "1:30", "0.5ns", "inf", "30S", "9" * 30 + "d"]
)
def test_a_wrong_duration_names_value_rule_and_remedy(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Duration.parse(text)
    assert repr(text) in str(caught.value)
    assert 'write for example "30s"' in str(caught.value)


@pytest.mark.parametrize("text", ["", "5", "/s", "5/fortnight", "x/s", "1.5/s", "5MX/s", "-1/s"])
def test_a_wrong_rate_names_value_rule_and_remedy(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Rate.parse(text)
    assert repr(text) in str(caught.value)
    assert 'write for example "3500/minute"' in str(caught.value)


@pytest.mark.parametrize("number", [-1, 1e300, float("nan"), float("inf"), True])
def test_a_number_that_is_no_duration_is_refused(number: float) -> None:
    with pytest.raises(ConfigurationError):
        Duration.parse(number)


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    for kind in (Bytes, Duration, Rate):
        try:
            kind.parse(text)
        except ConfigurationError as error:
            assert repr(text) in str(error)  # noqa: PT017 - either outcome is right


def test_a_misspelt_period_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match="Did you mean 'minute'"):
        Rate.parse("3500/minuet")


def test_a_duration_survives_copy_and_pickle() -> None:
    duration = Duration.of_ns(10**18 + 1)
    assert copy.deepcopy(duration).ns == pickle.loads(pickle.dumps(duration)).ns == 10**18 + 1
