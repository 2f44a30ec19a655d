"""Calls and results as bytes: strict types, typed errors, refs, and the command line's JSON."""

from __future__ import annotations

import asyncio
import datetime as dt
import decimal
import enum
import threading
import uuid
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
import pytest
from stand_in import Actor

from denoagents.actor.codec import decode_json_value, encode_json_arguments
from denoagents.actor.method import MethodType
from denoagents.address import Address
from denoagents.errors import ArgumentsError, EncodingError, ReplyEncodingError

encode = msgspec.msgpack.encode


class Colour(enum.Enum):
    RED = "red"


class Point(msgspec.Struct):
    x: int
    y: int = 0


@dataclass
class Order:
    name: str
    items: list[Point] = field(default_factory=list)


class Shop(Actor):
    async def add(self, n: int) -> int: ...

    async def open(self) -> None: ...

    async def buy(self, name: str, count: int = 1, tags: list[str] = []) -> Order: ...  # noqa: B006

    async def rare(self, a: int, b: int = 2, *, c: int, d: int = 4) -> tuple[int, ...]:
        return (a, b, c, d)

    async def quiet(self, a: int, *, b: int = 2) -> tuple[int, ...]:
        return (a, b)

    async def only(self, a: int, /, b: int = 2) -> None: ...

    async def take(self, value: Any) -> Any: ...

    async def order(self, order: Order) -> None: ...

    async def visit(self, other: Shop | None, more: list[Shop]) -> Shop: ...

    async def when(self, at: dt.datetime, blob: bytes, ids: dict[int, uuid.UUID]) -> None: ...


def method(name: str) -> MethodType:
    return Shop.declared.method(name)


def there_and_back(name: str, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
    return method(name).decode_arguments(method(name).encode_arguments(args, kwargs))


# --- arguments -------------------------------------------------------------------------------


def test_arguments_are_an_array_in_the_order_of_declaration() -> None:
    assert method("add").encode_arguments((3,), {}) == encode([3])
    assert method("open").encode_arguments((), {}) == encode([])
    assert method("open").decode_arguments(encode([])) == ()
    assert method("buy").encode_arguments(("x",), {"count": 5}) == encode(["x", 5])


def test_omitted_defaults_at_the_end_are_left_out_and_filled_by_the_receiver() -> None:
    assert method("buy").encode_arguments(("x",)) == encode(["x"])
    assert there_and_back("buy", "x") == ("x", 1, [])


def test_a_gap_is_filled_with_its_default() -> None:
    assert method("buy").encode_arguments(("x",), {"tags": ["a"]}) == encode(["x", 1, ["a"]])
    assert method("buy").bind(("x",), {"tags": ["a"]}) == ("x", 1, ["a"])


def test_a_mutable_default_is_new_for_each_call() -> None:
    first, second = (there_and_back("buy", "x")[2] for _ in range(2))
    first.append("mine")
    assert second == []


def test_keyword_only_parameters_reach_the_function_by_name() -> None:
    rare, quiet = method("rare"), method("quiet")
    bound = rare.bind((1,), {"c": 3})
    assert asyncio.run(rare.function(Shop(), *bound)) == (1, 2, 3, 4)
    decoded = rare.decode_arguments(rare.encode_arguments((1,), {"c": 3, "d": 9}))
    assert asyncio.run(rare.function(Shop(), *decoded)) == (1, 2, 3, 9)
    assert asyncio.run(quiet.function(Shop(), *quiet.bind((1,)))) == (1, 2)


def test_counts_tell_whether_a_call_without_keywords_fits() -> None:
    counts = {
        name: (method(name).required_count, method(name).parameter_count)
        for name in ("open", "add", "buy", "quiet", "only")
    }
    assert counts == {
        "open": (0, 0), "add": (1, 1), "buy": (1, 3), "quiet": (1, 1), "only": (1, 2),
    }  # fmt: skip
    assert method("rare").parameter_count == -1


@pytest.mark.parametrize(
    ("name", "args", "kwargs", "sentence"),
    [
        ("add", (), {}, "Shop.add misses 'n'; it is add(n: int)"),
        ("add", (1, 2), {}, "Shop.add is given 2 arguments; it is add(n: int)"),
        ("add", (1,), {"n": 2}, "Shop.add: the parameter 'n' is given twice"),
        (
            "buy",
            ("x",),
            {"cuont": 2},
            "no parameter 'cuont'. Did you mean 'count'? It is buy(name:",
        ),
        ("rare", (1, 2, 3), {}, "given 3 arguments; it is rare(a: int, b: int = 2, *, c: int, d"),
        ("rare", (1,), {}, "Shop.rare misses 'c'"),
        ("only", (), {"a": 1}, "Shop.only has no parameter 'a'"),
        ("open", (1,), {}, "Shop.open is given 1 arguments; it is open()"),
    ],
)
def test_arguments_that_do_not_fit_fail_at_the_caller(
    name: str, args: tuple[Any, ...], kwargs: dict[str, Any], sentence: str
) -> None:
    for act in (method(name).bind, method(name).encode_arguments):
        with pytest.raises(ArgumentsError) as caught:
            act(args, kwargs)
        assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("name", "sent", "sentence"),
    [
        ("add", ["3"], "Shop.add: the parameter 'n' must be int, not str"),
        ("add", [True], "Shop.add: the parameter 'n' must be int, not bool"),
        ("add", [1.0], "Shop.add: the parameter 'n' must be int, not float"),
        ("add", [None], "Shop.add: the parameter 'n' must be int, not None"),
        ("add", [], "Shop.add is given 0 arguments; it is add(n: int)"),
        ("add", [1, 2], "Shop.add is given 2 arguments"),
        ("buy", ["x", 1, [], "new"], "Shop.buy is given 4 arguments"),
        ("buy", ["x", 1, ["a", 2]], "Shop.buy: the parameter 'tags[1]' must be str, not int"),
        (
            "order",
            [{"name": "n", "items": [{"x": "1"}]}],
            "'order.items[0].x' must be int, not str",
        ),
        ("order", [{}], "the parameter 'order' is not valid: Object missing required field `name`"),
        ("when", [1, b"", {}], "the parameter 'at' must be datetime, not int"),
    ],
)
def test_a_payload_that_does_not_fit_names_parameter_type_and_expectation(
    name: str, sent: Any, sentence: str
) -> None:
    with pytest.raises(ArgumentsError) as caught:
        method(name).decode_arguments(encode(sent))
    assert sentence in str(caught.value)


@pytest.mark.parametrize("payload", [b"", b"\x91", b"\x91\xd9", b"\xc1", b"\x91\x01\x01", b"\xc0"])
def test_a_damaged_payload_is_an_arguments_error(payload: bytes) -> None:
    with pytest.raises(ArgumentsError, match=r"Shop\.add"):
        method("add").decode_arguments(payload)


def test_what_cannot_be_sent_names_parameter_and_remedy() -> None:
    with pytest.raises(EncodingError, match=r"parameter 'value' \(lock\) cannot be sent") as caught:
        method("take").encode_arguments((threading.Lock(),))
    assert "messages carry plain values" in str(caught.value)
    with pytest.raises(EncodingError, match="more than 64 bits; send it as text"):
        method("add").encode_arguments((2**70,))
    with pytest.raises(EncodingError, match="lone surrogate"):
        method("take").encode_arguments(("\ud800",))
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(EncodingError, match="contains itself"):
        method("take").encode_arguments((endless,))


def test_payloads_may_be_views_of_a_larger_buffer() -> None:
    buffer = b"junk" + encode([7])
    assert method("add").decode_arguments(memoryview(buffer)[4:]) == (7,)


def test_rich_types_arrive_as_they_left() -> None:
    at, identity = dt.datetime(2024, 5, 1, tzinfo=dt.UTC), uuid.UUID(int=5)
    assert there_and_back("when", at, b"\x00\xff", {1: identity}) == (
        at,
        b"\x00\xff",
        {1: identity},
    )
    assert there_and_back("order", Order("x", [Point(1, 2)])) == (Order("x", [Point(1, 2)]),)


class Rich(Actor):
    async def all(  # noqa: PLR0917
        self,
        colour: Colour,
        price: decimal.Decimal,
        day: dt.date,
        span: dt.timedelta,
        choice: Literal["a", 1],
        maybe: int | str | None,
        pair: tuple[int, str],
        unique: set[int],
        anything: object,
    ) -> None: ...


def test_enums_decimals_dates_literals_and_unions_are_typed() -> None:
    rich = Rich.declared.method("all")
    values = (
        Colour.RED, decimal.Decimal("1.10"), dt.date(2024, 1, 2), dt.timedelta(seconds=3), "a",
        None, (1, "x"), {1, 2}, {"k": [1, None]},
    )  # fmt: skip
    assert rich.decode_arguments(rich.encode_arguments(values)) == values


# --- results ---------------------------------------------------------------------------------


def test_results_are_typed_by_the_annotation() -> None:
    buy = method("buy")
    assert buy.decode_result(buy.encode_result(Order("x"))) == Order("x")


def test_a_result_that_does_not_fit_its_annotation_is_a_reply_encoding_error() -> None:
    with pytest.raises(ReplyEncodingError, match=r"Shop\.add: the result must be int, not str"):
        method("add").decode_result(method("add").encode_result("garbage"))
    with pytest.raises(ReplyEncodingError, match=r"result\.items\[0\] must be object, not int"):
        method("buy").decode_result(encode({"name": "n", "items": [1]}))
    with pytest.raises(ReplyEncodingError, match="is damaged"):
        method("add").decode_result(b"\xd9")


def test_a_result_that_cannot_be_sent_is_a_reply_encoding_error() -> None:
    with pytest.raises(ReplyEncodingError, match=r"Shop\.add: the result \(lock\) cannot be sent"):
        method("add").encode_result(threading.Lock())


# --- the command line ------------------------------------------------------------------------


def test_json_arguments_are_checked_and_converted_by_the_receiver() -> None:
    payload = encode_json_arguments(
        ["2024-05-01T00:00:00Z", "AP8="], {"ids": {"1": str(uuid.UUID(int=5))}}
    )
    assert method("when").decode_arguments(payload) == (
        dt.datetime(2024, 5, 1, tzinfo=dt.UTC), b"\x00\xff", {1: uuid.UUID(int=5)},
    )  # fmt: skip
    assert method("buy").decode_arguments(encode_json_arguments([], {"name": "x"})) == ("x",)
    assert method("visit").decode_arguments(encode_json_arguments(["Shop/x", []], {})) == (
        Address("Shop", "x"), [],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "args", "kwargs", "sentence"),
    [
        ("add", ["3"], {}, "Shop.add: the parameter 'n' must be int, not str"),
        ("add", [], {"n": "3"}, "Shop.add: the parameter 'n' must be int, not str"),
        ("add", [], {}, "Shop.add misses 'n'"),
        ("add", [1, 2], {}, "given 2 arguments"),
        ("buy", ["x"], {"cuont": 2}, "Did you mean 'count'?"),
        ("buy", ["x"], {"name": "y"}, "given twice"),
        ("visit", ["Shop", []], {}, "no key"),
        ("order", [{"name": 1}], {}, "'order.name' must be str, not int"),
    ],
)
def test_json_arguments_that_do_not_fit_are_arguments_errors(
    name: str, args: list[Any], kwargs: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ArgumentsError) as caught:
        method(name).decode_arguments(encode_json_arguments(args, kwargs))
    assert sentence in str(caught.value)


@pytest.mark.parametrize("sent", [{}, {"args": [1]}, {"args": 1, "kwargs": {}}, {"x": 1}])
def test_a_map_that_is_no_call_is_an_arguments_error(sent: Any) -> None:
    with pytest.raises(ArgumentsError, match=r"Shop\.add: the payload"):
        method("add").decode_arguments(encode(sent))


def test_json_arguments_that_cannot_be_sent_say_so() -> None:
    with pytest.raises(EncodingError, match="more than 64 bits"):
        encode_json_arguments([2**80], {})


def test_a_result_is_shown_as_json() -> None:
    ref = msgspec.msgpack.Ext(1, b"Shop/x")
    at = dt.datetime(2024, 5, 1, tzinfo=dt.UTC)
    shown = decode_json_value(encode({"at": at, "b": b"\x00", 1: [ref, None], (1, 2): 1.5}))
    assert shown == {
        "at": "2024-05-01T00:00:00Z", "b": "AA==", "1": ["Shop/x", None], "[1, 2]": 1.5,
    }  # fmt: skip


@pytest.mark.parametrize("payload", [b"", b"\xc1", b"\x91" * 5000, b"\xd4\x07\x00"])
def test_a_damaged_result_is_a_reply_encoding_error(payload: bytes) -> None:
    with pytest.raises(ReplyEncodingError):
        decode_json_value(payload)
