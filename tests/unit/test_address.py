"""Addresses: text that comes back as it went, and slots that every node computes alike."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from denoagents.address import SLOTS, Address, slot_of
from denoagents.errors import UsageError

PARTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
ADDRESSES = st.builds(Address, PARTS, PARTS, st.lists(PARTS, max_size=3).map(tuple))


def test_the_text_is_type_slash_key() -> None:
    assert Address("Counter", "visits").text == "Counter/visits"
    assert Address("Counter", "visits", ("log", "tail")).text == "Counter/visits/log/tail"


def test_slashes_percent_signs_and_control_characters_in_a_part_are_escaped() -> None:
    address = Address("Page", "a/b%20\n")
    assert address.text == "Page/a%2Fb%2520%0A"
    assert Address.parse(address.text) == address


@given(ADDRESSES)
def test_every_address_survives_its_text(address: Address) -> None:
    parsed = Address.parse(address.text)
    assert parsed == address
    assert parsed.text == address.text
    assert hash(parsed) == hash(address)


@given(ADDRESSES, ADDRESSES)
def test_two_addresses_never_share_a_text(one: Address, other: Address) -> None:
    assert (one == other) == (one.text == other.text)


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_a_usage_error(text: str) -> None:
    try:
        address = Address.parse(text)
    except UsageError:
        return
    assert Address.parse(address.text) == address


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("Counter", "no key"),
        ("", "no key"),
        ("Counter/", "empty part"),
        ("/visits", "empty part"),
        ("Counter/visits//x", "empty part"),
        ("Counter/100%", "%25"),
        ("Counter/%ff", "UTF-8"),
        ("Counter/" + "x" * 2000, "limit is 1024"),
        ("Counter/" + "x" * 5000, "too long"),
    ],
)
def test_text_that_names_nothing_says_what_is_wrong(text: str, word: str) -> None:
    with pytest.raises(UsageError, match=word):
        Address.parse(text)


def test_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(UsageError, match="Unicode"):
        Address("Counter", "\ud800")


def test_a_key_that_is_no_text_is_refused() -> None:
    with pytest.raises(UsageError, match="must be a str, not int"):
        Address("Counter", 3)  # type: ignore[arg-type]


def test_children_live_in_the_slot_of_their_root() -> None:
    root = Address("Counter", "visits")
    child = root.child("log").child("tail")
    assert child.path == ("log", "tail")
    assert child.slot == root.slot == slot_of("Counter", "visits")
    assert child.root == root
    assert child.parent == root.child("log")
    assert root.parent is None


def test_the_slot_of_a_key_never_changes() -> None:
    assert [slot_of("Counter", key) for key in ("visits", "a/b", "ключ")] == SLOTS_OF_OLD


def test_keys_spread_evenly_over_the_slots() -> None:
    used = {slot_of("Counter", str(n)) for n in range(SLOTS * 4)}
    assert len(used) > SLOTS * 0.97
    assert used <= set(range(SLOTS))


def test_an_address_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Address("Counter", "visits").key = "other"  # type: ignore[misc]


SLOTS_OF_OLD = [2962, 2557, 1661]
