"""Refs in messages: they travel as addresses and belong to the node that reads them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from stand_in import Actor

from denoagents.actor.method import MethodType
from denoagents.address import Address
from denoagents.errors import ArgumentsError

encode = msgspec.msgpack.encode


@dataclass
class Team:
    leader: Shop | None


class Shop(Actor):
    async def take(self, value: Any) -> Any: ...

    async def visit(self, other: Shop | None, more: list[Shop]) -> Shop: ...

    async def lead(self, team: Team) -> Team: ...


class Rich(Actor): ...


def method(name: str) -> MethodType:
    return Shop.declared.method(name)


class Ref:
    def __init__(self, node: str, cls: type, address: Address) -> None:
        self.node, self.cls, self.address = node, cls, address

    @property
    def __class__(self) -> Any:  # counts as the actor it stands for
        return self.cls


class NodeRefs:
    def __init__(self, name: str) -> None:
        self.name = name

    def address_of(self, value: object) -> Address | None:
        return value.address if type(value) is Ref else None

    def ref_to(self, cls: type, address: Address) -> object:
        if address.type != cls.declared.name:  # type: ignore[attr-defined]
            raise ValueError(f"{address.text} is no {cls.__name__}")
        return Ref(self.name, cls, address)


def test_refs_travel_and_belong_to_the_node_that_reads_them() -> None:
    a, b = (Shop.declared.with_refs(NodeRefs(name)).method("visit") for name in "ab")
    here = Ref("a", Shop, Address("Shop", "x"))
    other, more = b.decode_arguments(a.encode_arguments((here, [here])))
    assert (other.node, other.cls, other.address) == ("b", Shop, here.address)
    assert more[0].node == "b"
    assert b.decode_arguments(a.encode_arguments((None, []))) == (None, [])
    assert a.decode_result(b.encode_result(other)).address == here.address


def test_refs_travel_inside_dataclasses() -> None:
    lead = Shop.declared.with_refs(NodeRefs("a")).method("lead")
    here = Ref("a", Shop, Address("Shop", "x"))
    (team,) = lead.decode_arguments(lead.encode_arguments((Team(here),)))  # type: ignore[arg-type]
    assert team.leader.address == here.address


def test_a_ref_where_anything_goes_arrives_as_an_address() -> None:
    take = Shop.declared.with_refs(NodeRefs("a")).method("take")
    payload = take.encode_arguments(([Ref("a", Shop, Address("Shop", "x"))],))
    assert take.decode_arguments(payload) == ([Address("Shop", "x")],)


def test_a_ref_to_another_type_is_an_arguments_error() -> None:
    visit = Shop.declared.with_refs(NodeRefs("a")).method("visit")
    payload = visit.encode_arguments((Ref("a", Rich, Address("Rich", "x")), []))
    with pytest.raises(ArgumentsError, match="parameter 'other' is not valid: Rich/x is no Shop"):
        visit.decode_arguments(payload)
    with pytest.raises(ArgumentsError, match="parameter 'other' must be Shop, not int"):
        visit.decode_arguments(encode([5, []]))


@pytest.mark.parametrize(
    "data", [b"", b"\xff", b"Shop", b"Shop/", b"Shop/%", b"Shop/" + b"x" * 5000]
)
def test_a_damaged_ref_is_an_arguments_error(data: bytes) -> None:
    ref = msgspec.msgpack.Ext(1, data)
    with pytest.raises(ArgumentsError, match=r"Shop\.visit: the payload is not valid"):
        method("visit").decode_arguments(encode([ref, []]))
    with pytest.raises(ArgumentsError, match=r"Shop\.take: the payload is not valid"):
        method("take").decode_arguments(encode([ref]))


def test_an_unknown_extension_is_an_arguments_error() -> None:
    with pytest.raises(ArgumentsError, match="extension type 7 is unknown"):
        method("take").decode_arguments(encode([msgspec.msgpack.Ext(7, b"x")]))


def test_types_wired_to_a_node_share_the_declaration() -> None:
    wired = Shop.declared.with_refs(NodeRefs("a"))
    assert wired.signature() == Shop.declared.signature()
    assert wired.method("take").function is Shop.take
