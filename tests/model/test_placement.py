"""Placement against an oracle with big integers, and what SPEC 2.9 asks of it."""

import hashlib
import itertools
import math
import random
import time
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from denoagents._native.placement import MAX_WEIGHT, NO_OWNER, SLOTS, assign, minus_log2, mix

MASK = 2**64 - 1


def oracle_mix(value):
    value = (value + 0x9E3779B97F4A7C15) & MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & MASK
    return value ^ (value >> 31)


def oracle_seed(name):
    value = 0xCBF29CE484222325
    for byte in name:
        value = ((value ^ byte) * 0x100000001B3) & MASK
    return oracle_mix(value)


def oracle_owner(slot, members):
    """The member with the least cost / weight; the least name wins a tie."""
    costs = []
    for name, weight in members.items():
        if weight:
            cost = minus_log2(oracle_mix(oracle_seed(name) ^ oracle_mix(slot)))
            costs.append((Fraction(cost, weight), name))
    return min(costs)[1] if costs else None


names = st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=10, unique=True)


@st.composite
def fleets(draw):
    members = draw(names)
    return {name: draw(st.sampled_from([1, 1, 1, 2, 3, 7, 0, MAX_WEIGHT])) for name in members}


def owners_of(members):
    """Slot -> name."""
    table = assign(list(members), list(members.values()))
    order = list(members)
    return [None if owner == NO_OWNER else order[owner] for owner in table]


@given(st.integers(0, MASK))
def test_mix_is_splitmix64(value):
    assert mix(value) == oracle_mix(value)


@given(st.one_of(st.integers(0, MASK), st.integers(0, 63).map(lambda n: 2**n - 1)))
def test_the_logarithm_is_right_to_a_part_in_a_million(draw):
    exact = 64 - math.log2(draw + 1)
    assert minus_log2(draw) / 2**40 == pytest.approx(exact, rel=1e-3, abs=2e-7)


@given(st.integers(0, MASK), st.integers(0, MASK))
def test_the_logarithm_never_rises_with_the_draw(first, second):
    low, high = sorted((first, second))
    assert minus_log2(low) >= minus_log2(high) >= 1


def test_the_logarithm_is_the_same_on_every_platform():
    digest = hashlib.sha256()
    for number in range(20_000):
        digest.update(minus_log2(mix(number)).to_bytes(8, "little"))
    for power, off in itertools.product(range(64), (-1, 0, 1)):
        digest.update(minus_log2((2**power + off) & MASK).to_bytes(8, "little"))
    assert digest.hexdigest()[:16] == "d6aff360a7dcd1a0"


def test_a_fleet_is_placed_the_same_on_every_platform():
    table = assign([f"worker-{n}".encode() for n in range(10)], [1, 1, 1, 2, 2, 3, 5, 8, 13, 21])
    assert hashlib.sha256(bytes(table.tolist()[:SLOTS])).hexdigest()[:16] == "1d1e6445c5ff9694"


@given(fleets())
def test_every_slot_has_the_owner_that_the_oracle_names(members):
    owners = owners_of(members)
    assert len(owners) == SLOTS
    for slot in range(0, SLOTS, 61):
        assert owners[slot] == oracle_owner(slot, members)


@given(fleets(), st.randoms(use_true_random=False))
def test_the_order_of_the_list_changes_nothing(members, chance):
    shuffled = list(members.items())
    chance.shuffle(shuffled)
    assert owners_of(members) == owners_of(dict(shuffled))


@given(fleets(), st.binary(min_size=21, max_size=22), st.integers(1, 9))
def test_a_newcomer_only_takes_and_a_leaver_only_gives(members, name, weight):
    before, after = owners_of(members), owners_of({**members, name: weight})
    assert all(new in {old, name} for old, new in zip(before, after, strict=True))


def keys(count, seed):
    chance = random.Random(seed)
    return [chance.randrange(SLOTS) for _ in range(count)]


@pytest.mark.parametrize("count", range(2, 11))
def test_10_000_keys_are_spread_to_a_quarter_over_the_mean_at_most(count):
    for seed in range(5):
        owners = owners_of({f"fleet{seed}/worker-{n}".encode(): 1 for n in range(count)})
        load = dict.fromkeys(set(owners), 0)
        for slot in keys(10_000, seed):
            load[owners[slot]] += 1
        assert max(load.values()) <= 1.25 * 10_000 / count
        assert len(load) == count


@pytest.mark.parametrize("count", range(2, 11))
def test_a_join_or_a_death_moves_its_share_of_10_000_keys_and_no_more(count):
    members = {f"worker-{n}".encode(): 1 for n in range(count)}
    before, after = owners_of(members), owners_of({**members, b"newcomer": 1})
    moved = sum(before[slot] != after[slot] for slot in keys(10_000, count))
    assert moved / 10_000 <= 1 / (count + 1) + 0.04
    assert moved / 10_000 >= 1 / (count + 1) - 0.04


@pytest.mark.parametrize(
    "weights", [(1, 2), (1, 3, 6), (5, 5, 10, 20), (100, 250, 650), (1, 1, 1, 1, 4)]
)
def test_unequal_weights_get_proportional_shares(weights):
    for seed in range(5):
        members = {f"fleet{seed}/worker-{n}".encode(): w for n, w in enumerate(weights)}
        owners = owners_of(members)
        for name, weight in members.items():
            share = weight / sum(weights)
            spread = math.sqrt(SLOTS * share * (1 - share))
            assert abs(owners.count(name) - SLOTS * share) < 4 * spread


def test_a_raised_weight_moves_slots_only_to_its_member():
    members = {b"a": 2, b"b": 2, b"c": 2}
    before, after = owners_of(members), owners_of({**members, b"b": 3})
    assert all(new in {old, b"b"} for old, new in zip(before, after, strict=True))
    assert after.count(b"b") > before.count(b"b")


def test_nobody_with_a_weight_leaves_every_slot_without_owner():
    assert set(assign([], [])) == set(assign([b"a"], [0])) == {NO_OWNER}


def test_ten_members_are_placed_within_5_ms():
    members = [f"worker-{n}".encode() for n in range(10)]
    weights = [1] * 10
    times = []
    for _ in range(5):
        started = time.perf_counter()
        assign(members, weights)
        times.append(time.perf_counter() - started)
    assert min(times) < 0.005


@pytest.mark.parametrize(
    ("members", "weights", "words"),
    [
        ([b"a"], [1, 2], "1 names but 2 weights"),
        ([b"a", b"a"], [1, 1], "the same name"),
        ([b"a"], [-1], "weight must be 0 to 65535"),
        ([b"a"], [65536], "weight must be 0 to 65535"),
    ],
)
def test_a_list_that_cannot_be_placed_is_refused(members, weights, words):
    with pytest.raises(ValueError, match=words):
        assign(members, weights)
