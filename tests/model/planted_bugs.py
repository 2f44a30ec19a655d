"""Bugs that the simulator must find: each plants one in the code under test, for one test."""

from collections import deque

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


PLANTED = (
    takes_batches_twice,
    sends_again_under_a_new_number,
    forgets_what_was_under_way,
    activates_before_settled,
    acknowledges_before_flushed,
    does_not_wait_for_the_former_owner,
    runs_without_a_lease,
    lets_evicted_ones_speak,
    loses_parked_messages,
    ships_actors_without_state,
    ships_actors_without_their_mail,
    goes_on_in_frozen_slots,
    puts_kept_messages_first,
    asks_again_what_may_have_run,
    forgets_the_fleet,
    believes_who_speaks_last,
    gives_up_a_broker_that_is_lost_twice,
)
