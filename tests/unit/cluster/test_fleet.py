import re

import pytest
from unit.cluster.fleets import TYPES, S, Script

from denoagents._native.placement import assign
from denoagents.cluster import messages as m
from denoagents.cluster import slots as slot_set
from denoagents.cluster.beat import BeatStatus
from denoagents.cluster.fleet import Fleet
from denoagents.cluster.orders import Note, Persist, Send
from denoagents.cluster.settings import ClusterSettings
from denoagents.cluster.versions import GAP
from denoagents.errors import StoreError


def hosting(*parameters):
    """The app of a newcomer whose T.add has these parameters."""
    return {"T": {"name": "T", "methods": {"add": {"parameters": list(parameters)}}}}


@pytest.fixture
def script():
    return Script()


@pytest.fixture
def pair(script):
    """Two workers and a client, everything handed over."""
    script.join("a", 1)
    script.join("b", 2)
    script.join("c", 3, group=None)
    script.calm()
    script.wait(2.5, beating=(1, 2, 3))
    script.said.clear()
    return script


# --- joining --------------------------------------------------------------------------------------


def test_a_join_is_stored_before_it_is_answered(script):
    script.join("a", 1)
    kinds = [type(one) for one in script.said if not isinstance(one, Note)]
    assert kinds[:2] == [Persist, Send]
    assert isinstance(script.said[1].message, m.Joined)


def test_a_version_is_stored_before_it_is_published(script):
    script.join("a", 1)
    first = next(i for i, one in enumerate(script.said) if isinstance(one, Send)
                 and isinstance(one.message, m.Published))  # fmt: skip
    persisted = [one for one in script.said[:first] if isinstance(one, Persist)]
    assert b"version\x01" in persisted[-1].state


def test_a_client_joins_without_a_new_version(pair):
    version = pair.fleet.version
    pair.join("d", 4, group=None)
    assert pair.messages(m.Joined)[0].record.version == version == pair.fleet.version


def test_two_workers_with_one_name_the_second_is_refused_while_the_first_lives(pair):
    pair.join("a", 9, pid=77)
    later = pair.messages(m.Refused, to=9)[0]
    assert 0 < later.retry_after_s < 0.5, "it may have died this instant"
    pair.wait(0.3, beating=(1, 2, 3))
    pair.join("a", 9, pid=77)
    refused = pair.messages(m.Refused, to=9)[-1]
    assert "a worker named 'a' is alive" in refused.reason
    assert refused.retry_after_s == 0
    assert 9 not in pair.fleet.members


def test_a_name_is_taken_already_while_its_first_join_is_being_stored(script):
    script.do = script.said.extend
    script.join("a", 1)
    script.join("a", 2)
    assert "alive in this fleet" in script.messages(m.Refused, to=2)[0].reason


def test_a_new_process_takes_over_the_name_of_a_silent_one_on_its_host(pair):
    pair.wait(1.8, beating=(2, 3))
    pair.join("a", 9)
    assert pair.messages(m.Joined, to=9)
    assert pair.ended() == [1]
    assert 1 not in pair.fleet.members


def test_a_silent_ones_name_is_not_free_for_another_host_but_soon(pair):
    pair.wait(1.8, beating=(2, 3))
    pair.join("a", 9, host="elsewhere")
    assert 0 < pair.messages(m.Refused, to=9)[0].retry_after_s < 1


def test_a_name_is_not_taken_over_while_the_old_lease_may_hold(pair):
    pair.wait(1.5, beating=(2, 3))
    pair.join("a", 9)
    assert pair.messages(m.Refused, to=9)[0].retry_after_s > 0


def test_an_evicted_incarnation_is_not_admitted_again(pair):
    pair.do(pair.fleet.reaped(1, pair.now))
    pair.join("a", 1)
    assert "declared dead" in pair.messages(m.Refused, to=1)[0].reason
    pair.join("a", 11)
    assert pair.messages(m.Joined, to=11)


@pytest.mark.parametrize(
    ("types", "said"),
    [
        ({}, "does not host the actor type 'T'"),
        ({**TYPES, "U": {}}, "hosts the actor type 'U', which the group does not"),
        (
            {
                "T": {
                    "name": "T",
                    "methods": {"add": {"parameters": [{"name": "n", "type": "str"}]}},
                }
            },
            r"T.methods.add.parameters\[0\].type is 'int' in the group and 'str' in the newcomer",
        ),
        ({"T": {"name": "T", "methods": {}}}, "T.methods.add is only in the group"),
    ],
)
def test_a_worker_that_does_not_fit_into_its_group_is_told_the_difference(pair, types, said):
    types = types or {"X": {}}
    pair.join("d", 4, types=types)
    assert re.search(said, pair.messages(m.Refused, to=4)[0].reason)


def test_one_more_parameter_with_a_default_fits(pair):
    more = {"name": "by", "type": "int", "default": 1}
    pair.join("d", 4, types=hosting({"name": "n", "type": "int"}, more))
    assert pair.messages(m.Joined, to=4)


def test_a_type_belongs_to_one_group(pair):
    pair.join("d", 4, group="other")
    assert "hosted by the group 'g' already" in pair.messages(m.Refused, to=4)[0].reason


def test_the_last_members_death_frees_a_group_for_another_version_of_the_app(pair):
    for incarnation in (1, 2):
        pair.do(pair.fleet.reaped(incarnation, pair.now))
    pair.join("d", 4, types={"T": {"name": "T", "methods": {}}})
    assert pair.messages(m.Joined, to=4)


def test_a_full_fleet_refuses():
    script = Script(max_members=1)
    script.join("a", 1)
    script.join("b", 2)
    assert "the limit is 1" in script.messages(m.Refused, to=2)[0].reason


# --- versions -------------------------------------------------------------------------------------


def test_settled_is_said_once_when_everybody_has_acknowledged(script):
    script.join("c", 3, group=None)
    script.join("a", 1)
    script.ack(1)
    assert not script.messages(m.Settled)
    script.ack(3)
    script.ack(1, 3)
    assert [one.version for one in script.messages(m.Settled)] == [1]


def test_the_owners_in_a_record_follow_from_its_members_alone(pair):
    record = pair.fleet.record
    placed = [(w.incarnation, w.name, w.weight) for w in record.members if w.state == "placed"]
    assert slot_set.owners_of(placed, assign) == pair.fleet.groups["g"].owners


def test_a_planned_change_waits_until_the_last_hand_over_is_done(script):
    script.join("a", 1)
    script.ack()
    script.join("b", 2)
    assert script.fleet.version == 1
    script.activate(1)
    assert script.fleet.version == 2
    script.ack()
    script.join("d", 4)
    script.activate(1)
    assert script.fleet.version == 2
    script.activate(2)
    assert script.fleet.version == 3
    assert {w.name for w in script.fleet.record.members if w.state == "placed"} == {"a", "b", "d"}


def test_the_record_names_the_living_holders_of_moving_slots(script):
    script.join("a", 1)
    script.calm()
    script.join("b", 2)
    moved = script.fleet.groups["g"].owners[2]
    assert script.fleet.record.sources["g"] == [m.Source(1, slot_set.pack(moved))]


def test_a_join_that_was_overtaken_does_not_take_back_what_its_sender_has_given_away(script):
    script.join("a", 1)
    script.calm()
    script.join("b", 2)
    script.ack()
    script.activate(1)
    script.activate(2)
    group = script.fleet.groups["g"]
    assert group.is_handed_over
    all_slots = {"g": slot_set.pack(slot_set.ALL)}
    script.join("a", 1, version=script.fleet.version, holding=all_slots)
    assert group.is_handed_over
    assert group.holders[1] == group.owners[1]


def test_a_death_waits_for_nothing(script):
    script.join("a", 1)
    script.calm()
    script.join("b", 2)
    script.do(script.fleet.reaped(1, script.now))
    record = script.fleet.record
    assert [w.name for w in record.members] == ["b"]
    assert record.sources == {}
    assert record.over == [1]


def test_a_version_that_was_not_settled_is_settled_by_the_death_of_who_did_not_acknowledge(pair):
    pair.do(pair.fleet.reaped(2, pair.now))
    pair.ack(1)
    assert not pair.messages(m.Settled)
    pair.do(pair.fleet.reaped(3, pair.now))
    pair.ack(1)
    assert [one.version for one in pair.messages(m.Settled)] == [pair.fleet.version]


def test_an_actor_with_a_long_turn_does_not_hold_up_later_changes(script):
    script.join("a", 1)
    script.calm()
    script.join("b", 2)
    script.ack()
    slot = slot_set.numbers(script.fleet.groups["g"].owners[2])[0]
    lingering = m.Lingering("g", slot, "T/x", 1)
    script.activate(2, excepted=[lingering])
    script.join("d", 4)
    assert script.fleet.record.lingering == [lingering]
    arrived = m.ActivatedActors(group="g", actors=["T/x"])
    script.do(script.fleet.actors_activated(2, arrived, script.now))
    assert not script.fleet.groups["g"].lingering


def test_a_clean_leave_of_a_client_needs_no_version(pair):
    version = pair.fleet.version
    pair.do(pair.fleet.leave(3, m.Leave(), pair.now))
    pair.calm()
    assert (pair.fleet.version, list(pair.fleet.members)) == (version, [1, 2])


def test_a_worker_that_leaves_gives_up_its_slots_first(pair):
    pair.do(pair.fleet.leave(1, m.Leave(drain=True), pair.now))
    states = {w.name: w.state for w in pair.fleet.record.members}
    assert states == {"a": "draining", "b": "placed"}
    assert pair.fleet.groups["g"].owners.keys() == {2}
    pair.calm()
    pair.do(pair.fleet.leave(1, m.Leave(), pair.now))
    assert [w.name for w in pair.fleet.record.members] == ["b"]
    assert [n.event for n in pair.said if isinstance(n, Note)][-2:] == ["left", "version"]


def test_an_unhealthy_worker_owns_nothing_and_comes_back_when_healthy(pair):
    pair.do(pair.fleet.set_health(1, False, pair.now))
    assert pair.fleet.groups["g"].owners.keys() == {2}
    pair.calm()
    pair.do(pair.fleet.set_health(1, True, pair.now))
    pair.calm()
    assert pair.fleet.groups["g"].owners.keys() == {1, 2}


def test_with_no_healthy_worker_at_all_the_unhealthy_ones_stay(pair):
    for incarnation in (1, 2):
        pair.do(pair.fleet.set_health(incarnation, False, pair.now))
        pair.calm()
    assert pair.fleet.groups["g"].owners.keys() == {1, 2}


def test_a_weight_moves_slots(pair):
    before = pair.fleet.groups["g"].owners[1].bit_count()
    pair.do(pair.fleet.set_weight(pair.fleet.members[1], 4, pair.now))
    assert pair.fleet.groups["g"].owners[1].bit_count() > 1.3 * before


def test_settings_travel_with_a_version_and_none_takes_them_out(pair):
    pair.do(pair.fleet.set_values("pool/p", {"weight.a": 3, "weight.b": 1}, pair.now))
    assert pair.fleet.record.settings == {"pool/p": {"weight.a": 3, "weight.b": 1}}
    pair.calm()
    pair.do(pair.fleet.set_values("pool/p", {"weight.a": None, "weight.b": None}, pair.now))
    assert pair.fleet.record.settings == {}


# --- death ----------------------------------------------------------------------------------------


def test_a_silent_member_is_evicted_after_its_time_and_not_before(pair):
    pair.wait(2.3, beating=(2, 3))
    assert 1 in pair.fleet.members
    pair.wait(0.2, beating=(2, 3))
    assert 1 not in pair.fleet.members
    assert pair.ended() == [1]
    assert pair.messages(m.Evicted, to=1)
    assert [a.status for a in pair.beat(1, 2)] == [BeatStatus.EVICTED, BeatStatus.OK]


def test_a_client_is_evicted_too_and_everybody_learns_of_it(pair):
    pair.wait(2.6, beating=(1, 2))
    assert pair.fleet.record.over == [3]


def test_nobody_is_evicted_soon_after_the_broker_started(pair):
    again = Script(pair.blob)
    again.wait(2.3)
    assert set(again.fleet.members) == {1, 2, 3}
    again.wait(0.3)
    assert not again.fleet.members


def test_a_broker_that_was_stopped_itself_gives_everybody_time(pair):
    pair.now += 60 * S
    pair.do(pair.fleet.tick(pair.now))
    assert set(pair.fleet.members) == {1, 2, 3}
    pair.wait(2.3, beating=(2, 3))
    assert set(pair.fleet.members) == {1, 2, 3}
    pair.wait(0.3, beating=(2, 3))
    assert set(pair.fleet.members) == {2, 3}


def test_a_beat_of_nobody_is_unknown(pair):
    assert pair.beat(77)[0].status is BeatStatus.UNKNOWN


def test_a_member_whose_loop_is_blocked_beyond_the_limit_loses_its_lease_and_its_place(pair):
    assert pair.beat(1, tick_age_us=10_100_000) == [None]
    for _ in range(26):
        pair.wait(0.1, beating=(2, 3))
        pair.beat(1, tick_age_us=10_100_000)
    assert set(pair.fleet.members) == {2, 3}


def test_a_blocked_worker_is_waited_for_and_a_blocked_client_is_not(pair):
    pair.do(pair.fleet.reaped(2, pair.now))
    pair.ack(1)
    assert not pair.messages(m.Settled)
    pair.beat(3, tick_age_us=2_500_000)
    pair.do(pair.fleet.tick(pair.now))
    assert pair.messages(m.Settled)
    assert 3 in pair.fleet.members


# --- restart --------------------------------------------------------------------------------------


def rejoin(script, name, incarnation, old, **fields):
    group = old.fleet.groups["g"]
    held = group.holders.get(incarnation, 0)
    script.join(
        name,
        incarnation,
        version=old.fleet.version,
        holding={"g": slot_set.pack(held)} if held else {},
        **fields,
    )


def test_a_restarted_broker_goes_on_with_the_same_version_and_nothing_moves(pair):
    again = Script(pair.blob)
    assert again.fleet.record == pair.fleet.record
    rejoin(again, "a", 1, pair)
    assert not again.messages(m.Settled)
    rejoin(again, "b", 2, pair)
    rejoin(again, "c", 3, pair, group=None)
    assert again.fleet.is_settled
    assert again.fleet.groups["g"].is_handed_over
    assert again.fleet.version == pair.fleet.version
    assert not again.messages(m.Published)


def test_versions_never_go_back_even_if_some_were_not_stored(pair):
    stored, version = pair.blob, pair.fleet.version
    pair.broken = "the disk is full"
    pair.do(pair.fleet.reaped(1, pair.now))
    assert pair.fleet.version == version + 1
    again = Script(stored)
    rejoin(again, "b", 2, pair, over=[1])
    assert again.fleet.version >= version + GAP
    assert 1 not in again.fleet.members


def test_planned_changes_after_a_restart_wait_for_the_members_to_say_what_they_hold(pair):
    again = Script(pair.blob)
    rejoin(again, "a", 1, pair)
    again.join("d", 4)
    again.wait(1, beating=(1, 4))
    assert not again.messages(m.Published)
    rejoin(again, "b", 2, pair)
    rejoin(again, "c", 3, pair, group=None)
    assert {w.name for w in again.fleet.record.members if w.state == "placed"} == {"a", "b", "d"}


def test_a_fleet_that_outlived_the_brokers_store_is_heard_before_anyone_is_placed(pair):
    again = Script()
    rejoin(again, "a", 1, pair)
    assert again.messages(m.Joined, to=1)
    again.wait(1, beating=(1,))
    rejoin(again, "b", 2, pair)
    assert not again.messages(m.Published)
    again.wait(1.5, beating=(1, 2))
    record = again.fleet.record
    assert record.version > pair.fleet.version
    assert {w.name for w in record.members if w.state == "placed"} == {"a", "b"}
    assert record.sources == {}
    assert again.fleet.groups["g"].is_handed_over


@pytest.mark.parametrize("blob", [b"", b"\xc1", b"\x80", b"\x81\xa7cluster\xa1x"])
def test_a_store_with_something_else_is_an_error(blob):
    with pytest.raises(StoreError):
        Script(blob)


def test_a_store_of_another_cluster_is_an_error(pair):
    with pytest.raises(StoreError, match="belongs to the cluster 'c', not 'd'"):
        Fleet(
            cluster="d",
            incarnation=1,
            settings=ClusterSettings(),
            assign=assign,
            now_ns=0,
            stored=pair.blob,
        )


# --- a store that fails ---------------------------------------------------------------------------


def test_a_full_disk_refuses_joins_with_the_reason_and_members_go_on(pair):
    pair.broken = "the disk is full"
    pair.join("d", 4)
    refused = pair.messages(m.Refused, to=4)[0]
    assert "the disk is full" in refused.reason
    assert refused.retry_after_s > 0
    assert set(pair.fleet.members) == {1, 2, 3}
    assert pair.fleet.store_error == "the disk is full"


def test_deaths_are_published_even_if_they_cannot_be_stored(pair):
    pair.broken = "the disk is full"
    pair.do(pair.fleet.reaped(1, pair.now))
    assert [w.name for w in pair.fleet.record.members] == ["b"]
    pair.broken = ""
    pair.wait(1.2, beating=(2, 3))
    assert pair.fleet.store_error == ""
    assert set(Script(pair.blob).fleet.members) == {2, 3}


def test_a_store_that_hangs_does_not_keep_deaths_from_being_published(pair):
    do = pair.do
    pair.do = lambda todo: do([one for one in todo if not isinstance(one, Persist)])
    pair.do(pair.fleet.reaped(1, pair.now))
    pair.wait(1.9, beating=(2, 3))
    assert not pair.messages(m.Published)
    pair.wait(0.3, beating=(2, 3))
    assert pair.messages(m.Published)[0].record.over == [1]
    assert pair.fleet.store_error == "the store does not answer"


# --- cost -----------------------------------------------------------------------------------------


def test_a_version_of_a_large_group_is_made_quickly(script):
    import time

    for number in range(40):
        script.join(f"w{number}", number + 1)
    script.calm()
    started = time.perf_counter()
    script.do(script.fleet.reaped(7, script.now))
    assert time.perf_counter() - started < 0.1, "far above the 5 ms that it takes"
