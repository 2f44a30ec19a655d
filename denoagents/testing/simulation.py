"""One seed, one story: a fleet, its application, what goes wrong, and whether every rule held.

    python -m denoagents.testing.simulation --seed 7 -v     replays story 7, and tells it
    python -m denoagents.testing.simulation --seeds 0-499   many; exit code 1 if one fails

Rules: everything random comes from the seed; the same seed gives the same trace, in any process.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import time
from collections.abc import Iterator, MutableMapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import structlog

from denoagents.actor.reference import options
from denoagents.actor.settings import ActorSettings
from denoagents.errors import DenoagentsError
from denoagents.link.settings import LinkSettings
from denoagents.node.settings import NodeSettings
from denoagents.testing.bank import Account, Report, Teller, judge_accounts
from denoagents.testing.faults import HARSH, Faults
from denoagents.testing.journal import Journal
from denoagents.testing.relay import Relay, ReliableVoice
from denoagents.testing.rules import Rules
from denoagents.testing.scheduler import only_own_garbage
from denoagents.testing.simulated_store import SimulatedDisk
from denoagents.testing.talk import Tally, Voice, Witness
from denoagents.testing.world import SimulatedNode, World

FAULTS_S = 8.0
"""How long a fleet is disturbed."""
LIVENESS_S = 5.0
"""So long after the last fault every actor has answered."""
QUIET_S = 8.0
"""So long after that all is quiet: longer than the longest back-off of who waits for a broker."""
STEP_NS = 50_000_000
UNEXPECTED = frozenset({"error", "critical", "exception"})
EXPECTED_EVENTS = frozenset({"evicted", "message quarantined", "broker.quarantined"})
SERVED = (Tally, Relay)


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a story ended."""

    seed: int
    digest: str
    violations: list[str]
    counts: dict[str, int] = field(default_factory=dict)
    only: str = ""
    """The kinds of faults that it was limited to."""
    is_busy: bool = False
    is_reliable: bool = False
    is_durable: bool = False

    @property
    def command(self) -> str:
        """What replays it."""
        only = f" --only {self.only}" if self.only else ""
        busy = " --busy" if self.is_busy else ""
        busy += " --reliable" if self.is_reliable else ""
        busy += " --durable" if self.is_durable else ""
        return f"python -m denoagents.testing.simulation --seed {self.seed}{only}{busy} -v"

    def __str__(self) -> str:
        counts = ", ".join(f"{count} {what}" for what, count in self.counts.items())
        if not self.violations:
            return f"seed {self.seed}: all rules held ({counts}; trace {self.digest})"
        found = "\n  ".join(self.violations[:10])
        return f"seed {self.seed} broke a rule ({counts}):\n  {found}\nreplay it: {self.command}"


class Simulation:
    """The story of one seed."""

    def __init__(
        self,
        seed: int,
        *,
        is_told: bool = False,
        only: Sequence[str] = (),
        is_busy: bool = False,
        is_reliable: bool = False,
        is_durable: bool = False,
    ) -> None:
        """`is_busy`: many messages for few actors, on a slow network.

        `is_reliable`: part of the application sends reliable messages.
        `is_durable`: part of it moves money between durable accounts.
        """
        self.seed, self._only, self._is_busy = seed, tuple(only), is_busy
        chance = self._chance = Random(f"story {seed}")
        self.is_gentle = seed % 2 == 0 and not HARSH.keys() & set(only)
        disk = SimulatedDisk(Random(f"disk {seed}")) if is_durable else None
        self.fleet = World(seed, settings=self._settings(chance), disk=disk)
        network = self.fleet.network
        longest_s = chance.choice([0.001, 0.01, 0.04] if self.is_gentle else [0.001, 0.02, 0.1])
        if is_busy:
            longest_s = 0.04 if self.is_gentle else 0.1
        network.shortest_s, network.longest_s = longest_s / 20, longest_s
        network.loss_share = chance.choice([0.0, 0.0, 0.0, 0.002])
        network.damage_share = chance.choice([0.0, 0.0, 0.0, 0.002])
        network.repeat_share = chance.choice([0.0, 0.0, 0.0, 0.01])
        network.reorder_share = chance.choice([0.0, 0.0, 0.0, 0.01])
        count = chance.choice([3, 8, 20])
        self.keys = [f"a{number:02}" for number in range(3 if is_busy else count)]
        self.asks_wait = self.fleet.settings.link.window_bytes < 10_000
        pace_s = chance.choice([0.01, 0.03, 0.1])
        self.pace_s = 0.005 if is_busy else pace_s
        self.journal = Journal(self.fleet.scheduler)
        self.rules = Rules(self.fleet, self.journal, self.keys, is_gentle=self.is_gentle)
        self.is_reliable, self.is_durable = is_reliable, is_durable
        served = (*SERVED, Account) if is_durable else SERVED
        self._served = served
        self.faults = Faults(self.fleet, served, seed, is_gentle=self.is_gentle, only=only)
        self.fleet.on_start = self._give_voices
        self._voices: list[Voice | ReliableVoice | Teller] = []
        self._is_told, self._told = is_told, 0
        self._is_ending = False
        self._asker: SimulatedNode | None = None
        self._accounts: dict[str, Report] = {}
        if is_told:
            self.journal.listen = self._tell

    @staticmethod
    def _settings(chance: Random) -> NodeSettings:
        return NodeSettings(
            actor=ActorSettings(
                passivate_after_s=chance.choice([0.3, 900.0]),
                sweep_every_s=0.25,
                mailbox_limit=chance.choice([4, 1000]),
            ),
            link=LinkSettings(window_bytes=chance.choice([2000, 8 << 20])),
            drain_timeout_s=10.0,
        )

    # --- the story ----------------------------------------------------------------------------

    def run(self) -> Verdict:
        """Play it to its end."""
        with self._logs():
            self._begin()
            self._disturb()
            if not self.journal.violations:
                self._end()
        only = ",".join(self._only)
        return Verdict(
            self.seed,
            self.journal.digest,
            self._violations(),
            self._counts(),
            only,
            is_busy=self._is_busy,
            is_reliable=self.is_reliable,
            is_durable=self.is_durable,
        )

    def _begin(self) -> None:
        fleet = self.fleet
        fleet.start_broker()
        for number in range(self._chance.randint(1, 3)):
            fleet.start(f"w{-number}" if number else "w0", self._served)
        for number in range(self._chance.randint(1, 2)):
            fleet.start(f"c{-number}" if number else "c0")
        self._run_for(1.0)

    def _disturb(self) -> None:
        end_s = self.fleet.scheduler.elapsed_s + FAULTS_S
        while self.fleet.scheduler.elapsed_s < end_s and not self.journal.violations:
            self._run_for(self.faults.disturb())

    def _run_for(self, duration_s: float) -> None:
        """In small steps, between which the owners of all slots are compared."""
        scheduler = self.fleet.scheduler
        end_ns = scheduler.now_ns + int(duration_s * 1e9)
        while scheduler.now_ns < end_ns and not self.journal.violations:
            step_ns = min(STEP_NS, end_ns - scheduler.now_ns)
            scheduler.run_until(scheduler.now_ns + step_ns, lambda: bool(self.journal.violations))
            self.rules.watch_owners()

    def _end(self) -> None:
        self._is_ending = True
        for voice in self._voices:
            voice.is_silent = True
        self.faults.end()
        if all(one.is_leaving for one in self.fleet.workers()):
            self.fleet.start("last", self._served)
        self.fleet.start("witness")
        reports: dict[str, tuple[int, int]] = {}
        self._run_until(LIVENESS_S, lambda: self._ask_all(reports), "every actor has answered")
        self._run_until(QUIET_S, self.rules.unquiet, "all is quiet")
        self.fleet.is_supervised = False
        reports.clear()
        self._accounts.clear()
        self._run_until(LIVENESS_S, lambda: self._missing(reports), "every actor answers again")
        self._run_until(LIVENESS_S, self.rules.unquiet, "all is quiet again")
        if not self.journal.violations:
            self.rules.judge(reports)
            for broken in judge_accounts(self.journal, self._accounts):
                self.journal.violated(broken)

    def _run_until(self, limit_s: float, missing: Any, what: str) -> None:
        """Let time pass until nothing is missing."""
        end_s = self.fleet.scheduler.elapsed_s + limit_s
        while (lacks := missing()) and not self.journal.violations:
            if self.fleet.scheduler.elapsed_s >= end_s:
                why = self.rules.unquiet()
                self.journal.violated(f"{limit_s:g} s have passed, and not {what}: {lacks}; {why}")
                return
            self._run_for(0.05)

    def _ask_all(self, reports: dict[str, tuple[int, int]]) -> str:
        """Ask each actor for its state; who has neither answered nor been at work lately."""
        missing = self._missing(reports)
        return ", ".join(key for key in missing if not self.rules.is_at_work(f"Tally/{key}"))

    def _missing(self, reports: dict[str, tuple[int, int]]) -> list[str]:
        """Who has not answered; they are asked again, unless they are being asked."""
        clients = [one for one in self.fleet.clients() if one.is_usable and not one.is_leaving]
        missing = [key for key in self.keys if f"Tally/{key}" not in reports]
        if self.is_durable:
            known = self._accounts
            missing += [key for key in self.keys[:6] if f"Account/{key}" not in known]
        is_asking = self._asker is not None and self._asker.is_usable
        if clients and missing and not is_asking:
            self._asker = clients[-1]
            self._asker.process.start(self._ask_for_reports(self._asker, missing, reports))
        return missing

    async def _ask_for_reports(
        self, client: SimulatedNode, keys: list[str], reports: dict[str, tuple[int, int]]
    ) -> None:
        async def ask_account(key: str) -> None:
            ref = options(client.node.actor(Account, key), timeout_s=LIVENESS_S, priority="high")
            with contextlib.suppress(DenoagentsError):
                self._accounts[f"Account/{key}"] = await ref.report()

        async def ask(key: str) -> None:
            ref = options(client.node.actor(Tally, key), timeout_s=LIVENESS_S, priority="high")
            with contextlib.suppress(DenoagentsError):
                reports[f"Tally/{key}"] = await ref.report()

        accounts = self.keys[:6] if self.is_durable else ()
        await asyncio.gather(*(ask(key) for key in keys), *(ask_account(key) for key in accounts))
        self._asker = None

    def _give_voices(self, one: SimulatedNode) -> None:
        seen = one.process.loop.notes = Witness(self.journal, one)
        if self._is_ending:
            return
        for number in range(1 if one.is_worker else 2):
            chance = Random(f"voice {self.seed} {one} {number}")
            pause_s = self.pace_s * (5 if one.is_worker else 1)
            voice = Voice(
                seen, f"voice {number}", self.keys, chance, pause_s, asks_wait=self.asks_wait
            )
            self._voices.append(voice)
            one.process.start(voice.talk())
        if self.is_durable:
            chance = Random(f"teller {self.seed} {one}")
            pause_s = max(0.2, self.pace_s * (10 if one.is_worker else 2))
            teller = Teller(seen, "teller", self.keys[:6], chance, pause_s)
            self._voices.append(teller)
            one.process.start(teller.talk())
        if self.is_reliable:
            chance = Random(f"reliable voice {self.seed} {one}")
            pause_s = max(0.1, self.pace_s * (10 if one.is_worker else 2))
            other = ReliableVoice(
                seen, "reliable", self.keys[:8], chance, pause_s, asks_wait=self.asks_wait
            )
            self._voices.append(other)
            one.process.start(other.talk())

    # --- what was seen --------------------------------------------------------------------------

    def _violations(self) -> list[str]:
        return [*self.journal.violations, *self.fleet.scheduler.problems]

    def _counts(self) -> dict[str, int]:
        network = self.fleet.network
        messages = self.journal.messages
        return {
            "messages": len(messages),
            "handled": sum(bool(message.turns) for message in messages),
            "repeats": self.journal.repeats,
            "faults": self.faults.count,
            "cuts": network.cuts,
            "versions": len(self.rules.versions),
            "evictions": self.rules.evictions,
            "processes": len(self.fleet.nodes),
            "rounds": self.fleet.scheduler.rounds,
        }

    def _tell(self, what: str) -> None:
        while self.fleet.happened and self._told < len(self.fleet.happened):
            at_s, deed = self.fleet.happened[self._told]
            self._told += 1
            print(f"{at_s:12.6f} === {deed}")  # noqa: T201 - the story is what was asked for
        print(f"{self.fleet.scheduler.elapsed_s:12.6f} {what}")  # noqa: T201

    @contextlib.contextmanager
    def _logs(self) -> Iterator[None]:
        """Nodes' logs are part of the story; what should not happen is a violation."""
        before = structlog.get_config()
        structlog.configure(
            processors=[self._note_log], wrapper_class=structlog.make_filtering_bound_logger(0)
        )
        try:
            yield
        finally:
            structlog.configure(**before)

    def _note_log(
        self, _: Any, method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        running = self.fleet.scheduler.running
        name = running.name if running is not None else "-"
        what = event.pop("event", "")
        if what == "message quarantined":
            message = event.get("actor", ""), event.get("method", "")
            self.journal.given_up.add(message)
            if str(event.get("reason", "")).startswith("StoreFullError"):
                self.journal.refused.add(message)
        if method in UNEXPECTED and what not in EXPECTED_EVENTS:
            error = sys.exc_info()[1]
            self.journal.violated(f"{name} logs {what} {event} {error!r}")
        if self._is_told:
            facts = " ".join(f"{key}={value}" for key, value in event.items())
            self._tell(f"{name} [{method}] {what} {facts}")
        raise structlog.DropEvent


def play(seed: int, **how: Any) -> Verdict:
    """Play the story of one seed; `how` is for `Simulation`."""
    with only_own_garbage():
        return Simulation(seed, **how).run()


def main(arguments: list[str] | None = None) -> int:
    """The command line; 0 if all rules held in all stories."""
    parser = argparse.ArgumentParser(
        prog="python -m denoagents.testing.simulation", description="Plays simulated fleets."
    )
    parser.add_argument("--seed", type=int, help="one story")
    parser.add_argument("--seeds", default="0-49", help="many stories, FIRST-LAST")
    parser.add_argument("--only", default="", help="kinds of faults, such as cut_one,leave")
    parser.add_argument("--busy", action="store_true", help="many messages for few actors")
    parser.add_argument("--reliable", action="store_true", help="some messages are reliable")
    parser.add_argument("--durable", action="store_true", help="some actors are durable")
    parser.add_argument("-v", "--verbose", action="store_true", help="tell what happens")
    given = parser.parse_args(arguments)
    first, _, last = given.seeds.partition("-")
    seeds = range(int(first), int(last or first) + 1) if given.seed is None else [given.seed]
    only = [name for name in given.only.split(",") if name]
    began, failed = time.perf_counter(), []
    for seed in seeds:
        ending = play(
            seed,
            is_told=given.verbose,
            only=only,
            is_busy=given.busy,
            is_reliable=given.reliable,
            is_durable=given.durable,
        )
        if ending.violations or given.seed is not None:
            print(ending, flush=True)  # noqa: T201
        if ending.violations:
            failed.append(seed)
    took_s = time.perf_counter() - began
    print(f"{len(seeds)} stories in {took_s:.1f} s, {len(failed)} broke a rule: {failed}")  # noqa: T201
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
