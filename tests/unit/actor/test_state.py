"""Declared state: which fields it has, their defaults, and their way through bytes."""

from __future__ import annotations

import dataclasses
import threading
from typing import Any, ClassVar

import pytest
from stand_in import Actor

from denoagents.errors import DeclarationError, EncodingError


@dataclasses.dataclass
class Place:
    street: str
    number: int = 1


class Counter(Actor):
    total: int = 0
    seen: list[str] = []  # noqa: RUF012 - copied for each actor
    home: Place = Place("Main Street")
    limit: ClassVar[int] = 10
    _cache: dict[str, int] = {}  # noqa: RUF012
    unannotated = 3


def fault_of(
    body: dict[str, Any], *, name: str = "Wrong", bases: tuple[type, ...] = (Actor,)
) -> str:
    with pytest.raises(DeclarationError) as caught:
        type(name, bases, body)
    return str(caught.value)


def test_annotated_public_fields_are_the_state() -> None:
    assert Counter.declared.state_fields == ("total", "seen", "home")


def test_state_survives_as_bytes() -> None:
    counter = Counter()
    counter.total, counter.seen, counter.home = 7, ["a"], Place("Side", 2)
    payload = Counter.declared.encode_state(counter)
    assert Counter.declared.decode_state(payload) == {
        "total": 7, "seen": ["a"], "home": Place("Side", 2),
    }  # fmt: skip


def test_mutable_defaults_are_copied_for_each_actor_and_plain_ones_are_not() -> None:
    one, other = Counter(), Counter()
    for instance in (one, other):
        Counter.declared.fill_defaults(instance)
    one.seen.append("x")
    one.home.number = 9
    assert (other.seen, other.home) == ([], Place("Main Street"))
    assert (Counter.seen, Counter.home) == ([], Place("Main Street"))
    assert set(vars(one)) == {"seen", "home"}


def test_a_field_without_default_is_absent_until_it_is_set() -> None:
    class Late(Actor):
        name: str

    late = Late()
    assert Late.declared.decode_state(Late.declared.encode_state(late)) == {}
    late.name = "x"
    assert Late.declared.decode_state(Late.declared.encode_state(late)) == {"name": "x"}


def test_state_of_another_version_of_the_class_reads_as_far_as_it_fits() -> None:
    class Newer(Actor):
        total: int = 0
        added: str = "new"

    counter = Counter()
    payload = Counter.declared.encode_state(counter)
    assert Newer.declared.decode_state(payload) == {"total": 0}


def test_state_of_a_wrong_type_names_the_field() -> None:
    with pytest.raises(EncodingError, match=r"Counter: the stored state 'seen\[0\]' must be str"):
        Counter.declared.decode_state(b"\x81\xa4seen\x91\x01")
    with pytest.raises(EncodingError, match="Counter: the stored state is damaged"):
        Counter.declared.decode_state(b"\x81\xa4see")


def test_state_that_cannot_be_kept_names_the_field() -> None:
    counter = Counter()
    counter.seen = [threading.Lock()]  # type: ignore[list-item]
    with pytest.raises(EncodingError, match=r"Counter: the state field 'seen' \(list\)"):
        Counter.declared.encode_state(counter)


def test_a_default_of_the_state_must_fit_its_type() -> None:
    fault = fault_of({"__annotations__": {"total": int}, "total": "0"})
    assert "Wrong: the state field 'total': the default '0' must be int, not str" in fault


def test_a_dataclass_field_as_default_is_told_the_plain_way() -> None:
    body = {"__annotations__": {"items": list[str]}, "items": dataclasses.field()}
    assert "`items: list[str] = []`" in fault_of(body)


def test_a_field_cannot_be_a_method_too() -> None:
    async def total(self) -> int: ...

    assert "a state field and a method" in fault_of({"total": total}, bases=(Counter,))


def test_a_field_of_an_unknown_type_is_refused() -> None:
    fault = fault_of({"__annotations__": {"lock": threading.Thread}})
    assert fault.startswith("Wrong: the state field 'lock': no message can carry the type Thread")
