"""The hand-over protocol under random delays, joins, drains, deaths, freezes, broker restarts."""

import random

import pytest
from model.placement_fleet import World

from denoagents.cluster.detector import Detector
from denoagents.cluster.fleet import Fleet
from denoagents.cluster.group import Group
from denoagents.cluster.holding import Holding
from denoagents.cluster.instructions import Acknowledge
from denoagents.cluster.view import View

SEEDS = range(30)


def play(seed, *, deaths=True, restarts=True, view_class=View, length_ms=12_000):
    """A random life of a fleet; raises AssertionError as soon as a rule is broken."""
    chance = random.Random(f"play {seed}")
    world = World(seed, view_class=view_class, delay_ms=chance.choice([2, 30, 120]))
    names = iter(range(1000))
    for _ in range(chance.randint(1, 3)):
        world.start(f"w{next(names)}")
    world.start("c0", group=None)
    world.chatter(30)
    elapsed = 0
    while elapsed < length_ms:
        step = chance.uniform(0, 900)
        world.run_for(step)
        elapsed += step
        happening = chance.random()
        workers = [w for w in world.workers() if not w.is_frozen]
        if happening < 0.3 and len(world.workers()) < 6:
            world.start(f"w{next(names)}")
        elif happening < 0.45:
            staying = [w for w in workers if w.view.state == "placed" and not w.is_asked_to_drain]
            if len(staying) > 1:
                world.drain(chance.choice(staying))
        elif happening < 0.5:
            world.start(f"c{next(names)}", group=None)
        elif happening < 0.7 and deaths and len(workers) > 1:
            victim = chance.choice(workers)
            victim.die()
            if chance.random() < 0.5:
                world.at(chance.uniform(1, 100), lambda victim=victim: world.reap(victim))
        elif happening < 0.85 and deaths:
            victim = chance.choice([n for n in world.nodes.values() if not n.is_dead])
            victim.freeze()
            world.at(chance.choice([300, 1200, 2500, 5000]), victim.thaw)
        elif happening < 0.95 and restarts and world.is_broker_up:
            world.stop_broker()
            world.at(chance.uniform(10, 1500), world.start_broker)
    return world


def finish(world):
    """No faults any more: what must come true, comes true."""
    world.run_for(6000)
    if not world.workers():
        world.start("last")
    world.run_for(9000)
    world.chatter, world.long_turns = (lambda every_ms: None), 0
    world.run_for(12_000)
    world.check_final()


@pytest.mark.parametrize("seed", SEEDS)
def test_no_rule_is_broken_and_everything_runs_again_whatever_happens(seed):
    world = play(seed)
    finish(world)
    assert len(world.handled) > 300, "the run has no load floor"


@pytest.mark.parametrize("seed", range(100, 112))
def test_without_deaths_every_message_is_handled_once_and_in_order(seed):
    world = play(seed, deaths=False, restarts=seed % 2 == 0)
    finish(world)
    left = {node.incarnation for node in world.nodes.values() if node.was_drained}
    sent = sorted((s, a, n) for s, a, n, _ in world.sent if s not in left)
    assert sorted(h for h in world.handled if h[0] not in left) == sent


def test_the_same_seed_plays_the_same_life():
    assert play(7).handled == play(7).handled


class ActivatesBeforeSettled(View):
    def on_version(self, record):
        out = super().on_version(record)
        return out + self.settled(self.version)


class AcknowledgesBeforeFlushed(View):
    def _acknowledge(self):
        if self.acknowledged == self.version:
            return []
        self.acknowledged = self.version
        return [Acknowledge(self.version)]


class RoutesBeforeFlushed(View):
    def on_version(self, record):
        out = super().on_version(record)
        for one in [i for i in out if type(i).__name__ == "Flush"]:
            for incarnation in one.incarnations:
                out += self.flushed(incarnation, one.version)
        return out


class DoesNotWaitForHolders(View):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        if self._holding is not None:
            self._holding.__class__ = ImpatientHolding


class ImpatientHolding(Holding):
    def settle(self):
        self._unsettled |= sum(self._awaited.values())
        self._awaited.clear()
        return super().settle()


class RunsLingeringActors(View):
    def released(self, sender, message):
        import msgspec

        return super().released(sender, msgspec.structs.replace(message, excepted=[]))


@pytest.mark.parametrize(
    "planted",
    [
        ActivatesBeforeSettled,
        AcknowledgesBeforeFlushed,
        RoutesBeforeFlushed,
        DoesNotWaitForHolders,
        RunsLingeringActors,
    ],
    ids=lambda planted: planted.__name__,
)
def test_a_planted_bug_is_caught(planted):
    for seed in range(30):
        try:
            finish(play(seed, view_class=planted))
        except AssertionError:
            return
    pytest.fail("30 lives did not find it")


def settles_without_acknowledgement(patch):
    patch.setattr(Fleet, "unacknowledged", lambda self: [])


def plans_during_a_hand_over(patch):
    patch.setattr(Group, "is_handed_over", True)


def evicts_before_the_lease_has_ended(patch):
    patch.setattr(Detector, "is_dead", lambda self, now_ns: self.silent_ns(now_ns) > 0.7e9)


def forgets_who_holds_what(patch):
    patch.setattr(Group, "sources", lambda self: [])


@pytest.mark.parametrize(
    "plant",
    [
        settles_without_acknowledgement,
        plans_during_a_hand_over,
        evicts_before_the_lease_has_ended,
        forgets_who_holds_what,
    ],
    ids=lambda plant: plant.__name__,
)
def test_a_bug_planted_in_the_broker_is_caught(plant, monkeypatch):
    plant(monkeypatch)
    for seed in range(30):
        try:
            finish(play(seed))
        except AssertionError:
            return
    pytest.fail("30 lives did not find it")
