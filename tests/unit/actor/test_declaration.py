"""What a class may declare, and what it is told when it declares something else."""

from __future__ import annotations

import dataclasses
import functools
import json
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any, ClassVar, Generic, TypeVar

import pytest
from stand_in import Actor

from denoagents.actor.declaration import idempotent, uninterruptible
from denoagents.errors import ArgumentsError, DeclarationError, UnknownMethodError


@dataclasses.dataclass
class Place:
    street: str
    number: int = 1


class Counter(Actor):
    """Counts visits."""

    total: int = 0
    seen: list[str] = []  # noqa: RUF012 - copied for each actor
    home: Place = Place("Main Street")
    limit: ClassVar[int] = 10
    _cache: dict[str, int] = {}  # noqa: RUF012
    unannotated = 3

    @idempotent
    async def add(self, n: int) -> int:
        """Add to the total."""
        self.total += n
        return self.total

    @uninterruptible
    async def reset(self) -> None:
        self.total = 0

    async def count_to(self, n: int) -> AsyncIterator[int]:
        for i in range(n):
            yield i

    async def merge(self, other: Counter, *, twice: bool = False) -> Counter:
        return other

    async def settle(self, later: Later) -> list[Later]:
        return [later]

    async def anything(self, value: Any):
        return value

    def _private(self) -> None: ...

    @property
    def size(self) -> int:
        return 0

    @staticmethod
    def make() -> None: ...


@dataclasses.dataclass
class Later:
    """Defined after the class that names it."""

    n: int


def fault_of(
    body: dict[str, Any], *, name: str = "Wrong", bases: tuple[type, ...] = (Actor,)
) -> str:
    with pytest.raises(DeclarationError) as caught:
        type(name, bases, body)
    return str(caught.value)


# --- methods ---------------------------------------------------------------------------------


def test_public_async_methods_are_the_interface() -> None:
    assert list(Counter.declared.methods) == [
        "add", "reset", "count_to", "merge", "settle", "anything",
    ]  # fmt: skip
    assert [method.index for method in Counter.declared.methods.values()] == list(range(6))


def test_an_async_generator_is_a_stream() -> None:
    assert Counter.declared.method("count_to").is_stream
    assert not Counter.declared.method("add").is_stream


def test_decorators_set_flags_and_nothing_else() -> None:
    add, reset = Counter.declared.method("add"), Counter.declared.method("reset")
    assert (add.idempotent, add.uninterruptible) == (True, False)
    assert (reset.idempotent, reset.uninterruptible) == (False, True)
    assert add.function is Counter.add


def test_a_decorator_called_with_parentheses_says_how_to_write_it() -> None:
    with pytest.raises(DeclarationError, match="without parentheses"):
        idempotent(3)  # type: ignore[type-var]


def test_a_public_method_must_be_async() -> None:
    def add(self, n: int) -> int:
        return n

    assert "Wrong.add" in fault_of({"add": add})
    assert "add `async`" in fault_of({"add": add})


def test_a_parameter_needs_a_type() -> None:
    async def add(self, n) -> int:
        return n

    assert fault_of({"add": add}).startswith("Wrong.add: the parameter 'n' has no type; write `n:")


def test_any_number_of_arguments_is_refused() -> None:
    async def add(self, *numbers: int, **named: int) -> None: ...

    assert "`*numbers`" in fault_of({"add": add})


def test_a_method_without_self_is_refused() -> None:
    async def add() -> None: ...

    assert "must be `self`" in fault_of({"add": add})


@pytest.mark.parametrize(
    "kind", [threading.Thread, Callable[[int], int], complex, list[threading.Thread], type[int]]
)
def test_a_type_that_no_message_can_carry_is_refused_by_name(kind: Any) -> None:
    async def add(self, n): ...

    add.__annotations__["n"] = kind
    fault = fault_of({"add": add})
    assert fault.startswith("Wrong.add: the parameter 'n': no message can carry the type ")
    assert "dataclasses" in fault


def test_a_type_inside_a_dataclass_is_checked_too() -> None:
    @dataclasses.dataclass
    class Bad:
        inner: list[threading.Thread]

    async def add(self, n: int) -> Bad: ...

    add.__annotations__["return"] = Bad
    Bad.__annotations__["inner"] = list[threading.Thread]
    assert "Wrong.add: the result: no message can carry the type Thread" in fault_of({"add": add})


def test_a_union_that_bytes_cannot_tell_apart_is_refused() -> None:
    async def add(self, n: list[int] | tuple[int, ...]) -> None: ...

    assert "the parameter 'n': Type unions may not contain more than one array-like" in fault_of(
        {"add": add}
    )


def test_an_annotation_that_is_no_type_is_refused() -> None:
    async def add(self, n: 3) -> None: ...  # type: ignore[valid-type]

    assert "Wrong.add: the parameter 'n'" in fault_of({"add": add})


def test_a_default_must_fit_its_type() -> None:
    async def add(self, n: int = None) -> None: ...  # noqa: RUF013

    fault = fault_of({"add": add})
    assert "Wrong.add: the parameter 'n': the default None must be int, not None" in fault
    assert "write `n: int | None = None`" in fault


def test_a_stream_returns_an_async_iterator() -> None:
    async def count(self) -> int:
        yield 1

    assert "`-> AsyncIterator[int]`" in fault_of({"count": count})


def test_a_method_that_returns_a_stream_must_yield_it() -> None:
    async def count(self) -> AsyncIterator[int]: ...

    assert "`yield` each item" in fault_of({"count": count})


def test_hooks_are_no_methods_and_must_be_awaitable() -> None:
    class Hooked(Actor):
        async def on_start(self) -> None: ...

        async def on_stop(self) -> None: ...

    assert not Hooked.declared.methods

    def on_start(self) -> None: ...

    assert "write `async def on_start`" in fault_of({"on_start": on_start})


@pytest.mark.parametrize("name", ["context", "supervision"])
def test_names_of_the_runtime_are_taken(name: str) -> None:
    async def method(self) -> None: ...

    assert name in fault_of({name: method})
    assert name in fault_of({"__annotations__": {name: int}, name: 1})


def test_supervision_may_be_set_on_the_class() -> None:
    class Parent(Actor):
        supervision = "one_for_one"

    assert not Parent.declared.state_fields


def test_a_constructor_with_arguments_is_refused() -> None:
    def init(self, name: str) -> None: ...

    assert "Wrong.__init__ needs name" in fault_of({"__init__": init})


def test_a_wrapped_method_keeps_its_own_signature() -> None:
    def logged(method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            return await method(*args, **kwargs)

        return wrapper

    class Wrapped(Actor):
        @logged
        @idempotent
        async def add(self, n: int) -> int:
            return n

    add = Wrapped.declared.method("add")
    assert [parameter.name for parameter in add.parameters] == ["n"]
    assert add.idempotent


# --- names -----------------------------------------------------------------------------------


def test_the_type_is_named_as_the_class() -> None:
    assert Counter.declared.name == "Counter"


def test_a_class_may_name_its_type_and_passes_the_name_to_nobody() -> None:
    class Old(Actor):
        type_name: ClassVar[str] = "Legacy"

    class New(Old): ...

    assert Old.declared.name == "Legacy"
    assert New.declared.name == "New"
    assert not Old.declared.state_fields


@pytest.mark.parametrize("name", ["a/b", "", "1x", "x y", "x" * 201, 3])
def test_a_type_name_is_an_identifier(name: object) -> None:
    assert "type name" in fault_of({"type_name": name})


def test_a_misspelt_method_is_told_the_nearest() -> None:
    with pytest.raises(
        UnknownMethodError, match=r"Counter has no method 'ad'\. Did you mean 'add'\?"
    ):
        Counter.declared.method("ad")


@pytest.mark.parametrize(
    "name", ["_private", "__init__", "on_start", "size", "make", "unannotated"]
)
def test_what_is_not_a_public_method_cannot_be_reached(name: str) -> None:
    with pytest.raises(UnknownMethodError):
        Counter.declared.method(name)


def test_state_asked_as_a_method_says_so() -> None:
    with pytest.raises(UnknownMethodError, match=r"Counter\.total is state"):
        Counter.declared.method("total")


# --- inheritance -----------------------------------------------------------------------------


def test_methods_and_fields_are_inherited_and_replaced() -> None:
    class Loud(Counter):
        volume: int = 11
        total = 5

        async def add(self, n: int, times: int = 1) -> int: ...

    assert Loud.declared.state_fields == ("total", "seen", "home", "volume")
    assert len(Loud.declared.method("add").parameters) == 2
    assert str(Loud.declared.method("reset")) == "Loud.reset"
    assert Loud.declared.signature()["state"][0]["default"] == 5
    assert Loud.declared.method("add").idempotent is False


def test_a_method_set_to_none_is_gone() -> None:
    class Quiet(Counter):
        reset = None  # type: ignore[assignment]

    assert "reset" not in Quiet.declared.methods


def test_methods_of_a_mixin_count_and_obey_the_rules() -> None:
    class Greets:
        async def greet(self, name: str) -> str: ...

    class Polite(Greets, Actor): ...

    assert list(Polite.declared.methods) == ["greet"]
    rude = type("Rude", (), {"greet": lambda self: None})
    assert "Wrong.greet" in fault_of({}, bases=(rude, Actor))


T = TypeVar("T")


def test_a_generic_actor_takes_anything_for_its_variable() -> None:
    class Box(Actor, Generic[T]):
        async def put(self, item: T) -> T: ...

    put = Box.declared.method("put")
    assert put.decode_arguments(put.encode_arguments(("x",))) == ("x",)


# --- description -----------------------------------------------------------------------------


def test_the_signature_is_json_and_tells_all() -> None:
    signature = json.loads(json.dumps(Counter.declared.signature()))
    assert signature["name"] == "Counter"
    assert signature["doc"] == "Counts visits."
    assert signature["methods"]["add"] == {
        "name": "add",
        "doc": "Add to the total.",
        "parameters": [{"name": "n", "type": "int", "required": True}],
        "returns": "int",
        "stream": False,
        "idempotent": True,
        "uninterruptible": False,
        "reliable": False,
    }
    assert signature["methods"]["merge"]["parameters"][1] == {
        "name": "twice", "type": "bool", "required": False, "default": False, "keyword_only": True,
    }  # fmt: skip
    assert signature["state"][2] == {
        "name": "home", "type": "Place", "default": {"street": "Main Street", "number": 1},
    }  # fmt: skip


def test_repr_tells_what_is_declared() -> None:
    assert repr(Counter.declared) == "<ActorType Counter [6 methods, 3 fields]>"
    assert repr(Counter.declared.method("count_to")) == "<MethodType Counter.count_to stream>"


def test_arguments_errors_name_the_class() -> None:
    with pytest.raises(ArgumentsError, match=r"Counter\.add"):
        Counter.declared.method("add").bind(())
