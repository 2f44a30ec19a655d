"""Bugs that the simulator must find: each plants one in the code under test, for one test."""

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import pytest

from denoagents._native.call import Call
from denoagents.cluster.group import Group
from denoagents.cluster.instructions import Acknowledge
from denoagents.cluster.view import View
from denoagents.link.link import Link
from denoagents.link.session import Session
from denoagents.node import peers
from denoagents.node.handover import Handover, PackedActor
from denoagents.node.peers import Peers
from denoagents.node.placement import Placement
from denoagents.store.lease_store import MemoryLeaseStore
from denoagents.testing.pulse import NEVER_ENDS, SimulatedPulse


def takes_batches_twice(patch):
    """The session does not drop what it has accepted before."""

    def is_new(self, seq):
        return seq <= self.accepted + 1 or original(self, seq)

    original = Session.is_new
    patch.setattr(Session, "is_new", is_new)


def sends_again_under_a_new_number(patch):
    """What was retained leaves after a reconnect as if it were new."""

    def open_(self, put, route, *, accepted, **settings):
        again = [(b.body, b.count, b.flags) for b in self.session.retained if b.seq > accepted]
        original(self, put, route, accepted=accepted, **settings)
        for body, count, flags in again:
            if not flags and self.state == "up":
                self._transmit(self.session.retain(body, count))

    original = Link.open
    patch.setattr(Link, "open", open_)


def forgets_what_was_under_way(patch):
    """After a reconnect, batches that the peer has not accepted count as accepted."""

    def resume(self, peer_accepted):
        freed, _ = original(self, peer_accepted)
        return freed + self.acknowledge(self.sent), iter(())

    original = Session.resume
    patch.setattr(Session, "resume", resume)
    patch.setattr(Session, "is_new", lambda self, seq: seq > self.accepted)


def activates_before_settled(patch):
    def on_version(self, record):
        return [*original(self, record), *self.settled(self.version)]

    original = View.on_version
    patch.setattr(View, "on_version", on_version)


def acknowledges_before_flushed(patch):
    def acknowledge(self):
        if self.acknowledged == self.version:
            return []
        self.acknowledged = self.version
        return [Acknowledge(self.version)]

    patch.setattr(View, "_acknowledge", acknowledge)


def does_not_wait_for_the_former_owner(patch):
    """A sender switches to the new owner at once."""

    def flush(self, one):
        for incarnation in one.incarnations:
            self._router.runtime.loop.call_soon(self._flushed, incarnation, one.version)

    patch.setattr(Placement, "_flush", flush)


def never_acknowledges_when_it_has_nothing_to_say(patch):
    """An acknowledgement of its own is lost; those that travel with other packets are not."""
    patch.setattr(Link, "acknowledge", lambda self: self.session.acknowledgement_left())


def gives_back_one_credit_too_few(patch):
    """Of several messages that are accepted at once, one is not counted."""

    def acknowledge(self, ack):
        freed = original(self, ack)
        return freed - 1 if freed > 1 else freed

    original = Session.acknowledge
    patch.setattr(Session, "acknowledge", acknowledge)


def runs_without_a_lease(patch):
    """A frozen worker that wakes goes on as if nothing had happened."""

    def start(self, endpoint, incarnation):
        original(self, endpoint, incarnation)
        self._word.value = NEVER_ENDS

    original = SimulatedPulse.start
    patch.setattr(SimulatedPulse, "start", start)
    patch.setattr(SimulatedPulse, "_renew", lambda self, proof_ns: None)


def lets_evicted_ones_speak(patch):
    """Nobody refuses what an incarnation says that is over."""

    def over(self, incarnation, reason):
        patch_mesh, self.mesh = self.mesh, Deaf(self.mesh)
        try:
            original(self, incarnation, reason)
        finally:
            self.mesh = patch_mesh

    class Deaf:
        def __init__(self, mesh):
            self.end = mesh.end

        def refuse(self, incarnation, reason): ...

    original = Peers.over
    patch.setattr(Peers, "over", over)


def loses_parked_messages(patch):
    """What waited while its slot changed hands is gone."""
    patch.setattr(Placement, "_replay", lambda self, parkings: deque(parkings, 0))


def ships_actors_without_state(patch):
    patch.setattr(Handover, "_pack_state", lambda self, address: PackedActor(b""))


def ships_actors_without_their_mail(patch):
    patch.setattr(Handover, "_pack_message", lambda self, address, envelope, to: None)


def goes_on_in_frozen_slots(patch):
    patch.setattr(Placement, "_freeze", lambda self, freeze: None)


def puts_kept_messages_first(patch):
    patch.setattr(Handover, "returned", lambda self, root: None)


def asks_again_what_may_have_run(patch):
    """Every request of unknown outcome is sent once more."""

    def settle_unknown(requests, reason):
        for request in requests:
            if not (isinstance(request, Call) and request.again()):
                request.reject(peers.OutcomeUnknownError(reason))

    patch.setattr(peers, "settle_unknown", settle_unknown)


def forgets_the_fleet(patch):
    """The broker's store keeps nothing."""
    patch.setattr(MemoryLeaseStore, "save", lambda self, state: None)


def believes_who_speaks_last(patch):
    """A join that was overtaken takes slots back from who runs them."""
    patch.setattr(Group, "_run_since", lambda self, version: 0)


def gives_up_a_broker_that_is_lost_twice(patch):
    def dial_again(self, peer):
        if peer.link is None and peer.held is not None and len(peer.held):
            self.dial(peer)

    patch.setattr(Peers, "_dial_again", dial_again)


class Planted(NamedTuple):
    """A bug, and where it is found soon."""

    plant: Callable[[pytest.MonkeyPatch], None]
    only: tuple[str, ...] = ()
    """The kinds of faults that bring it out; all, if there are none."""
    seeds: tuple[int, ...] = ()
    """Those that are tried first: they found it when the test was written."""
    is_busy: bool = False
    """It shows under many messages for few actors."""
    is_durable: bool = False
    """It shows where there are durable actors."""
    is_rare: bool = False
    """One story in hundreds shows it: the long form alone looks for it."""

    @property
    def how(self) -> dict[str, object]:
        """What `play` is given."""
        return {"only": self.only, "is_busy": self.is_busy, "is_durable": self.is_durable}

    def __repr__(self) -> str:
        return self.plant.__name__


MOVES = ("leave", "start_worker", "slow_down", "cut_one")
PARTS = ("leave", "start_worker", "partition_one_way", "partition")
PLANTED = (
    Planted(takes_batches_twice, (), (0, 8)),
    Planted(sends_again_under_a_new_number, (), (4, 5)),
    Planted(forgets_what_was_under_way, (), (0,)),
    Planted(never_acknowledges_when_it_has_nothing_to_say, (), (22, 16)),
    Planted(gives_back_one_credit_too_few, (), (3, 2)),
    Planted(activates_before_settled, MOVES, (14, 41)),
    Planted(acknowledges_before_flushed, PARTS, (3, 42)),
    Planted(does_not_wait_for_the_former_owner, MOVES, (77, 38)),
    Planted(runs_without_a_lease, ("freeze", "partition"), (1, 5)),
    Planted(lets_evicted_ones_speak, ("partition", "freeze", "partition_one_way"), (7, 42)),
    Planted(loses_parked_messages, MOVES, (4, 8)),
    Planted(ships_actors_without_state, MOVES, (4,)),
    Planted(ships_actors_without_their_mail, MOVES, (2, 3)),
    Planted(goes_on_in_frozen_slots, MOVES),
    Planted(puts_kept_messages_first, ("leave", "start_worker", "slow_down"), (6, 8), is_busy=True),
    Planted(asks_again_what_may_have_run, ("kill", "freeze")),
    Planted(forgets_the_fleet, ("restart_broker",)),
    Planted(
        believes_who_speaks_last, ("flap_broker", "freeze", "leave", "kill"), (319,), is_rare=True
    ),
    Planted(gives_up_a_broker_that_is_lost_twice, ("flap_broker",)),
)
