"""Bugs of durable actors that the simulator must find."""

import asyncio

from model.planted_bugs import Planted

from denoagents.actor.durable_life import Life
from denoagents.actor.durables import Durables
from denoagents.durability import Kept
from denoagents.node.durable import DurableNode
from denoagents.store.memory_state_store import Entry
from denoagents.testing.simulated_store import SimulatedDisk


def answers_before_it_is_kept(patch):
    """The reply leaves while the commit is under way."""

    async def write(self, cell, life, commit):
        writing = asyncio.ensure_future(self.store.commit(commit, "disk"))
        self._note(life, writing)

    patch.setattr(Durables, "write", write)


def tells_others_before_it_is_kept(patch):
    """What a turn told others leaves before the turn's commit."""

    async def keep(self, cell, life, commit):
        if commit is not None and commit.outgoing:
            life.outgoing.update((one.number, one) for one in commit.outgoing)
            self._send(life, [one.number for one in commit.outgoing])
            await asyncio.sleep(0.05)
            life.committed(commit)
            await self.write(cell, life, commit)
        else:
            await original(self, cell, life, commit)

    original = Durables._keep
    patch.setattr(Durables, "_keep", keep)


def takes_writes_under_old_fences(patch):
    """The store believes who writes last, whoever owns the actor by now."""

    def entry(self, actor, fence):
        found = self.entries.setdefault(actor, Entry())
        found.fence = max(fence, found.fence)
        self.highest = max(self.highest, fence)
        return found

    patch.setattr(SimulatedDisk, "_entry", entry)


def forgets_what_it_handled(patch):
    """The window is lost when the actor moves."""

    def init(self, actor, fence, kept):
        left = Kept(kept.state, kept.schema, kept.sent, kept.outgoing, [], {}, kept.reminders)
        original(self, actor, fence, left)

    original = Life.__init__
    patch.setattr(Life, "__init__", init)


def forgets_what_it_has_to_send(patch):
    """What was not handled when an actor moved is not sent again."""

    def init(self, actor, fence, kept):
        left = Kept(kept.state, kept.schema, kept.sent, [], kept.handled, kept.floors)
        original(self, actor, fence, left)

    original = Life.__init__
    patch.setattr(Life, "__init__", init)


def takes_a_floor_that_is_too_high(patch):
    """Numbers count as settled that are not."""
    original = DurableNode.floor_of
    patch.setattr(DurableNode, "floor_of", lambda self, stream: original(self, stream) + 3)


def keeps_the_state_of_a_failed_turn(patch):
    """A turn that raises leaves what it had changed."""
    patch.setattr(Durables, "_roll_back", lambda self, cell, life: None)


def numbers_its_messages_anew(patch):
    """After each move an actor's messages begin at 1 again."""

    def init(self, actor, fence, kept):
        original(self, actor, fence, kept)
        self.sent = 0

    original = Life.__init__
    patch.setattr(Life, "__init__", init)


DEATHS = ("kill", "lose_power", "slow_disk")
PLANTED_DURABLE = tuple(
    Planted(plant, only, seeds, is_durable=True)
    for plant, only, seeds in (
        (answers_before_it_is_kept, DEATHS, (3, 22)),
        (tells_others_before_it_is_kept, DEATHS, (4,)),
        (takes_writes_under_old_fences, ("freeze", "partition", "slow_disk"), (9,)),
        (forgets_what_it_handled, DEATHS, (2, 3)),
        (forgets_what_it_has_to_send, DEATHS, (3, 4)),
        (takes_a_floor_that_is_too_high, ("leave", "start_worker", "cut_one"), (3, 0)),
        (keeps_the_state_of_a_failed_turn, ("leave_client",), (1, 2)),
        (numbers_its_messages_anew, DEATHS, (2, 3)),
    )
)
