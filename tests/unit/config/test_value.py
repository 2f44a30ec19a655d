"""Reading and showing single values."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from denoagents.config.key import Key
from denoagents.config.keys import KEYS
from denoagents.config.value import parse, show
from denoagents.errors import ConfigurationError
from denoagents.units import Bytes, Duration, Rate


def key(kind, **more):
    return Key("a.b", kind, "", "", "", **more)


@pytest.mark.parametrize(
    ("kind", "raw", "value"),
    [
        ("bytes", "50MB", Bytes(50_000_000)),
        ("bytes", 1024, Bytes(1024)),
        ("duration", "<50ms", Duration(0.05)),
        ("duration", 2.5, Duration(2.5)),
        ("rate", "3500/minute", Rate(3500, 60)),
        ("rate", 1000, Rate(1000)),
        ("rate", "1000", Rate(1000)),
        ("byte_rate", "10MB/s", Rate(10_000_000, is_bytes=True)),
        ("percent", "99.9%", 0.999),
        ("count", 100, 100),
        ("count", "1_000", 1000),
        ("switch", True, True),
        ("switch", "off", False),
        ("text", " as it is ", " as it is "),
    ],
)
def test_values_are_read(kind, raw, value):
    assert parse(key(kind), raw) == value


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        ("bytes", "50 bananas"), ("bytes", -1), ("bytes", True), ("bytes", None), ("bytes", 1.5),
        ("duration", "soon"), ("duration", -1), ("rate", "fast"), ("rate", "10MB/s"),
        ("rate", None), ("byte_rate", "10/s"), ("percent", 75), ("percent", "101%"),
        ("percent", "x%"), ("percent", "nan%"), ("count", 1.5), ("count", "-1"), ("count", True),
        ("count", 2**63), ("switch", 1), ("switch", "maybe"), ("text", 5), ("list", 5),
    ],
)  # fmt: skip
def test_wrong_values_are_errors_that_say_what_is_allowed(kind, raw):
    with pytest.raises(ConfigurationError) as caught:
        parse(key(kind, choices=("a",)), raw)
    assert str(raw) in str(caught.value)


def test_choices_may_be_spelt_with_hyphens_underscores_or_blanks():
    modes = key("choice", choices=("in-memory", "disk"))
    assert {parse(modes, text) for text in ("in-memory", "in_memory", "IN MEMORY")} == {"in-memory"}
    with pytest.raises(ConfigurationError, match=r"one of in-memory, disk\. Did you mean 'disk'"):
        parse(modes, "disc")


def test_lists_come_from_toml_and_from_text():
    levels = key("list", choices=("high", "low"))
    assert parse(levels, ["high", "low"]) == parse(levels, "high, low") == ("high", "low")
    with pytest.raises(ConfigurationError):
        parse(levels, ["high", 3])


def test_a_value_below_the_least_names_it():
    with pytest.raises(ConfigurationError, match="at least 1"):
        parse(key("count", least=1), 0)
    with pytest.raises(ConfigurationError, match="at least 1s"):
        parse(key("duration", least=10**9), "1ms")


@pytest.mark.parametrize("one", KEYS, ids=lambda one: one.name)
def test_every_default_is_read_and_shown_as_the_same_value(one):
    value = parse(one, one.default)
    assert parse(one, show(one, value)) == value


@given(st.sampled_from(KEYS), st.text() | st.integers() | st.floats() | st.none() | st.booleans()
       | st.lists(st.text()) | st.dictionaries(st.text(), st.integers()))  # fmt: skip
def test_anything_else_is_an_error_and_nothing_but_that(one, raw):
    with contextlib.suppress(ConfigurationError):
        parse(one, raw)
