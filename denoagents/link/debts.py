"""Acknowledgements that are owed: with a reply if there is one, else soon.

Rules: every drain of a socket ends in `settle`. What a reply of that drain carried is paid. What is
much is paid at once, the rest after a few milliseconds, by one timer for all links.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from denoagents.link.session import Session
from denoagents.link.settings import LinkSettings


class Debtor(Protocol):
    """A link, as far as acknowledgements go."""

    session: Session
    is_touched: bool

    def acknowledge(self) -> None:
        """Send an acknowledgement on its own."""


class Debts:
    """Who owes acknowledgements."""

    def __init__(self, settings: LinkSettings, drained: Callable[[], None]) -> None:
        self.touched: list[Debtor] = []
        """Who accepted something since the last `settle`, each once."""
        self._owing: dict[Debtor, None] = {}
        self._drained = drained
        self._timer: asyncio.TimerHandle | None = None
        self._delay_s = settings.ack_delay_s
        self._many_batches = settings.ack_batches
        self._many_bytes = settings.window_bytes // 16

    def settle(self) -> None:
        """After a drain: let the node act, then see what no reply has acknowledged."""
        self._drained()
        if not self.touched:
            return
        touched, self.touched = self.touched, []
        for link in touched:
            link.is_touched = False
            session = link.session
            if session.owed >= self._many_batches or session.owed_bytes > self._many_bytes:
                link.acknowledge()
            elif session.owed:
                self._owing[link] = None
        if self._owing and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._delay_s, self.pay)

    def pay(self) -> None:
        """Acknowledge everything that is owed."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        owing, self._owing = self._owing, {}
        for link in owing:
            if link.session.owed:
                link.acknowledge()

    def close(self) -> None:
        """Pay for the last time."""
        self.pay()
        self.touched.clear()
