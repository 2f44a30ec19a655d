"""The codec against oracles: Python's own binding of calls, another msgpack, and hostile bytes."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import inspect
import tracemalloc
from collections.abc import Callable
from typing import Any, NamedTuple

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from stand_in import Actor

from denoagents.actor.codec import decode_json_value, encode_json_arguments
from denoagents.actor.method import MethodType
from denoagents.errors import ArgumentsError, EncodingError, ReplyEncodingError


@dataclasses.dataclass(frozen=True)
class Leaf:
    name: str
    weight: float = 1.0


@dataclasses.dataclass(frozen=True)
class Tree:
    leaf: Leaf
    below: list[Tree]


def method_with(parameters: str, names: dict[str, Any] | None = None) -> MethodType:
    """A method declared from the text of its parameters."""
    known: dict[str, Any] = {"Any": Any, "dt": dt, "Tree": Tree, "Leaf": Leaf, **(names or {})}
    exec(f"async def method(self, {parameters}) -> Any: ...", known)
    return type("Probe", (Actor,), {"method": known["method"]}).declared.method("method")


# --- values come back -------------------------------------------------------------------------

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
INTS = st.integers(-(2**63), 2**64 - 1)
FLOATS = st.floats(allow_nan=False)
LEAVES = st.builds(Leaf, TEXT, FLOATS)
TREES = st.recursive(
    st.builds(Tree, LEAVES, st.just([])),
    lambda inner: st.builds(Tree, LEAVES, st.lists(inner, max_size=3)),
    max_leaves=5,
)
PLAIN = st.recursive(
    st.none() | st.booleans() | INTS | FLOATS | TEXT | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


class Kind(NamedTuple):
    """An annotation, and the values that fit it."""

    text: str
    values: st.SearchStrategy[Any]


KINDS = [
    Kind("int", INTS),
    Kind("str", TEXT),
    Kind("bool", st.booleans()),
    Kind("float", FLOATS),
    Kind("bytes", st.binary(max_size=40)),
    Kind("None", st.none()),
    Kind("Any", PLAIN),
    Kind("int | str | None", st.none() | INTS | TEXT),
    Kind("list[int]", st.lists(INTS, max_size=20)),
    Kind("dict[str, list[float]]", st.dictionaries(TEXT, st.lists(FLOATS, max_size=3))),
    Kind("tuple[int, str]", st.tuples(INTS, TEXT)),
    Kind("set[str]", st.sets(TEXT)),
    Kind("dt.datetime", st.datetimes(timezones=st.just(dt.UTC))),
    Kind("dt.timedelta", st.timedeltas(dt.timedelta(-9999), dt.timedelta(9999))),
    Kind("Tree", TREES),
]
ONE_OF_EACH = method_with(", ".join(f"p{at}: {kind.text}" for at, kind in enumerate(KINDS)))


@given(st.tuples(*(kind.values for kind in KINDS)))
def test_what_fits_its_annotation_comes_back_equal(values: tuple[Any, ...]) -> None:
    assert ONE_OF_EACH.decode_arguments(ONE_OF_EACH.encode_arguments(values)) == values


@given(st.lists(PLAIN, max_size=3))
def test_another_msgpack_reads_the_same_values(values: list[Any]) -> None:
    method = method_with(", ".join(f"p{at}: Any = None" for at in range(3)))
    payload = method.encode_arguments(tuple(values))
    assert msgpack.unpackb(payload, strict_map_key=False) == values
    assert method.decode_arguments(msgpack.packb(values)) == (*values, *(None,) * (3 - len(values)))


def as_sent(payload: bytes) -> Any:
    """What another msgpack reads; ints as floats, for a float may be sent as an int."""
    return normal(msgpack.unpackb(payload, strict_map_key=False)[0])


def normal(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, int):
        return float(value)
    if isinstance(value, list):
        return [normal(item) for item in value]
    if isinstance(value, dict):
        return {key: normal(item) for key, item in value.items()}
    return value


@given(st.sampled_from(KINDS), st.sampled_from(KINDS), st.data())
def test_what_is_sent_as_one_kind_is_taken_as_another_only_unchanged(
    kind: Kind, other: Kind, data: st.DataObject
) -> None:
    method = method_with(f"p: {other.text}")
    payload = method.encode_arguments((data.draw(kind.values),))
    assert ends_well(method.decode_arguments, payload, ArgumentsError, "'p")
    with contextlib.suppress(ArgumentsError):
        again = as_sent(method.encode_arguments(method.decode_arguments(payload)))
        if other.text.startswith("set"):
            assert set(again) == set(as_sent(payload))
        else:
            assert again == as_sent(payload)


# --- calls are bound as Python binds them -----------------------------------------------------

NAMES = ["a", "b", "c", "d"]


@st.composite
def signatures(draw: st.DrawFn) -> str:
    """Positional-only, plain and keyword-only parameters, with defaults where Python has them."""
    by_position, by_name = draw(st.integers(0, 4)), draw(st.integers(0, 2))
    by_position = min(by_position, 4 - by_name)
    required = draw(st.integers(0, by_position))
    parts = [f"{name}: int" for name in NAMES[:required]]
    parts += [f"{name}: int = {at}" for at, name in enumerate(NAMES[required:by_position], 50)]
    if parts and draw(st.booleans()):
        parts.insert(draw(st.integers(1, len(parts))), "/")
    if by_name:
        parts.append("*")
        for at, name in enumerate(NAMES[by_position : by_position + by_name], 60):
            parts.append(f"{name}: int = {at}" if draw(st.booleans()) else f"{name}: int")
    return ", ".join(parts)


def by_python(function: Any, args: tuple[int, ...], kwargs: dict[str, int]) -> list[int] | None:
    try:
        bound = inspect.signature(function).bind(None, *args, **kwargs)
    except TypeError:
        return None
    bound.apply_defaults()
    return list(bound.arguments.values())[1:]


CALLS = st.tuples(
    st.lists(st.integers(0, 9), max_size=5).map(tuple),
    st.dictionaries(st.sampled_from([*NAMES, "e"]), st.integers(0, 9), max_size=4),
)


@given(signatures(), CALLS)
def test_calls_fit_exactly_when_python_says_so(
    parameters: str, call: tuple[tuple[int, ...], dict[str, int]]
) -> None:
    args, kwargs = call
    known: dict[str, Any] = {}
    exec(f"def method(self, {parameters}): ...", known)
    expected = by_python(known["method"], args, kwargs)
    method = method_with(parameters)
    fits_by_count = method.required_count <= len(args) <= method.parameter_count
    assert kwargs or fits_by_count == (expected is not None)
    for way in (
        lambda: method.encode_arguments(args, kwargs),
        lambda: encode_json_arguments(args, kwargs),
    ):
        try:
            decoded = list(method.decode_arguments(way()))
        except ArgumentsError:
            assert expected is None
        else:
            assert expected is not None
            assert decoded == expected[: len(decoded)]
            assert [p.default for p in method.parameters[len(decoded) :]] == expected[
                len(decoded) :
            ]
    if expected is not None:
        bound = method.bind(args, kwargs)
        assert list(bound) == expected[: len(bound)]


# --- hostile bytes ----------------------------------------------------------------------------


class Target(Actor):
    total: int = 0
    notes: dict[str, list[Tree]] = {}  # noqa: RUF012 - copied for each actor

    async def typed(
        self, tree: Tree, numbers: set[int], maybe: dict[str, Any] | None = None
    ) -> Tree: ...

    async def loose(self, value: Any) -> Any: ...

    async def peers(self, others: list[Target]) -> None: ...


TYPE = Target.declared


def ends_well(
    act: Callable[[bytes], Any], payload: bytes, error: type[Exception], word: str
) -> bool:
    """Whether `act` makes a value of the bytes, or raises just this error, naming `word`."""
    try:
        act(payload)
    except error as raised:
        return word in str(raised)
    return True


def swallow(payload: bytes) -> None:
    """Whatever the bytes are: a value, or the one typed error of each way in."""
    for method in TYPE.methods.values():
        assert ends_well(method.decode_arguments, payload, ArgumentsError, str(method))
        assert ends_well(method.decode_result, payload, ReplyEncodingError, str(method))
    assert ends_well(TYPE.decode_state, payload, EncodingError, "Target")
    assert ends_well(decode_json_value, payload, ReplyEncodingError, "the result")


@given(st.binary(max_size=200))
@example(b"")
@example(b"\xc1")
@example(b"\x82\xa4args\x91\xd4\x01\x00\xa6kwargs\x80")
@example(b"\x82\xa4args\x90\xa6kwargs\x81\xa4tree\xd7\xff" + b"\xff" * 8)
@example(b"\x91\x81\x80\x01")
@example(b"\x92\x80\x91\x80")
@example(b"\x91\xd6\xff\xff\xff\xff\xff")
@example(b"\x91\xa2\xff\xfe")
def test_any_bytes_end_in_a_value_or_a_typed_error(payload: bytes) -> None:
    swallow(payload)


@given(st.tuples(TREES, st.sets(INTS), st.dictionaries(TEXT, PLAIN)), st.data())
def test_damaged_payloads_end_in_a_value_or_a_typed_error(
    values: tuple[Any, ...], data: st.DataObject
) -> None:
    payload = bytearray(TYPE.method("typed").encode_arguments(values))
    at = data.draw(st.integers(0, len(payload) - 1))
    match data.draw(st.sampled_from(["cut", "flip", "insert"])):
        case "cut":
            del payload[at:]
        case "flip":
            payload[at] ^= 1 << data.draw(st.integers(0, 7))
        case _:
            payload[at:at] = data.draw(st.binary(min_size=1, max_size=6))
    swallow(bytes(payload))


HEADERS = {
    "array 16": b"\xdc\xff\xff",
    "array 32": b"\xdd\xff\xff\xff\xff",
    "map 16": b"\xde\xff\xff",
    "map 32": b"\xdf\xff\xff\xff\xff",
    "str 32": b"\xdb\xff\xff\xff\xff",
    "bin 32": b"\xc6\xff\xff\xff\xff",
    "ext 32": b"\xc9\xff\xff\xff\xff\x01",
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
@pytest.mark.parametrize("start", [b"", b"\x91", b"\x92\x80", b"\x81\xa5notes"])
def test_memory_follows_the_bytes_that_are_there_and_not_what_a_header_claims(
    header: bytes, start: bytes
) -> None:
    payload = start + header * 300
    swallow(payload)  # what is made once is made now
    tracemalloc.start()
    try:
        swallow(payload)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000


@pytest.mark.parametrize(
    "level", [b"\x91", b"\x81\x01", b"\x81\xa1a", b"\x82\xa4leaf\xc0\xa5below\x91"]
)
@pytest.mark.parametrize("depth", [900, 1100, 100_000])
def test_deep_nesting_ends_in_a_typed_error(level: bytes, depth: int) -> None:
    swallow(level * depth)
    swallow(b"\x91" + level * depth + b"\xc0")


def test_nesting_over_the_limit_says_so_at_both_ends() -> None:
    deep: Any = None
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(EncodingError, match="nested too deeply"):
        TYPE.method("loose").encode_arguments((deep,))
    with pytest.raises(ReplyEncodingError, match="nested too deeply"):
        TYPE.method("loose").encode_result(deep)
    with pytest.raises(ArgumentsError, match="nested too deeply"):
        TYPE.method("loose").decode_arguments(b"\x91" * 5000 + b"\xc0")
    while deep:
        deep = deep[0]  # unwound by hand: the collector's recursion is not the test


# --- state ------------------------------------------------------------------------------------


@given(INTS, st.dictionaries(TEXT, st.lists(TREES, max_size=2), max_size=3))
def test_state_comes_back_equal(total: int, notes: dict[str, list[Tree]]) -> None:
    target = Target()
    target.total, target.notes = total, notes
    assert TYPE.decode_state(TYPE.encode_state(target)) == {"total": total, "notes": notes}
