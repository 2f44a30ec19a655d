"""Watches between processes: finds the process of a target, and hears of the deaths of workers.

Rules:
    Control messages follow actors: who gets one for an actor that has moved sends it on.
    When the placement version arrives that buries the incarnation which had a target, the present
    owner of its slot is asked: if the target (with its watch) has moved there, the watch goes on;
    if not, it died with its worker.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from denoagents._native.router import Router
from denoagents.actor.watching import Watches
from denoagents.cluster.messages import Message, Terminated, Watch, Watched
from denoagents.errors import DenoagentsError
from denoagents.node.handover import root_of

MOST_HOPS: Final = 8
"""An actor does not move more often while one message follows it."""


class FleetWatches:
    """The watches of one node whose other end lives elsewhere."""

    def __init__(
        self, watches: Watches, router: Router, me: int, send: Callable[[int, Message], None]
    ) -> None:
        self._watches, self._router, self._me, self._send = watches, router, me, send
        self._over: dict[int, str] = {}
        self._asked: dict[tuple[str, str], Watch] = {}
        watches.elsewhere = self

    # --- what actors here do ------------------------------------------------------------------

    def watch(self, target: str, watcher: str) -> None:
        """Tell the process of `target`; if nobody has it yet, the next version says who."""
        self._watches.held_by(target, watcher, self._to(target, Watch(target, watcher)))

    def unwatch(self, target: str, watcher: str) -> None:
        """Take it back."""
        self._to(target, Watch(target, watcher, ends=True))

    def terminated(self, target: str, watcher: str, reason: str) -> None:
        """A target here has ended."""
        self._to(watcher, Terminated(target, watcher, reason))

    # --- what other members say ---------------------------------------------------------------

    def on_watch(self, message: Watch) -> None:
        """Somebody watches an actor that should be here."""
        target, watcher = message.target, message.watcher
        if not self._router.is_here(target):
            self._pass_on(target, message)
        elif message.ends:
            self._watches.discard(target, watcher)
        elif not self._is_active(target):
            self._asked[target, watcher] = message
        elif watcher in self._watches.watchers.get(target, ()):
            self._confirm(target, watcher)
        elif message.died:
            self.terminated(target, watcher, message.died)
        elif target.count("/") > 1 and target not in self._router.runtime.cells:
            self.terminated(target, watcher, f"{target} does not live")
        else:
            self._watches.add(target, watcher)
            self._confirm(target, watcher)

    def on_watched(self, sender: int, message: Watched) -> None:
        """A member has a target, and the watch."""
        self._watches.confirmed(message.target, message.watcher, sender)

    def on_terminated(self, message: Terminated) -> None:
        """The life of a target has ended."""
        target, watcher, reason = message.target, message.watcher, message.reason
        if self._watches.terminated(target, watcher, reason):
            return
        if not self._router.is_here(watcher):
            self._pass_on(watcher, message)
        elif not self._is_active(watcher):
            self._watches.came_early(target, watcher, reason)

    # --- placement ----------------------------------------------------------------------------

    def over(self, incarnation: int, reason: str) -> None:
        """A member's incarnation is over; `on_version` follows."""
        self._over[incarnation] = reason

    def on_version(self) -> None:
        """Another version is in force: some targets may have died, others have found a place."""
        over, self._over = self._over, {}
        for watcher, targets in list(self._watches.watched.items()):
            for target, holder in list(targets.items()):
                if holder in over and "/~" in target:
                    self._watches.terminated(target, watcher, over[holder])
                elif holder in over:
                    self._ask(Watch(target, watcher, died=over[holder]))
                elif holder == 0:
                    self.watch(target, watcher)
        self.on_active()

    def on_active(self) -> None:
        """Slots have become active here: answer what was asked about their actors."""
        asked, self._asked = self._asked, {}
        for message in asked.values():
            self._ask(message)

    def arrived(self, target: str) -> None:
        """A watched actor begins here."""
        for watcher in self._watches.watchers.get(target, ()):
            self._confirm(target, watcher)

    # --- ways ---------------------------------------------------------------------------------

    def _ask(self, message: Watch) -> None:
        if self._router.is_here(message.target):
            self.on_watch(message)
        elif not self._to(message.target, message):
            self._asked[message.target, message.watcher] = message

    def _confirm(self, target: str, watcher: str) -> None:
        if watcher in self._watches.watched:
            self._watches.confirmed(target, watcher, self._me)
        else:
            self._to(watcher, Watched(target, watcher))

    def _pass_on(self, address: str, message: Watch | Terminated) -> None:
        if message.hops < MOST_HOPS:
            self._to(address, message.once_more())

    def _to(self, address: str, message: Watch | Watched | Terminated) -> int:
        """Send to the process of an actor; which incarnation that is, 0 when nobody has it now."""
        try:
            destination = self._router.destination(address)
        except DenoagentsError:
            return 0
        if destination is self._router.here:
            return self._here(message)
        incarnation = int(getattr(destination, "incarnation", 0))
        if incarnation:
            self._send(incarnation, message)
        return incarnation

    def _here(self, message: Watch | Watched | Terminated) -> int:
        if isinstance(message, Watch):
            self.on_watch(message)
        elif isinstance(message, Watched):
            self.on_watched(self._me, message)
        else:
            self.on_terminated(message)
        return self._me

    def _is_active(self, address: str) -> bool:
        table = self._router.tables.get(address.partition("/")[0])
        if table is None or "/~" in address:
            return True
        slot = self._router.slot_at(address)
        is_running = bool(table.active[slot] or table.leaving[slot])
        return is_running and root_of(address) not in self._router.lingering
