"""A whole fleet in memory: real Fleet and real Views over random delays, joins, deaths and freezes.

Actors here are counters of what they handled; turns take time, so that some linger. Everything
that a rule of the protocol forbids is an AssertionError at the moment when it happens.
"""

import heapq
import random
from collections import defaultdict, deque
from functools import partial
from itertools import count

from denoagents._native.placement import assign
from denoagents.address import Address
from denoagents.cluster import instructions, messages, orders
from denoagents.cluster import slots as slot_set
from denoagents.cluster.beat import Beat
from denoagents.cluster.fleet import Fleet
from denoagents.cluster.lease import Lease
from denoagents.cluster.settings import ClusterSettings
from denoagents.cluster.view import View

MS = 1_000_000
SETTINGS = ClusterSettings()
ACTORS = [f"T/{n}" for n in range(24)]
SLOT = {actor: Address.parse(actor).slot for actor in ACTORS}
TYPES = {"T": {"name": "T"}}
BROKER = 0
TODO = {
    instructions.Route: "do_route",
    instructions.Flush: "do_flush",
    instructions.Acknowledge: "do_acknowledge",
    instructions.Freeze: "do_freeze",
    instructions.Ship: "do_ship",
    instructions.ShipActor: "do_ship_actor",
    instructions.Activate: "do_activate",
    instructions.ActivateActor: "do_activate_actor",
    instructions.Release: "do_release",
    instructions.Report: "do_report",
    instructions.Over: "do_over",
    instructions.Drained: "do_drained",
    instructions.Evicted: "do_evicted",
}


class Turn:
    def __init__(self, actor, sender, number):
        self.actor, self.sender, self.number = actor, sender, number


class Place:
    """One actor's things on one node: its state, what waits, and what came before it may run."""

    def __init__(self):
        self.state = ()
        self.is_here = False
        self.whole, self.relayed, self.kept = deque(), deque(), deque()

    def merge(self):
        """What was shipped goes first, then what another one kept for it, then what came here."""
        self.whole += self.relayed + self.kept
        self.relayed.clear()
        self.kept.clear()


class Node:
    """A process: a view, a lease, actors; `group` None makes it a client."""

    def __init__(self, world, name, incarnation, group):
        self.world, self.name, self.incarnation, self.group = world, name, incarnation, group
        self.view = world.view_class(incarnation=incarnation, group=group, assign=assign)
        self.lease = Lease(SETTINGS, world.now)
        self.is_frozen = self.is_dead = self.is_evicted = self.is_joined = self.was_drained = False
        self.is_asked_to_drain = False
        self.farewell = set()
        self.inbox = deque()
        self.routes = {}
        self.held = defaultdict(deque)
        self.places = defaultdict(Place)
        self.active = 0
        self.excepted = set()
        self.running = {}
        self.sent = 0
        self.outstanding = defaultdict(lambda: defaultdict(set))

    def __repr__(self):
        return f"{self.name}#{self.incarnation}"

    def join(self):
        view = self.view
        message = messages.Join(
            name=self.name,
            incarnation=self.incarnation,
            role="client" if self.group is None else "worker",
            endpoint=f"tcp://{self.name}",
            group=self.group or "",
            types=TYPES if self.group is not None else {},
            host="h",
            version=view.acknowledged,
            holding=view.holding(),
            lingering=view.lingering(),
            over=sorted(view.over),
        )
        self.world.send(self.incarnation, BROKER, message)

    # --- what comes in ------------------------------------------------------------------------

    def receive(self, sender, message):  # noqa: C901, PLR0912 - a table of messages
        if self.is_dead:
            return
        if self.is_frozen:
            self.inbox.append((sender, message))
            return
        match message:
            case messages.Joined():
                self.is_joined = True
                self.carry_out(self.view.on_version(message.record))
                self.carry_out(self.view.settled(message.settled))
                if self.is_asked_to_drain:
                    self.world.send(self.incarnation, BROKER, messages.Leave(drain=True))
            case messages.Published():
                self.carry_out(self.view.on_version(message.record))
            case messages.Settled():
                self.carry_out(self.view.settled(message.version))
            case messages.Refused():
                self.die()
            case messages.Evicted():
                self.is_evicted = True
            case messages.Released():
                self.carry_out(self.view.released(sender, message))
            case ("flush", version):
                self.world.send(self.incarnation, sender, ("flushed", version))
            case ("flushed", "farewell"):
                self.part(sender)
            case ("flushed", version):
                self.carry_out(self.view.flushed(sender, version))
            case ("ship", actor, is_whole, state, waiting):
                self.take_in(sender, actor, is_whole, state, waiting)
            case ("message", actor, number):
                self.world.note_accepted(sender, self.incarnation, actor, number)
                if sender not in self.view.over:
                    self.accept(actor, (sender, number))
        self.run()

    def take_in(self, sender, actor, is_whole, state, waiting):
        if sender in self.view.over:
            return
        place = self.places[actor]
        if is_whole:
            assert not place.is_here, f"{actor} came twice to {self}"
            place.is_here, place.state = True, state
            place.whole = deque(waiting)
        else:
            place.relayed += waiting

    def accept(self, actor, item):
        place = self.places[actor]
        if self.may_run(actor) or self.holds(actor):
            place.whole.append(item)
        else:
            place.kept.append(item)

    def holds(self, actor):
        held = self.view._holding
        is_held = held is not None and held.held >> SLOT[actor] & 1
        return is_held and actor not in self.excepted

    def may_run(self, actor):
        return bool(self.active >> SLOT[actor] & 1) and actor not in self.excepted

    # --- what the view wants ------------------------------------------------------------------

    def carry_out(self, todo):
        for one in todo:
            getattr(self, TODO[type(one)])(one)

    def do_route(self, one):
        for slot in one.slots:
            self.routes[slot] = one.owner
        if one.owner:
            wanted = set(one.slots)
            for actor in [a for a in self.held if SLOT[a] in wanted]:
                for number in self.held.pop(actor):
                    self.transmit(actor, number)

    def do_flush(self, one):
        for peer in one.incarnations:
            self.world.send(self.incarnation, peer, ("flush", one.version))

    def do_acknowledge(self, one):
        self.world.send(self.incarnation, BROKER, messages.Ack(version=one.version))

    def do_freeze(self, one):
        self.active &= ~slot_set.from_numbers(one.slots)

    def do_ship(self, one):
        wanted = set(one.slots)
        running = []
        for actor in [a for a in self.places if SLOT[a] in wanted]:
            if actor in self.running:
                running.append((SLOT[actor], actor))
            else:
                self.ship(actor, one.to)
        self.excepted -= {a for a in self.excepted if SLOT[a] in wanted}
        self.carry_out(self.view.shipped(one.group, one.slots, one.to, running))

    def do_ship_actor(self, one):
        assert one.actor not in self.running
        self.ship(one.actor, one.to)
        self.carry_out(self.view.actor_shipped(one.actor, one.to))

    def ship(self, actor, to):
        place = self.places.pop(actor, Place())
        is_whole = actor not in self.excepted
        place.merge()
        self.world.send(
            self.incarnation, to, ("ship", actor, is_whole, place.state, tuple(place.whole))
        )

    def do_activate(self, one):
        slots = slot_set.from_numbers(one.slots)
        self.active |= slots
        self.excepted |= set(one.excepted)
        for actor, place in self.places.items():
            if slots >> SLOT[actor] & 1 and actor not in self.excepted:
                place.is_here = True
                place.merge()

    def do_activate_actor(self, one):
        self.excepted.discard(one.actor)
        self.places[one.actor].is_here = True
        self.places[one.actor].merge()

    def do_release(self, one):
        self.world.send(self.incarnation, one.to, one.message)

    def do_report(self, one):
        self.world.send(self.incarnation, BROKER, one.message)

    def do_over(self, one):
        self.outstanding_done(one.incarnation)
        if self.farewell:
            self.part(one.incarnation)

    def do_drained(self, one):
        """Leave only when the others have accepted all that was shipped to them."""
        self.was_drained = True
        self.farewell = {m.incarnation for m in self.view.members()} - {self.incarnation}
        for peer in self.farewell:
            self.world.send(self.incarnation, peer, ("flush", "farewell"))
        self.part(self.incarnation)

    def part(self, peer):
        self.farewell.discard(peer)
        if not self.farewell:
            self.world.send(self.incarnation, BROKER, messages.Leave())
            self.world.at(2000, self.die)

    def do_evicted(self, one):
        self.is_evicted = True

    # --- turns --------------------------------------------------------------------------------

    def run(self):
        if (
            self.is_dead
            or self.is_frozen
            or self.is_evicted
            or not self.lease.holds(self.world.now)
        ):
            return
        for actor, place in list(self.places.items()):
            if place.whole and actor not in self.running and self.may_run(actor):
                self.begin(actor, place)

    def begin(self, actor, place):
        world = self.world
        for other in world.nodes.values():
            if other is not self and actor in other.running and world.counts(other):
                raise AssertionError(f"{actor} runs on {other} and starts on {self}")
        sender, number = place.whole.popleft()
        turn = self.running[actor] = Turn(actor, sender, number)
        place.is_here = True
        world.at(world.turn_ms(), lambda: self.end(turn))

    def end(self, turn):
        if self.is_dead:
            return
        if self.is_frozen:
            self.inbox.append((None, lambda: self.end(turn)))
            return
        del self.running[turn.actor]
        place = self.places[turn.actor]
        place.state = (*place.state, (turn.sender, turn.number))
        if self.world.counts(self):
            self.world.note_handled(turn, place.state)
        self.carry_out(self.view.turn_ended(turn.actor))
        self.run()

    # --- sending ------------------------------------------------------------------------------

    def tell(self, actor):
        if self.is_dead or self.is_frozen or self.is_evicted or not self.is_joined:
            return
        if self.was_drained:
            return
        self.sent += 1
        number = self.sent
        if self.routes.get(SLOT[actor], 0):
            self.transmit(actor, number)
        else:
            self.held[actor].append(number)

    def transmit(self, actor, number):
        owner = self.routes[SLOT[actor]]
        for other, numbers in self.outstanding[actor].items():
            assert other == owner or not numbers, (
                f"{self} sends {actor} to {owner} while {other} has not accepted {numbers}"
            )
        self.world.sent.append((self.incarnation, actor, number, owner))
        if owner == self.incarnation:
            self.accept(actor, (self.incarnation, number))
            self.run()
            return
        self.outstanding[actor][owner].add(number)
        self.world.send(self.incarnation, owner, ("message", actor, number))

    def outstanding_done(self, incarnation):
        for table in self.outstanding.values():
            table.pop(incarnation, None)

    # --- faults -------------------------------------------------------------------------------

    def freeze(self):
        self.is_frozen = True

    def thaw(self):
        self.is_frozen = False
        if self.is_dead:
            return
        self.run()
        inbox, self.inbox = self.inbox, deque()
        for sender, message in inbox:
            if sender is None:
                message()
            else:
                self.receive(sender, message)

    def die(self):
        self.is_dead = True


class World:
    """Time, channels and the broker."""

    def __init__(self, seed, *, view_class=View, delay_ms=30, long_turns=0.02):
        self.chance = random.Random(seed)
        self.view_class, self.delay_ms, self.long_turns = view_class, delay_ms, long_turns
        self.now = 1000 * MS
        self.events, self.order = [], count()
        self.nodes, self.numbers = {}, count(1)
        self.channels, self.delays = {}, {}
        self.epoch = 0
        self.blob = None
        self.is_broker_up = True
        self.sent, self.handled, self.handled_by = [], [], defaultdict(list)
        self.start_broker()
        self.tick()

    # --- time ---------------------------------------------------------------------------------

    def at(self, delay_ms, action):
        due = self.now + int(delay_ms * MS)
        heapq.heappush(self.events, (due, next(self.order), action))

    def run_for(self, ms):
        end = self.now + int(ms * MS)
        while self.events and self.events[0][0] <= end:
            self.now, _, action = heapq.heappop(self.events)
            action()
            self.check()
        self.now = end

    def turn_ms(self):
        if self.chance.random() < self.long_turns:
            return self.chance.uniform(200, 4000)
        return self.chance.uniform(0, 5)

    # --- channels: in order, each message once ------------------------------------------------

    def send(self, sender, to, message):
        if to == BROKER and not self.is_broker_up:
            return
        key = (sender, to)
        due = max(
            self.channels.get(key, 0) + 1,
            self.now + int(self.chance.uniform(0.05, self.delay_of(key)) * MS),
        )
        self.channels[key] = due
        epoch = self.epoch
        heapq.heappush(
            self.events, (due, next(self.order), lambda: self.deliver(sender, to, message, epoch))
        )

    def delay_of(self, key):
        """Some connections are slow."""
        if key not in self.delays:
            is_slow = BROKER not in key and self.chance.random() < 0.15
            self.delays[key] = self.delay_ms * (15 if is_slow else 1)
        return self.delays[key]

    def deliver(self, sender, to, message, epoch):
        if BROKER in (sender, to) and epoch != self.epoch:
            return  # a session with a broker that is no more
        if to == BROKER:
            self.broker_receives(sender, message)
        elif to in self.nodes:
            self.nodes[to].receive(sender, message)

    # --- broker -------------------------------------------------------------------------------

    def start_broker(self):
        self.epoch += 1
        self.is_broker_up = True
        self.fleet = Fleet(
            cluster="c",
            incarnation=10**9 + self.epoch,
            settings=SETTINGS,
            assign=assign,
            now_ns=self.now,
            stored=self.blob,
        )
        for node in self.nodes.values():
            self.at(self.chance.uniform(1, 300), lambda node=node: self.present(node))

    def present(self, node):
        if node.is_dead or node.is_evicted or not self.is_broker_up:
            return
        if node.is_frozen:
            self.at(100, lambda: self.present(node))
        else:
            node.join()

    def stop_broker(self):
        self.is_broker_up = False
        self.epoch += 1

    def broker_receives(self, sender, message):
        fleet, now = self.fleet, self.now
        match message:
            case messages.Join():
                self.carry_out(fleet.join(message, now))
            case messages.Ack():
                self.carry_out(fleet.acknowledge(sender, message.version, now))
            case messages.Activated():
                self.carry_out(fleet.activated(sender, message, now))
            case messages.ActivatedActors():
                self.carry_out(fleet.actors_activated(sender, message, now))
            case messages.Leave():
                self.carry_out(fleet.leave(sender, message, now))
            case messages.Reaped():
                self.carry_out(fleet.reaped(message.incarnation, now))

    def carry_out(self, todo):
        for one in todo:
            match one:
                case orders.Send():
                    for to in one.to:
                        self.send(BROKER, to, messages.decode(messages.encode(one.message)))
                case orders.Persist():
                    done = partial(self.persisted, one, self.epoch)
                    self.at(self.chance.uniform(0, 3), done)

    def persisted(self, one, epoch):
        if epoch != self.epoch:
            return
        self.blob = one.state
        self.carry_out(self.fleet.stored(one.number, self.now))

    def tick(self):
        self.at(100, self.tick)
        if self.is_broker_up:
            self.carry_out(self.fleet.tick(self.now))
        for node in self.nodes.values():
            if not (node.is_dead or node.is_frozen):
                self.beat(node)
                node.run()

    def beat(self, node):
        if not self.is_broker_up:
            node.lease.refused(self.now)
            return
        if not node.is_joined:
            return
        sent = self.now
        epoch = self.epoch

        def arrive():
            if epoch != self.epoch:
                return
            answer = self.fleet.beat(Beat(node.incarnation, sent), self.now)
            self.at(self.chance.uniform(0.05, self.delay_ms), lambda: answered(answer))

        def answered(answer):
            if not (node.is_dead or node.is_frozen):
                node.lease.answered(answer)

        self.at(self.chance.uniform(0.05, self.delay_ms), arrive)

    # --- the fleet's life ---------------------------------------------------------------------

    def start(self, name, group="g"):
        node = Node(self, name, next(self.numbers), group)
        self.nodes[node.incarnation] = node
        node.join()
        return node

    def drain(self, node):
        node.is_asked_to_drain = True
        if not node.is_frozen:
            self.send(node.incarnation, BROKER, messages.Leave(drain=True))

    def reap(self, node):
        """A parent tells that its child has ended."""
        if self.is_broker_up:
            self.carry_out(self.fleet.reaped(node.incarnation, self.now))

    def workers(self):
        return [n for n in self.nodes.values() if n.group is not None and not n.is_dead]

    def chatter(self, every_ms):
        """Everybody sends to somebody, for ever."""
        for node in list(self.nodes.values()):
            node.tell(self.chance.choice(ACTORS))
        self.at(self.chance.uniform(0.2, 1.8) * every_ms, lambda: self.chatter(every_ms))

    # --- rules --------------------------------------------------------------------------------

    def counts(self, node):
        """The node is not evicted, as the broker sees it."""
        return not node.is_dead and node.incarnation in self.fleet.members

    def note_accepted(self, sender, receiver, actor, number):
        node = self.nodes.get(sender)
        if node is not None:
            node.outstanding[actor][receiver].discard(number)

    def note_handled(self, turn, state):
        earlier = self.handled_by[turn.actor, turn.sender]
        assert not earlier or earlier[-1] < turn.number, (
            f"{turn.actor} handled {turn.number} of {turn.sender} after {earlier[-1]}"
        )
        earlier.append(turn.number)
        self.handled.append((turn.sender, turn.actor, turn.number))

    def check(self):
        seen = seen_with_lease = 0
        for node in self.nodes.values():
            if node.group is None or node.is_dead:
                continue
            active = node.view._holding.active
            if self.counts(node):
                assert not seen & active, f"two active owners of {slot_set.numbers(seen & active)}"
                seen |= active
            if node.lease.holds(self.now) and not node.is_evicted:
                twice = seen_with_lease & active
                assert not twice, f"two owners with a lease: {slot_set.numbers(twice)}"
                seen_with_lease |= active

    def check_final(self):
        """Faults are over for long: every slot runs, nothing waits, everybody agrees."""
        fleet = self.fleet
        assert fleet.is_settled, f"not settled: {fleet.unacknowledged()}"
        alive = [n for n in self.workers() if self.counts(n) and not n.is_frozen]
        placed = [n for n in alive if fleet.members[n.incarnation].state == "placed"]
        if placed:
            active = slot_set.union(n.view._holding.active for n in placed)
            assert active == slot_set.ALL, "some slots have no active owner"
            assert all(group.is_handed_over for group in fleet.groups.values())
        for node in self.nodes.values():
            if self.counts(node) and not node.is_frozen and placed:
                assert node.view.version == fleet.version
                assert not any(node.held.values()), f"{node} still holds messages"
                for actor, place in node.places.items():
                    assert not (place.whole or place.relayed or place.kept), (
                        f"{actor} on {node} never got its messages"
                    )
        assert not fleet.groups or not any(g.lingering for g in fleet.groups.values())
