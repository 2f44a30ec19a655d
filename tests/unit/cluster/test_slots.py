import random

import pytest

from denoagents._native.placement import assign
from denoagents.cluster import slots as slot_set
from denoagents.errors import ProtocolError


@pytest.mark.parametrize("size", [0, 1, 17, 4096])
def test_a_set_is_the_same_as_bits_bytes_and_numbers(size):
    chosen = sorted(random.Random(size).sample(range(4096), size))
    bits = slot_set.from_numbers(chosen)
    assert list(slot_set.numbers(bits)) == chosen
    assert slot_set.unpack(slot_set.pack(bits)) == bits
    assert bits.bit_count() == size


def test_slot_n_is_bit_n_of_the_bytes():
    assert slot_set.pack(slot_set.from_numbers([9]))[1] == 2


@pytest.mark.parametrize("size", [0, 511, 513])
def test_a_packed_set_of_another_size_is_refused(size):
    with pytest.raises(ProtocolError, match=f"512 bytes, not {size}"):
        slot_set.unpack(bytes(size))


def test_owners_cover_every_slot_once_whatever_the_order_of_members():
    members = [(7, "a", 1), (8, "b", 2), (9, "c", 1)]
    owners = slot_set.owners_of(members, assign)
    assert owners == slot_set.owners_of(members[::-1], assign)
    assert slot_set.union(owners.values()) == slot_set.ALL
    assert sum(slots.bit_count() for slots in owners.values()) == 4096


def test_nobody_owns_anything_in_an_empty_group():
    assert slot_set.owners_of([], assign) == {}
