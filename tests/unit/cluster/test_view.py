import time

import pytest

from denoagents._native.placement import assign
from denoagents.cluster import instructions as do
from denoagents.cluster import messages as m
from denoagents.cluster import slots as slot_set
from denoagents.cluster.view import View

A, B, C, CLIENT = 1, 2, 3, 9


def record(version, *workers, sources=(), lingering=(), over=(), **states):
    members = [
        m.MemberRecord(
            name=f"w{who}", incarnation=who, group="g", state=states.get(f"w{who}", "placed")
        )
        for who in workers
    ]
    return m.VersionRecord(
        version=version,
        members=members,
        groups={"g": m.GroupRecord(types={"T": "x"})},
        sources={"g": [m.Source(who, slot_set.pack(slots)) for who, slots in sources]},
        lingering=list(lingering),
        over=list(over),
    )


def owners(*workers):
    return slot_set.owners_of([(who, f"w{who}", 1) for who in workers], assign)


def view(me, group="g"):
    return View(incarnation=me, group=group, assign=assign)


def of(kind, todo):
    return [one for one in todo if isinstance(one, kind)]


def slots_of(one):
    return slot_set.from_numbers(one.slots)


@pytest.fixture
def moved():
    """A and B; what moves from A to B when B joins."""
    return owners(A, B)[B]


@pytest.fixture
def holder():
    """A, which runs everything."""
    a = view(A)
    a.on_version(record(1, A))
    a.settled(1)
    return a


# --- senders --------------------------------------------------------------------------------------


def test_a_client_routes_at_once_when_nobody_had_the_slots_before():
    todo = view(CLIENT, None).on_version(record(1, A))
    assert [(one.owner, len(one.slots)) for one in of(do.Route, todo)] == [(A, 4096)]
    assert todo[-1] == do.Acknowledge(1)


def test_a_sender_holds_until_the_old_owner_has_accepted_everything(moved):
    client = view(CLIENT, None)
    client.on_version(record(1, A))
    todo = client.on_version(record(2, A, B, sources=[(A, moved)]))
    held, flush = todo
    assert (held.owner, slots_of(held)) == (0, moved)
    assert flush == do.Flush(2, (A,))
    route, ack = client.flushed(A, 2)
    assert (route.owner, slots_of(route)) == (B, moved)
    assert ack == do.Acknowledge(2)


def test_an_old_flush_does_not_count_for_a_new_version(moved):
    client = view(CLIENT, None)
    client.on_version(record(1, A))
    client.on_version(record(2, A, B))
    assert client.flushed(A, 1) == []


def test_a_sender_does_not_wait_for_the_dead():
    client = view(CLIENT, None)
    client.on_version(record(1, A, B))
    todo = client.on_version(record(2, B, over=[A]))
    assert todo[0] == do.Over(A)
    assert of(do.Flush, todo) == []
    assert todo[-1] == do.Acknowledge(2)
    assert {one.owner for one in of(do.Route, todo)} == {0, B}


def test_the_death_of_who_is_waited_for_ends_the_waiting(moved):
    client = view(CLIENT, None)
    client.on_version(record(1, A))
    client.on_version(record(2, A, B))
    todo = client.on_version(record(3, B))
    assert of(do.Acknowledge, todo) == [do.Acknowledge(3)]
    assert slot_set.union(slots_of(r) for r in of(do.Route, todo) if r.owner == B) == slot_set.ALL


def test_a_slot_that_comes_back_is_routed_without_waiting(moved):
    client = view(CLIENT, None)
    client.on_version(record(1, A))
    client.on_version(record(2, A, B))
    todo = client.on_version(record(3, A))
    assert [(r.owner, slots_of(r)) for r in of(do.Route, todo)] == [(A, moved)]
    assert todo[-1] == do.Acknowledge(3)


def test_a_version_that_came_before_is_acknowledged_again_and_nothing_else():
    client = view(CLIENT, None)
    client.on_version(record(1, A))
    assert client.on_version(record(1, A)) == [do.Acknowledge(1)]
    assert client.on_version(record(0)) == [do.Acknowledge(1)]


def test_slots_of_a_group_without_workers_are_held():
    client = view(CLIENT, None)
    client.on_version(record(1, A))
    todo = client.on_version(record(2))
    assert [r.owner for r in of(do.Route, todo)] == [0]
    assert client.owner_of("g", 5) == 0


# --- holders and owners ---------------------------------------------------------------------------


def test_slots_that_nobody_held_are_activated_when_the_version_is_settled():
    a = view(A)
    assert of(do.Activate, a.on_version(record(1, A))) == []
    activate, report = a.settled(1)
    assert slots_of(activate) == slot_set.ALL
    assert report.message.slots == slot_set.pack(slot_set.ALL)
    assert a.is_active("g", 17)


def test_settled_of_another_version_activates_nothing():
    a = view(A)
    a.on_version(record(2, A))
    assert a.settled(1) == a.settled(3) == []


def test_a_holder_freezes_at_once_and_ships_when_settled(holder, moved):
    todo = holder.on_version(record(2, A, B, sources=[(A, moved)]))
    assert slots_of(of(do.Freeze, todo)[0]) == moved
    (ship,) = holder.settled(2)
    assert (ship.to, slots_of(ship)) == (B, moved)
    slot = ship.slots[0]
    assert holder.destination("g", slot) == B
    (release,) = holder.shipped("g", ship.slots, B, [(slot, "T/busy")])
    assert release.to == B
    assert release.message.excepted == [m.Lingering("g", slot, "T/busy", A)]
    assert holder.destination("g", slot) == 0


def test_an_actor_that_had_to_stay_follows_when_its_turn_has_ended(holder, moved):
    holder.on_version(record(2, A, B, sources=[(A, moved)]))
    (ship,) = holder.settled(2)
    slot = ship.slots[0]
    holder.shipped("g", ship.slots, B, [(slot, "T/busy")])
    assert holder.turn_ended("T/busy") == [do.ShipActor("g", "T/busy", slot, B)]
    (release,) = holder.actor_shipped("T/busy", B)
    assert release.message.actors == [m.Lingering("g", slot, "T/busy", A)]
    assert holder.turn_ended("T/busy") == []


def test_a_new_owner_waits_for_the_release_and_for_actors_that_stayed(moved):
    b = view(B)
    b.on_version(record(2, A, B, sources=[(A, moved)]))
    assert b.settled(2) == []
    slot = slot_set.numbers(moved)[0]
    busy = m.Lingering("g", slot, "T/busy", A)
    activate, report = b.released(
        A, m.Released(version=2, group="g", slots=slot_set.pack(moved), excepted=[busy])
    )
    assert (slots_of(activate), activate.excepted) == (moved, ("T/busy",))
    assert report.message.excepted == [busy]
    assert b.lingering() == [busy]
    assert b.is_elsewhere("T/busy")
    todo = b.released(A, m.Released(version=2, group="g", actors=[busy]))
    assert todo[0] == do.ActivateActor("g", "T/busy")
    assert b.lingering() == []


def test_the_death_of_the_holder_frees_its_slots_and_the_actors_that_stayed(moved):
    b = view(B)
    b.on_version(record(2, A, B, sources=[(A, moved)]))
    b.settled(2)
    slot = slot_set.numbers(moved)[0]
    busy = m.Lingering("g", slot, "T/busy", A)
    part = 1 << slot
    b.released(A, m.Released(version=2, group="g", slots=slot_set.pack(part), excepted=[busy]))
    assert b.on_version(record(3, B, over=[A]))[0] == do.Over(A)
    todo = b.settled(3)
    assert slots_of(of(do.Activate, todo)[0]) == slot_set.ALL & ~part
    assert do.ActivateActor("g", "T/busy") in todo


def test_a_release_that_comes_before_its_version_waits_for_it(moved):
    b = view(B)
    b.on_version(record(1, A))
    release = m.Released(version=2, group="g", slots=slot_set.pack(moved))
    assert b.released(A, release) == []
    assert of(do.Activate, b.on_version(record(2, A, B, sources=[(A, moved)])))


def test_asked_for_what_it_gave_to_a_dead_one_a_holder_says_so(holder, moved):
    holder.on_version(record(2, A, B, sources=[(A, moved)]))
    (ship,) = holder.settled(2)
    slot = next(s for s in ship.slots if owners(A, C)[C] >> s & 1)
    holder.shipped("g", ship.slots, B, [(slot, "T/busy")])
    asked = moved & owners(A, C)[C]
    todo = holder.on_version(record(3, A, C, sources=[(A, asked)], over=[B]))
    (release,) = of(do.Release, todo)
    assert (release.to, release.message.via) == (C, B)
    assert slot_set.unpack(release.message.slots) == asked
    assert [entry.actor for entry in release.message.excepted] == ["T/busy"]
    assert of(do.Release, holder.on_version(record(4, A, C, sources=[(A, asked)])))


def test_an_owner_activates_what_went_via_a_dead_one_when_settled(moved):
    c = view(C)
    asked = moved & owners(A, C)[C]
    c.on_version(record(3, A, C, sources=[(A, asked)], over=[B]))
    message = m.Released(version=3, group="g", slots=slot_set.pack(asked), via=B)
    assert c.released(A, message) == []
    todo = c.settled(3)
    assert slot_set.union(slots_of(one) for one in of(do.Activate, todo)) & asked == asked


def test_an_owner_waits_for_a_living_one_to_whom_its_slots_went(moved):
    c = view(C)
    gets = owners(A, B, C)[C]
    c.on_version(record(3, A, B, C, sources=[(A, gets)]))
    packed = slot_set.pack(gets)
    c.settled(3)
    assert c.released(A, m.Released(version=3, group="g", slots=packed, via=B)) == []
    todo = c.released(B, m.Released(version=3, group="g", slots=packed))
    assert slots_of(of(do.Activate, todo)[0]) == gets


def test_slots_that_come_back_before_they_were_shipped_are_resumed(holder, moved):
    holder.on_version(record(2, A, B, sources=[(A, moved)]))
    todo = holder.on_version(record(3, A, over=[B]))
    assert slots_of(of(do.Activate, todo)[0]) == moved
    assert of(do.Report, todo)


def test_slots_that_come_back_after_they_were_shipped_are_fresh_when_settled(holder, moved):
    holder.on_version(record(2, A, B, sources=[(A, moved)]))
    (ship,) = holder.settled(2)
    holder.shipped("g", ship.slots, B, [])
    todo = holder.on_version(record(3, A, over=[B]))
    assert of(do.Activate, todo) == []
    assert slots_of(of(do.Activate, holder.settled(3))[0]) == moved


# --- the end --------------------------------------------------------------------------------------


def test_a_drained_worker_says_so_when_it_holds_nothing(holder):
    holder.on_version(record(2, A, B, sources=[(A, slot_set.ALL)], w1="draining"))
    (ship,) = holder.settled(2)
    slot = ship.slots[0]
    todo = holder.shipped("g", ship.slots, B, [(slot, "T/busy")])
    assert do.Drained() not in todo
    holder.turn_ended("T/busy")
    assert holder.actor_shipped("T/busy", B)[-1] == do.Drained()


def test_the_last_worker_of_a_group_is_drained_at_once(holder):
    holder.on_version(record(2, A, w1="draining"))
    assert do.Drained() in holder.settled(2)


@pytest.mark.parametrize("gone", [record(2, B, over=[A]), record(2, B)])
def test_an_evicted_node_is_told_and_does_nothing_more(holder, gone):
    assert isinstance(holder.on_version(gone)[-1], do.Evicted)
    assert holder.settled(2) == []


def test_what_it_holds_is_told_to_a_broker_that_started_anew(holder, moved):
    holder.on_version(record(2, A, B, sources=[(A, moved)]))
    assert holder.holding() == {"g": slot_set.pack(slot_set.ALL)}
    (ship,) = holder.settled(2)
    holder.shipped("g", ship.slots, B, [])
    assert holder.holding() == {"g": slot_set.pack(slot_set.ALL & ~moved)}


def test_a_version_is_processed_quickly():
    a = view(A)
    workers = range(1, 17)
    a.on_version(record(1, *workers))
    a.settled(1)
    changed = record(2, *workers[:-1])
    started = time.perf_counter()
    a.on_version(changed)
    a.settled(2)
    assert time.perf_counter() - started < 0.05, "far above the 2 ms that it takes"
