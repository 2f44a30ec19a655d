"""Annotations are found by name: early, late, in the right scope, or with a clear error."""

from __future__ import annotations

import dataclasses
import threading
from typing import TYPE_CHECKING, Self

import pytest
from stand_in import Actor

from denoagents.errors import DeclarationError

if TYPE_CHECKING:
    from decimal import Decimal


class Counter(Actor):
    async def merge(self, other: Counter) -> Counter: ...

    async def settle(self, later: Later) -> list[Later]: ...


@dataclasses.dataclass
class Later:
    """Defined after the class that names it."""

    n: int


def test_a_class_may_name_itself_and_what_comes_later() -> None:
    settle = Counter.declared.method("settle")
    payload = settle.encode_arguments((Later(4),))
    assert settle.decode_arguments(payload) == (Later(4),)
    assert settle.decode_result(settle.encode_result([Later(1)])) == [Later(1)]
    assert "Counter" in Counter.declared.method("merge").signature()["parameters"][0]["type"]


def test_a_class_inside_a_function_sees_the_names_around_it() -> None:
    @dataclasses.dataclass
    class Local:
        n: int

    class User(Actor):
        last: Local | None = None

        async def take(self, item: Local) -> list[Local]: ...

    take = User.declared.method("take")
    assert take.decode_arguments(take.encode_arguments((Local(2),))) == (Local(2),)
    assert not take.pending_text()


def test_a_name_that_never_comes_is_told_at_the_first_use() -> None:
    class Vague(Actor):
        price: Decimal

        async def buy(self, price: Decimal) -> None: ...

    buy = Vague.declared.method("buy")
    for _ in range(2):
        with pytest.raises(
            DeclarationError, match=r"Vague\.buy: the annotation 'Decimal' names no"
        ):
            buy.decode_arguments(b"\x91\x01")
    with pytest.raises(DeclarationError, match="TYPE_CHECKING"):
        buy.decode_result(b"\xc0")
    with pytest.raises(DeclarationError, match="of its state"):
        Vague.declared.decode_state(b"\x80")
    assert Vague.declared.signature()["methods"]["buy"]["parameters"][0]["type"] == "Decimal"


def test_a_name_found_late_is_held_to_the_rules() -> None:
    class Owner(Actor):
        async def take(self, item: Hidden) -> None: ...  # noqa: F821

    globals()["Hidden"] = threading.Thread
    try:
        with pytest.raises(DeclarationError, match="no message can carry the type Thread"):
            Owner.declared.method("take").decode_arguments(b"\x91\x01")
    finally:
        del globals()["Hidden"]


def test_self_is_a_ref_to_the_own_type() -> None:
    class Node(Actor):
        async def next(self, after: Self | None) -> Self: ...

    assert Node.declared.method("next").signature()["returns"] == "Node"


def test_declaring_keeps_no_names_of_the_function_around_it() -> None:
    huge = [0] * 10

    class Small(Actor):
        async def take(self, item: int) -> None: ...

    assert huge
    assert "huge" not in Small.declared.method("take")._scope.names
