"""Who watches whom: a watcher is told once when the life of an actor that it watches has ended.

Rules:
    A watch ends with its notice, with `unwatch`, and with the watcher's own life (end or restart).
    An actor's life ends when it is stopped, or dies with its process; not when it is restarted,
    passivated or moved. A root actor's next message begins another life, which nobody watches yet.
    Both sides' records move with their actors. A notice that comes before the record of its
    watcher has arrived waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final, Protocol

import structlog

EARLY: Final = 1000
"""Notices that wait for their watcher to arrive here; more are dropped, the oldest first."""

log = structlog.get_logger("denoagents.actor")


class Elsewhere(Protocol):
    """What the watches of one process ask of the fleet."""

    def watch(self, target: str, watcher: str) -> None:
        """Tell the process of `target` that `watcher`, which lives here, watches it."""

    def unwatch(self, target: str, watcher: str) -> None:
        """Take that back."""

    def terminated(self, target: str, watcher: str, reason: str) -> None:
        """Tell the process of `watcher` that the life of `target` has ended."""


class Watches:
    """The watches of the actors in one process, on both sides."""

    def __init__(self, notify: Callable[[str, str, str], None]) -> None:
        """`notify(watcher, target, reason)` sends a watcher, which lives here, its message."""
        self._notify = notify
        self.elsewhere: Elsewhere | None = None
        self.watchers: dict[str, dict[str, None]] = {}
        """Target that lives here -> its watchers, wherever they live."""
        self.watched: dict[str, dict[str, int]] = {}
        """Watcher that lives here -> its targets, each with the incarnation that has it (0: ?)."""
        self._early: dict[tuple[str, str], str] = {}
        self._waiting: dict[tuple[str, str], asyncio.Future[None]] = {}

    # --- the watcher's side -------------------------------------------------------------------

    def watch(self, watcher: str, target: str, holder: int = 0) -> bool:
        """Begin to watch; false when it is watched already."""
        targets = self.watched.setdefault(watcher, {})
        if target in targets:
            return False
        targets[target] = holder
        return True

    def known(self, watcher: str, target: str) -> asyncio.Future[None]:
        """Done when the process of the target knows of the watch, or the watch is over."""
        waiting = self._waiting.get((watcher, target))
        if waiting is None or waiting.done():
            waiting = asyncio.get_running_loop().create_future()
            self._waiting[watcher, target] = waiting
        return waiting

    def _let_go(self, watcher: str, target: str) -> None:
        waiting = self._waiting.pop((watcher, target), None)
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    def unwatch(self, watcher: str, target: str) -> None:
        """Watch no longer: a notice that comes later is dropped."""
        targets = self.watched.get(watcher, {})
        if targets.pop(target, None) is not None:
            self._tell_unwatched(target, watcher)
        self._let_go(watcher, target)
        if not targets:
            self.watched.pop(watcher, None)

    def forget_watcher(self, watcher: str) -> None:
        """The watcher's life has ended."""
        for target in self.watched.pop(watcher, {}):
            self._let_go(watcher, target)
            self._tell_unwatched(target, watcher)

    def _tell_unwatched(self, target: str, watcher: str) -> None:
        self.discard(target, watcher)
        if self.elsewhere is not None:
            self.elsewhere.unwatch(target, watcher)

    def terminated(self, target: str, watcher: str, reason: str) -> bool:
        """Give a watcher its notice, once; false when it does not watch from here."""
        targets = self.watched.get(watcher, {})
        if target not in targets:
            return False
        del targets[target]
        if not targets:
            del self.watched[watcher]
        self._let_go(watcher, target)
        self._notify(watcher, target, reason)
        return True

    def held_by(self, target: str, watcher: str, incarnation: int) -> None:
        """Who has the target, as far as this process knows."""
        targets = self.watched.get(watcher, {})
        if target in targets:
            targets[target] = incarnation

    def confirmed(self, target: str, watcher: str, incarnation: int) -> None:
        """The process that has the target has the watch as well."""
        self.held_by(target, watcher, incarnation)
        self._let_go(watcher, target)

    def came_early(self, target: str, watcher: str, reason: str) -> None:
        """A notice for a watcher that is on its way here."""
        self._early[target, watcher] = reason
        while len(self._early) > EARLY:
            del self._early[next(iter(self._early))]

    # --- the target's side --------------------------------------------------------------------

    def add(self, target: str, watcher: str) -> None:
        """`watcher` watches `target`, which lives here."""
        self.watchers.setdefault(target, {})[watcher] = None

    def discard(self, target: str, watcher: str) -> None:
        """It does not any more."""
        watchers = self.watchers.get(target, {})
        watchers.pop(watcher, None)
        if not watchers:
            self.watchers.pop(target, None)

    def ended(self, address: str, reason: str) -> None:
        """The life of an actor here has ended."""
        self.forget_watcher(address)
        for watcher in self.watchers.pop(address, {}):
            if not self.terminated(address, watcher, reason) and self.elsewhere is not None:
                self.elsewhere.terminated(address, watcher, reason)

    def close(self) -> None:
        """The process ends: others hear of it by the version that buries it."""
        self.watchers.clear()
        for watcher, target in tuple(self._waiting):
            self._let_go(watcher, target)
        self.watched.clear()

    # --- hand-over ----------------------------------------------------------------------------

    def __bool__(self) -> bool:
        return bool(self.watchers or self.watched)

    def addresses(self) -> Iterable[str]:
        """The actors here that watch or are watched."""
        return {*self.watchers, *self.watched}

    def take_out(self, address: str) -> tuple[list[str], list[tuple[str, int]]]:
        """The watchers and the targets of an actor that moves."""
        targets = self.watched.pop(address, {})
        for target in targets:
            self._let_go(address, target)
        return list(self.watchers.pop(address, {})), list(targets.items())

    def put_in(
        self, address: str, watchers: Iterable[str], targets: Iterable[tuple[str, int]]
    ) -> None:
        """Those of an actor that has arrived."""
        for watcher in watchers:
            self.add(address, watcher)
        for target, holder in targets:
            self.watch(address, target, holder)
            reason = self._early.pop((target, address), None)
            if reason is not None:
                self.terminated(target, address, reason)
