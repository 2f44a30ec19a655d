"""What becomes of an actor that failed, of its siblings, and of the parents above it.

Rules:
    Actors that are restarted together are all held first; their running turns are cancelled, and
    none has its new instance before the last of those turns has ended.
    A failure that is escalated becomes the parent's own: its running turn is cancelled, its rules
    are those of its parent; a root actor is restarted. If the parent resumes, so does the child.
"""

from __future__ import annotations

import structlog

from denoagents._native.runtime import Cell, CellState
from denoagents.actor.failure import text_of
from denoagents.actor.family import Family, Renewal
from denoagents.actor.lives import Lives
from denoagents.actor.supervision import (
    DIRECTIVES,
    ROOT_SUPERVISION,
    Directive,
    RestartWindow,
    Supervision,
)
from denoagents.errors import ActorStoppedError

log = structlog.get_logger("denoagents.actor")


class Recovery(Lives):
    """Restarts, stops and escalates, as the parents' rules say."""

    def _supervision(self, cell: Cell) -> Supervision:
        family = cell.family
        if family is None or family.parent is None:
            return ROOT_SUPERVISION
        rules: Supervision = family.parent.type.cls.supervision
        return rules

    def _decide(self, cell: Cell, error: BaseException) -> Directive:
        try:
            directive = self._supervision(cell).decide(error)
        except Exception as fault:
            self.log.note("a decider raised; the actor is restarted", cell.address, "", fault)
            return "restart"
        if directive not in DIRECTIVES:
            wrong = ValueError(f"{directive!r} is no directive")
            self.log.note("a decider was wrong; the actor is restarted", cell.address, "", wrong)
            return "restart"
        return directive

    def _apply(self, cell: Cell, directive: Directive, error: BaseException) -> None:
        if directive == "stop" or cell.state >= CellState.STOPPING:
            self._end(cell, ActorStoppedError(f"{cell.address} was stopped after {text_of(error)}"))
        elif directive == "escalate":
            self._escalate(cell, error)
        else:
            self._restart(cell, error)

    # --- restarts -----------------------------------------------------------------------------

    def _restart(self, cell: Cell, error: BaseException) -> None:
        rules = self._supervision(cell)
        wait_s = self._window(cell, rules).restart(self.runtime.clock.now_ns())
        group = self._group(cell, rules)
        if wait_s is None:
            self._too_many(cell, group, rules, error)
            return
        self.restarts += len(group)
        log.info(
            "restart",
            actor=cell.address,
            error=text_of(error),
            wait_s=wait_s,
            with_it=len(group) - 1,
        )
        renewal = Renewal(group, wait_s)
        for one in reversed(group):
            self._interrupt(one, renewal, is_over=one is cell)
        if not renewal.busy:
            self._renew(renewal)

    def _window(self, cell: Cell, rules: Supervision) -> RestartWindow:
        family = self.family_of(cell)
        if family.parent is None or rules.strategy == "one_for_one":
            family.window = family.window or RestartWindow(rules)
            return family.window
        parent: Family = family.parent.family
        parent.children_window = parent.children_window or RestartWindow(rules)
        return parent.children_window

    def _group(self, cell: Cell, rules: Supervision) -> tuple[Cell, ...]:
        """Who is restarted, in the order in which they were made."""
        parent = self.family_of(cell).parent
        if parent is None or rules.strategy == "one_for_one":
            return (cell,)
        children = list(parent.family.children.values())
        first = children.index(cell) if rules.strategy == "rest_for_one" and cell in children else 0
        return tuple(
            one for one in children[first:] if one is cell or one.state < CellState.STOPPING
        )

    def _interrupt(self, cell: Cell, renewal: Renewal, *, is_over: bool) -> None:
        """Start no more turns, and cancel the running one; that of who failed is over already."""
        family = self.family_of(cell)
        earlier, family.renewal = family.renewal, renewal
        family.failure = None
        cell.held = True
        if cell.turn is not None and not is_over:
            renewal.busy.add(cell)
            self.runtime.cancel_turn(cell.turn)
        if earlier is not None:
            self._leave(earlier, cell)

    def _leave(self, renewal: Renewal, cell: Cell) -> None:
        if cell in renewal.busy:
            renewal.busy.discard(cell)
            if not renewal.busy:
                self._renew(renewal)

    def _renew(self, renewal: Renewal) -> None:
        """All turns have ended: forget the instances; new ones come after the wait."""
        for cell in renewal.cells:
            family: Family = cell.family
            if family.renewal is not renewal:
                continue
            family.renewal = None
            if cell.state < CellState.STOPPING:
                self._reset(cell)
                family.backoff = self.runtime.loop.call_later(
                    renewal.wait_s, self._backoff_over, cell
                )

    def _backoff_over(self, cell: Cell) -> None:
        cell.family.backoff = None
        self._resume(cell)

    def _too_many(
        self, cell: Cell, group: tuple[Cell, ...], rules: Supervision, error: BaseException
    ) -> None:
        reason = (
            f"{cell.address} was restarted more than {rules.intensity} times in "
            f"{rules.within_s:g} s; the last error was {text_of(error)}"
        )
        log.warning("too many restarts", actor=cell.address, reason=reason, then=rules.beyond)
        if rules.beyond == "escalate":
            self._escalate(cell, error)
            return
        for one in reversed(group):
            self._stop_now(one, ActorStoppedError(reason))

    # --- escalation ---------------------------------------------------------------------------

    def _escalate(self, cell: Cell, error: BaseException) -> None:
        """The parent fails with the error of its child; until that is decided the child waits."""
        parent = self.family_of(cell).parent
        if parent is None:
            self._restart(cell, error)
            return
        cell.held = True
        if parent.state >= CellState.STOPPING:
            return  # the child goes with it
        family: Family = parent.family
        if family.is_giving_up or family.is_resetting:
            return
        directive = "restart" if family.parent is None else self._decide(parent, error)
        log.warning("escalated", actor=cell.address, to=parent.address, then=directive)
        if directive == "resume":
            self._resume_with_state(cell)
            return
        family.failure = directive, error
        parent.held = True
        if parent.turn is None:
            self._fail_now(parent)
        else:
            self.runtime.cancel_turn(parent.turn)

    def _resume_with_state(self, cell: Cell) -> None:
        if cell.state == CellState.STARTING:
            self._reset(cell)
        self.runtime.loop.call_soon(self._resume, cell)

    def _fail_now(self, cell: Cell) -> None:
        family: Family = cell.family
        if family.failure is not None:
            failure, family.failure = family.failure, None
            self._give_up(cell, *failure)

    def _turn_gave_way(self, cell: Cell) -> None:
        family: Family = cell.family
        if family.renewal is not None:
            self._leave(family.renewal, cell)
        elif cell.state < CellState.STOPPING:
            self._fail_now(cell)
