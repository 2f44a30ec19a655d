"""Judges the histories of a run: `python -m denoagents.testing.checker FOLDER [-o json]`.

Rules that it holds every run against (`history` has the words):
    what was acknowledged was handled, or is in the state, by its promise: a plain ask that was
    answered ran once; a reliable message ran at least once, and again only after the process that
    had handled it was over; a durable one is in its actor's state exactly once;
    what was refused never ran; what ran was sent; every operation has one ending;
    each pair of voice and actor keeps its order; fences of an actor never go back, and one fence is
    one life; a life that is over begins nothing; as many faults were made as were planned.
Availability (gaps, recovery after a death) is measured, and judged where a bar is given.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from denoagents.testing.availability import Availability, measure
from denoagents.testing.run_record import Operation, Pair, RunRecord, Turn

SHOWN = 20
"""Violations of one rule that are told in full; the others are counted."""
NOTICED_S = 3.0
"""Until everybody knows of a death: what was sent to the dead in that time may have died, too."""


@dataclass(frozen=True, slots=True)
class Bars:
    """What a run must reach beside the rules; 0: not asked for."""

    recovery_p99_s: float = 0.0
    recovery_max_s: float = 0.0
    operations: int = 0
    """At least so many: without load nothing is proven."""


@dataclass(slots=True)
class Verdict:
    """What the histories prove."""

    violations: Counter[str] = field(default_factory=Counter)
    """By rule."""
    examples: list[str] = field(default_factory=list)
    operations: int = 0
    turns: int = 0
    outcomes: dict[str, dict[str, int]] = field(default_factory=dict)
    """Promise and kind -> ending (with the error's code) -> how many."""
    repeats: int = 0
    """Reliable messages that ran again after a death."""
    attempts: int = 0
    """Turns of durable actors beyond the first for a message; their effects are judged by state."""
    lost_tells: int = 0
    """Plain tells that died with a process; not a violation."""
    unknown: int = 0
    unknown_that_ran: int = 0
    planned: dict[str, int] = field(default_factory=dict)
    executed: dict[str, int] = field(default_factory=dict)
    seeds: list[int] = field(default_factory=list)
    torn: int = 0
    """Files that end in the middle of a line: their writer was killed."""
    availability: Availability = field(default_factory=Availability)

    @property
    def is_good(self) -> bool:
        """No rule was broken."""
        return not self.violations

    def break_rule(self, rule: str, example: str) -> None:
        """A rule is broken."""
        self.violations[rule] += 1
        if self.violations[rule] <= SHOWN:
            self.examples.append(f"{rule}: {example}")

    def __str__(self) -> str:
        verdict = "holds" if self.is_good else "BROKEN"
        unknown = f"unknown outcomes: {self.unknown}, of which {self.unknown_that_ran} ran"
        lost = f"plain tells that died with a process: {self.lost_tells}"
        repeats = f"repeats of reliable messages after a death: {self.repeats}"
        attempts = f"further attempts of durable ones: {self.attempts}"
        lines = [
            f"{verdict}: {self.operations} operations, {self.turns} turns, seeds {self.seeds}",
            f"faults: planned {self.planned}, executed {self.executed}",
            *(f"{kind}: {counts}" for kind, counts in sorted(self.outcomes.items())),
            f"{unknown}; {lost}; {repeats}; {attempts}",
            str(self.availability),
        ]
        if self.violations:
            lines += [f"broken rules: {dict(self.violations)}", *self.examples]
        return "\n".join(lines)

    def plain(self) -> dict[str, Any]:
        """As values for JSON."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        return {"is_good": self.is_good, **found}


def check(folder: Path, bars: Bars | None = None) -> Verdict:
    """Judge the histories in a folder."""
    return judge(RunRecord.read(folder), bars)


def judge(record: RunRecord, bars: Bars | None = None) -> Verdict:
    """Judge what was read."""
    verdict = Verdict(
        planned=dict(record.planned),
        executed=dict(record.executed),
        seeds=record.seeds,
        torn=record.torn,
    )
    for text in record.damage:
        verdict.break_rule("histories are whole", text)
    all_ended = all(
        operation.life.is_ended
        for pair in record.pairs.values()
        for operation in pair.operations.values()
    )
    for pair in record.pairs.values():
        _judge_turns(verdict, pair, all_ended)
        _judge_state(verdict, pair)
        for number, operation in pair.operations.items():
            _judge_operation(verdict, record, pair, number, operation)
    by_actor = record.by_actor()
    for actor, turns in by_actor.items():
        _judge_fences(verdict, actor, turns)
    for kind, count in record.planned.items():
        if record.executed[kind] < count:
            done = record.executed[kind]
            verdict.break_rule("planned faults are made", f"{done} of {count} of kind {kind}")
    verdict.availability = measure(record, by_actor)
    _judge_bars(verdict, bars or Bars())
    return verdict


# --- one pair -------------------------------------------------------------------------------------


def _judge_turns(verdict: Verdict, pair: Pair, all_ended: bool) -> None:
    """Order, repeats, and turns without a message."""
    top = 0
    newest: dict[str, int] = {}
    last: dict[int, Turn] = {}
    for turn in pair.turns:
        number, life = turn.number, turn.life
        verdict.turns += 1
        operation = pair.operations.get(number)
        if operation is None:
            if all_ended:
                verdict.break_rule("what ran was sent", f"{pair} {number}")
            continue
        operation.turns += 1
        if life.over_ns and turn.at_ns > life.over_ns:
            late_ms = (turn.at_ns - life.over_ns) / 1e6
            verdict.break_rule(
                "a life that is over begins nothing",
                f"{pair} {number} in {life.name}, {late_ms:.0f} ms after its end",
            )
        before = last.get(number)
        last[number] = turn
        if before is not None:
            _judge_repeat(verdict, pair, operation, before, turn)
            if before.life is not life and number < newest.get(life.name, 0):
                verdict.break_rule(
                    "each pair keeps its order",
                    f"{pair} repeats {number} after {newest[life.name]} in {life.name}",
                )
        elif number < top:
            verdict.break_rule("each pair keeps its order", f"{pair} {number} after {top}")
        top = max(top, number)
        newest[life.name] = max(newest.get(life.name, 0), number)


def _judge_repeat(
    verdict: Verdict, pair: Pair, operation: Operation, before: Turn, turn: Turn
) -> None:
    if operation.promise == "durable":
        verdict.attempts += 1
    elif operation.promise == "reliable" and before.life.over_ns and before.life is not turn.life:
        verdict.repeats += 1
    else:
        apart_ms = (turn.at_ns - before.at_ns) / 1e6
        verdict.break_rule(
            "nothing runs twice",
            f"{operation.promise} {pair} {turn.number} in {before.life.name} and {apart_ms:.1f} ms"
            f" later in {turn.life.name}",
        )


def _judge_state(verdict: Verdict, pair: Pair) -> None:
    """A durable actor's state holds each message once, in order."""
    if pair.state is None:
        if any(one.promise == "durable" for one in pair.operations.values()):
            verdict.break_rule("durable states are read", f"the state of {pair.actor} was not read")
        return
    top = 0
    seen: set[int] = set()
    for number in pair.state:
        if number in seen:
            verdict.break_rule("nothing runs twice", f"the state of {pair} has {number} twice")
        elif number < top:
            verdict.break_rule(
                "each pair keeps its order", f"the state of {pair} has {number} after {top}"
            )
        if number not in pair.operations:
            verdict.break_rule("what ran was sent", f"the state of {pair} has {number}")
        seen.add(number)
        top = max(top, number)
    for number, operation in pair.operations.items():
        if operation.ending == "ok" and operation.promise == "durable" and number not in seen:
            verdict.break_rule(
                "what was acknowledged is there", f"the state of {pair} lacks {number}"
            )
        if operation.ending == "fail" and number in seen:
            verdict.break_rule("what was refused never ran", f"the state of {pair} has {number}")


def _judge_operation(
    verdict: Verdict, record: RunRecord, pair: Pair, number: int, operation: Operation
) -> None:
    verdict.operations += 1
    kind = f"{operation.promise} {'ask' if operation.is_ask else 'tell'}"
    ending = operation.ending or "none"
    counts = verdict.outcomes.setdefault(kind, {})
    label = f"{ending}: {operation.why}" if operation.why else ending
    counts[label] = counts.get(label, 0) + 1
    if ending == "ok":
        if not operation.turns and operation.promise != "durable":
            _judge_loss(verdict, record, pair, number, operation)
    elif ending == "fail":
        if operation.turns:
            verdict.break_rule(
                "what was refused never ran", f"{pair} {number} ran: {operation.why}"
            )
    else:
        verdict.unknown += 1
        verdict.unknown_that_ran += bool(operation.turns)
        if ending == "none" and operation.life.is_ended:
            verdict.break_rule("every operation has an ending", f"{kind} {pair} {number}")


def _judge_loss(
    verdict: Verdict, record: RunRecord, pair: Pair, number: int, operation: Operation
) -> None:
    if operation.promise == "plain" and not operation.is_ask:
        later = (turn.at_ns for turn in pair.turns if turn.number > number)
        if _may_have_died(record, operation, next(later, None)):
            verdict.lost_tells += 1
            return
    verdict.break_rule(
        "what was acknowledged is there", f"{operation.promise} {pair} {number} never ran"
    )


def _may_have_died(record: RunRecord, operation: Operation, passed_ns: int | None) -> bool:
    """A process was over after the sending (or just before), and before a later message ran."""
    since_ns = operation.at_ns - round(NOTICED_S * 1e9)
    return any(
        over.t >= since_ns and (passed_ns is None or (over.since or over.t) <= passed_ns)
        for over in record.overs
    )


# --- one actor ------------------------------------------------------------------------------------


def _judge_fences(verdict: Verdict, actor: str, turns: list[Turn]) -> None:
    top = 0
    owners: dict[int, str] = {}
    for turn in turns:
        if not turn.fence:
            continue
        if turn.fence < top:
            verdict.break_rule(
                "fences never go back",
                f"{actor} ran {turn.number} under {turn.fence} after {top}, in {turn.life.name}",
            )
        top = max(top, turn.fence)
        owner = owners.setdefault(turn.fence, turn.life.name)
        if owner != turn.life.name:
            verdict.break_rule(
                "one fence is one life", f"{actor} under {turn.fence} in {owner}, {turn.life.name}"
            )


def _judge_bars(verdict: Verdict, bars: Bars) -> None:
    found = verdict.availability
    if bars.recovery_p99_s and found.recovery_p99_s > bars.recovery_p99_s:
        text = f"p99 {found.recovery_p99_s:.2f} s, allowed {bars.recovery_p99_s:.2f}"
        verdict.break_rule("actors come back in time", text)
    if bars.recovery_max_s and found.recovery_max_s > bars.recovery_max_s:
        text = f"the slowest took {found.recovery_max_s:.2f} s, allowed {bars.recovery_max_s:.2f}"
        verdict.break_rule("actors come back in time", text)
    if verdict.operations < bars.operations:
        text = f"{verdict.operations} operations, at least {bars.operations} were asked for"
        verdict.break_rule("there was load", text)


def main(arguments: list[str] | None = None) -> int:
    """The command line; 0 if no rule was broken, 1 if one was, 2 if there is nothing to judge."""
    parser = argparse.ArgumentParser(
        prog="python -m denoagents.testing.checker", description="Judges the histories of a run."
    )
    parser.add_argument("folder", type=Path, help="where the processes wrote their histories")
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")
    parser.add_argument("--recovery-p99", type=float, default=0.0, metavar="SECONDS")
    parser.add_argument("--recovery-max", type=float, default=0.0, metavar="SECONDS")
    parser.add_argument("--operations", type=int, default=0, help="at least so many")
    given = parser.parse_args(arguments)
    if not any(given.folder.glob("*.jsonl")):
        parser.error(f"{given.folder} has no histories (*.jsonl)")
    bars = Bars(given.recovery_p99, given.recovery_max, given.operations)
    verdict = check(given.folder, bars)
    as_json = given.output == "json"
    text = msgspec.json.encode(verdict.plain()).decode() if as_json else str(verdict)
    sys.stdout.write(f"{text}\n")
    return 0 if verdict.is_good else 1


if __name__ == "__main__":
    sys.exit(main())
