"""What goes wrong, drawn from the seed: cuts, partitions, freezes, deaths, joins and leaves.

Rules: a gentle story never hurts anybody for so long that the fleet may give it up; in a harsh one
anything may happen to anybody, but at least one worker is asked to stay.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from denoagents.actor.actor import Actor
from denoagents.testing.simulated_store import LONGEST_S
from denoagents.testing.world import BROKER_HOST, SimulatedNode, World

KINDS = {
    "cut_one": 6,
    "cut_all": 2,
    "partition": 3,
    "freeze": 3,
    "block": 2,
    "slow_down": 3,
    "restart_broker": 3,
    "flap": 2,
    "flap_broker": 1,
    "start_worker": 4,
    "leave": 4,
    "start_client": 2,
    "leave_client": 1,
}
"""What goes wrong in any story, and how often."""
HARSH = {"kill": 5, "lose": 2, "kill_client": 1, "freeze_broker": 2, "partition_one_way": 1}
"""What goes wrong in harsh stories only."""
STORED = {"fill_disk": 1, "slow_disk": 2}
"""What else goes wrong where there are durable actors."""
HARSH_STORED = {"lose_power": 1}
MOST_WORKERS = 5
MOST_CLIENTS = 3


class Faults:
    """Disturbs a fleet for a while."""

    def __init__(
        self,
        fleet: World,
        serve: Sequence[type[Actor]],
        seed: int,
        *,
        is_gentle: bool,
        only: Sequence[str] = (),
    ) -> None:
        """`only`: nothing but these kinds of faults, by name."""
        self.fleet, self.is_gentle = fleet, is_gentle
        self.count = 0
        self._serve = tuple(serve)
        self._chance = Random(f"faults {seed}")
        self._names = 1
        self._calm_at_ns = 0
        self._kinds = self._draw(only)

    def _draw(self, only: Sequence[str]) -> list[tuple[int, Callable[[], str]]]:
        """Each story has its own mood: a lot of something finds more than a little of all."""
        kinds = KINDS if self.is_gentle else KINDS | HARSH
        if self.fleet.disk is not None:
            kinds = kinds | STORED if self.is_gentle else kinds | STORED | HARSH_STORED
        if only:
            return [(1, getattr(self, f"_{name}")) for name in only]
        drawn = [
            (weight * self._chance.choice([0, 1, 1, 3]), getattr(self, f"_{name}"))
            for name, weight in kinds.items()
        ]
        return [*drawn, (1, self._start_worker)]

    def disturb(self) -> float:
        """Do one thing, after which so many seconds should pass."""
        weights = [weight for weight, _ in self._kinds]
        act = self._chance.choices([act for _, act in self._kinds], weights)[0]
        what = act()
        if what:
            self.count += 1
            self.fleet.tell(what)
        return self._chance.uniform(0.02, 0.9)

    def end(self) -> None:
        """Everything that was hurt is whole again; who is dead stays dead."""
        fleet = self.fleet
        fleet.network.heal()
        fleet.network.slowness.clear()
        fleet.network.loss_share = fleet.network.damage_share = 0.0
        fleet.network.repeat_share = fleet.network.reorder_share = 0.0
        if fleet.disk is not None:
            fleet.disk.is_full, fleet.disk.longest_s = False, LONGEST_S
        for one in fleet.nodes:
            one.process.go_on()
        if fleet.broker_process is not None and fleet.broker_process.is_alive:
            fleet.broker_process.go_on()
        else:
            fleet.start_broker()
        fleet.tell("the faults are over")

    # --- choosing ---------------------------------------------------------------------------------

    def _duration_s(self, gentle_s: float, harsh_s: float) -> float:
        """How long somebody is not heard; 0 if that would be too much by now."""
        now_ns = self.fleet.scheduler.now_ns
        if not self.is_gentle:
            return self._chance.uniform(0.02, harsh_s)
        if now_ns < self._calm_at_ns:
            return 0.0
        duration_s = self._chance.uniform(0.02, gentle_s)
        self._calm_at_ns = now_ns + int((duration_s + 1.0) * 1e9)
        return duration_s

    def _node(self, among: list[SimulatedNode]) -> SimulatedNode | None:
        return self._chance.choice(among) if among else None

    def _workers(self) -> list[SimulatedNode]:
        return [one for one in self.fleet.workers() if one.is_usable and not one.is_leaving]

    def _hosts(self) -> list[str]:
        return [BROKER_HOST, *(one.process.host for one in self._living())]

    def _living(self) -> list[SimulatedNode]:
        return [one for one in self.fleet.living() if not one.is_spared]

    def _clients(self) -> list[SimulatedNode]:
        return [one for one in self.fleet.clients() if not one.is_spared]

    # --- the network ------------------------------------------------------------------------------

    def _cut_one(self) -> str:
        return "a connection is cut" if self.fleet.network.cut_one() else ""

    def _cut_all(self) -> str:
        host = self._chance.choice(self._hosts())
        return f"{self.fleet.network.cut(host)} connections of {host} are cut"

    def _flap(self) -> str:
        """The connections of one host are cut again and again."""
        host, count = self._chance.choice(self._hosts()), self._chance.randint(2, 10)
        at_s = 0.0
        for _ in range(count):
            at_s += self._chance.uniform(0.001, 0.2)
            self.fleet.scheduler.at(at_s, lambda: self.fleet.network.cut(host))
        return f"connections of {host} are cut {count} times within {at_s:.3f} s"

    def _partition(self) -> str:
        """Some hosts cannot reach the others, for a while."""
        hosts = self._hosts()
        some = self._chance.sample(hosts, self._chance.randint(1, max(1, len(hosts) // 2)))
        others = [host for host in hosts if host not in some]
        duration_s = self._duration_s(0.8, 5.0)
        if not duration_s:
            return ""
        pairs = [(one, other) for one in some for other in others]
        pairs += [(other, one) for one, other in pairs]
        self._block_pairs(pairs, duration_s)
        return f"{some} are cut off from {others} for {duration_s:.3f} s"

    def _partition_one_way(self) -> str:
        hosts = self._hosts()
        if len(hosts) < 2:
            return ""
        one, other = self._chance.sample(hosts, 2)
        duration_s = self._chance.uniform(0.02, 5.0)
        self._block_pairs([(one, other)], duration_s)
        return f"{one} does not reach {other} for {duration_s:.3f} s"

    def _block_pairs(self, pairs: list[tuple[str, str]], duration_s: float) -> None:
        network = self.fleet.network
        network.blocked.update(pairs)
        self.fleet.scheduler.at(duration_s, lambda: network.heal(pairs))

    def _slow_down(self) -> str:
        hosts = self._hosts()
        if len(hosts) < 2:
            return ""
        one, other = self._chance.sample(hosts, 2)
        factor = self._chance.uniform(2, 4 if self.is_gentle else 20)
        self.fleet.network.slowness[one, other] = factor
        return f"{one} reaches {other} {factor:.1f} times as slowly"

    # --- processes --------------------------------------------------------------------------------

    def _freeze(self) -> str:
        one = self._node([one for one in self._living() if one.process.health == "running"])
        duration_s = self._duration_s(0.9, 6.0)
        if one is None or not duration_s:
            return ""
        one.process.freeze()
        self.fleet.scheduler.at(duration_s, one.process.go_on)
        return f"{one} is frozen for {duration_s:.3f} s"

    def _block(self) -> str:
        one = self._node([one for one in self._living() if one.process.health == "running"])
        if one is None:
            return ""
        duration_s = self._chance.uniform(0.02, 1.5 if self.is_gentle else 12.0)
        one.process.block()
        self.fleet.scheduler.at(duration_s, one.process.go_on)
        return f"{one} is blocked for {duration_s:.3f} s"

    def _kill(self) -> str:
        one = self._node(self._workers())
        if one is None or len(self._workers()) < 2:
            return ""
        self.fleet.kill(one)
        broker, process = self.fleet.broker, self.fleet.broker_process
        if broker is not None and process is not None and self._chance.random() < 0.5:
            self.fleet.scheduler.at(
                self._chance.uniform(0.001, 0.1),
                lambda: process.call(lambda: broker.reaped(one.incarnation)),
            )
            return f"the parent of {one} will tell that it has ended"
        return " "

    def _lose(self) -> str:
        one = self._node(self._workers())
        if one is None or len(self._workers()) < 2:
            return ""
        self.fleet.lose(one)
        return " "

    def _kill_client(self) -> str:
        one = self._node(self._clients())
        if one is None:
            return ""
        self.fleet.kill(one)
        return " "

    # --- the disk of the workers ------------------------------------------------------------------

    def _fill_disk(self) -> str:
        disk = self.fleet.disk
        if disk is None or disk.is_full:
            return ""
        duration_s = self._chance.uniform(0.01, 0.5 if self.is_gentle else 2.0)
        disk.is_full = True
        self.fleet.scheduler.at(duration_s, lambda: setattr(disk, "is_full", False))
        return f"{disk.name} is full for {duration_s:.3f} s"

    def _slow_disk(self) -> str:
        disk = self.fleet.disk
        if disk is None:
            return ""
        disk.longest_s = self._chance.choice([0.0001, 0.01, 0.1, 0.3])
        return f"writes to {disk.name} take up to {disk.longest_s:g} s"

    def _lose_power(self) -> str:
        self.fleet.lose_power()
        return " "

    # --- the broker -----------------------------------------------------------------------------

    def _restart_broker(self) -> str:
        duration_s = self._duration_s(1.2, 4.0)
        if not self.fleet.has_broker or not duration_s:
            return ""
        self.fleet.kill_broker()
        self.fleet.scheduler.at(duration_s, self._start_broker)
        return f"the broker will be back in {duration_s:.3f} s"

    def _start_broker(self) -> None:
        if not self.fleet.has_broker:
            self.fleet.start_broker()

    def _flap_broker(self) -> str:
        """The broker ends again and again, each time soon after it has begun."""
        count, at_s = self._chance.randint(2, 4), 0.0
        if not self.fleet.has_broker or not self._duration_s(1.2, 4.0):
            return ""
        for _ in range(count):
            self.fleet.scheduler.at(at_s, self._end_broker)
            at_s += self._chance.uniform(0.01, 0.1)
            self.fleet.scheduler.at(at_s, self._start_broker)
            at_s += self._chance.uniform(0.02, 0.3)
        return f"the broker begins anew {count} times within {at_s:.3f} s"

    def _end_broker(self) -> None:
        if self.fleet.has_broker:
            self.fleet.kill_broker()

    def _freeze_broker(self) -> str:
        process = self.fleet.broker_process
        if process is None or process.health != "running":
            return ""
        duration_s = self._chance.uniform(0.02, 4.0)
        process.freeze()
        self.fleet.scheduler.at(duration_s, process.go_on)
        return f"the broker is frozen for {duration_s:.3f} s"

    # --- who comes and goes ---------------------------------------------------------------------

    def _next_name(self, letter: str) -> str:
        self._names += 1
        return f"{letter}{self._names}"

    def _start_worker(self) -> str:
        if len(self.fleet.workers()) >= MOST_WORKERS:
            return ""
        return f"{self.fleet.start(self._next_name('w'), self._serve)} is wanted"

    def _start_client(self) -> str:
        if len(self.fleet.clients()) >= MOST_CLIENTS:
            return ""
        return f"{self.fleet.start(self._next_name('c'))} is wanted"

    def _leave(self) -> str:
        workers = self._workers()
        if len(workers) < 2:
            return ""
        self.fleet.leave(self._chance.choice(workers))
        return " "

    def _leave_client(self) -> str:
        clients = [one for one in self._clients() if one.is_usable and not one.is_leaving]
        if len(clients) < 2:
            return ""
        self.fleet.leave(self._chance.choice(clients))
        return " "
