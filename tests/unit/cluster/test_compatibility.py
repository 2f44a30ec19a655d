"""What a newcomer may add to its group's types, and what keeps it out."""

import copy

import pytest
from unit.cluster.fleets import Script

from denoagents.cluster import messages as m
from denoagents.cluster.compatibility import difference
from denoagents.cluster.group import digest

NUMBER = {"name": "n", "type": "int"}
ADDED = {"name": "by", "type": "int", "default": 1}
OPTIONAL = {"name": "why", "type": "str", "has_default": True}
FIRST = {
    "T": {
        "name": "T",
        "doc": "Counts.",
        "methods": {"add": {"name": "add", "parameters": [NUMBER], "returns": "int"}},
        "state": [{"name": "total", "type": "int", "default": 0}],
        "types": {
            "Order": {"fields": [{"name": "what", "type": "str"}], "is_array": False},
            "Row": {"fields": [{"name": "x", "type": "int"}], "is_array": True},
            "Kind": {"values": ["a", "b"]},
        },
    }
}


def changed(change, types=FIRST):
    types = copy.deepcopy(types)
    change(types["T"])
    return types


def with_method(name, types=FIRST):
    return changed(lambda one: one["methods"].update({name: {"parameters": []}}), types)


NEXT = with_method("clear")


@pytest.mark.parametrize(
    "change",
    [
        lambda one: one["methods"].update(clear={"name": "clear", "parameters": []}),
        lambda one: one["methods"]["add"]["parameters"].append(ADDED),
        lambda one: one["state"].insert(0, {"name": "by", "type": "int", "default": 1}),
        lambda one: one.update(doc="Counts up."),
        lambda one: one["types"]["Order"]["fields"].insert(0, OPTIONAL),
        lambda one: one["types"]["Row"]["fields"].append(OPTIONAL),
        lambda one: one["types"]["Kind"]["values"].append("c"),
        lambda one: one["types"].update(New={"fields": [NUMBER], "is_array": False}),
        lambda one: one["methods"]["add"].update(doc="Adds."),
    ],
)
def test_an_addition_fits(change):
    assert difference(FIRST, changed(change)) == ""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda one: one["methods"].clear(), "T.methods.add is only in the group"),
        (
            lambda one: one["methods"]["add"]["parameters"].append({"name": "x", "type": "int"}),
            "T.methods.add.parameters has 1 items in the group and 2 in the newcomer",
        ),
        (
            lambda one: one["methods"]["add"]["parameters"].insert(0, ADDED),
            "T.methods.add.parameters[0].default is only in the newcomer",
        ),
        (
            lambda one: one["methods"]["add"].update(returns="str"),
            "T.methods.add.returns is 'int' in the group and 'str' in the newcomer",
        ),
        (
            lambda one: one["state"].append({"name": "x", "type": "int"}),
            "T.state.x is only in the newcomer, and has no default",
        ),
        (lambda one: one["state"].clear(), "T.state.total is only in the group"),
        (
            lambda one: one["types"]["Order"]["fields"][0].update(type="int"),
            "T.types.Order.what.type is 'str' in the group and 'int' in the newcomer",
        ),
        (
            lambda one: one["types"]["Order"]["fields"].append({"name": "y", "type": "int"}),
            "T.types.Order.y is only in the newcomer, and has no default",
        ),
        (
            lambda one: one["types"]["Order"]["fields"].clear(),
            "T.types.Order.what is only in the group",
        ),
        (
            lambda one: one["types"]["Row"]["fields"].insert(0, OPTIONAL),
            "T.types.Row has its fields in another order, or of another kind, in the newcomer",
        ),
        (
            lambda one: one["types"]["Kind"]["values"].remove("a"),
            "T.types.Kind has the value 'a' only in the group",
        ),
        (
            lambda one: one["state"][0].update(type="str"),
            "T.state.total.type is 'int' in the group and 'str' in the newcomer",
        ),
    ],
)
def test_what_is_no_addition_is_named(change, said):
    assert difference(FIRST, changed(change)) == said


@pytest.mark.parametrize("junk", [None, 1, [], [1], {"add": 1}, {"add": {"parameters": 5}}])
def test_a_signature_of_another_shape_is_a_difference_and_no_crash(junk):
    for name in ("methods", "state"):
        types = {"T": {**FIRST["T"], name: junk}}
        assert difference(FIRST, types)
        difference(types, FIRST)
        difference(types, FIRST, may_lack=True)


@pytest.fixture
def pair():
    script = Script()
    script.join("a", 1, types=FIRST)
    script.join("b", 2, types=FIRST)
    script.calm()
    return script


def published(script):
    return script.fleet.record.groups["g"].types["T"]


def test_a_newcomer_adds_a_method_and_the_published_digest_is_of_the_newest_signature(pair):
    assert published(pair) == digest(FIRST["T"])
    pair.join("c", 3, types=NEXT)
    pair.calm()
    assert pair.messages(m.Joined, to=3)
    assert published(pair) == digest(NEXT["T"])


def test_an_old_one_comes_back_while_another_old_one_lives_and_not_later(pair):
    pair.join("c", 3, types=NEXT)
    pair.do(pair.fleet.reaped(2, pair.now))
    pair.join("d", 4, types=FIRST)
    assert pair.messages(m.Joined, to=4)
    for incarnation in (1, 4):
        pair.do(pair.fleet.reaped(incarnation, pair.now))
    pair.join("e", 5, types=FIRST)
    assert "T.methods.clear is only in the group" in pair.messages(m.Refused, to=5)[0].reason


def test_when_the_newest_are_gone_the_old_signature_counts_again(pair):
    pair.join("c", 3, types=NEXT)
    pair.do(pair.fleet.reaped(3, pair.now))
    pair.calm()
    assert published(pair) == digest(FIRST["T"])
    pair.join("d", 4, types=with_method("other"))
    assert pair.messages(m.Joined, to=4)


def test_two_additions_that_contradict_each_other_do_not_meet(pair):
    pair.join("c", 3, types=NEXT)
    other = changed(lambda one: one["methods"]["clear"].update(returns="int"), NEXT)
    pair.join("d", 4, types=other)
    assert "T.methods.clear.returns is only" in pair.messages(m.Refused, to=4)[0].reason


def test_an_old_worker_of_the_fleet_is_kept_by_a_broker_that_met_a_new_one_first():
    script = Script()
    script.join("new", 1, types=NEXT, version=7)
    script.join("old", 2, types=FIRST, version=7)
    assert script.messages(m.Joined, to=2)
    assert script.fleet.groups["g"].types == NEXT
