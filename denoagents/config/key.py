"""One configuration key: its name, kind, default, and what it means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal[
    "bytes", "duration", "rate", "byte_rate", "percent", "count", "switch", "text", "choice", "list"
]

ON: Final = True
"""Stands in the table for "this version acts on the key"."""


@dataclass(frozen=True, slots=True)
class Key:
    """One line of the configuration table."""

    name: str
    """Dotted and snake_case, in the plan's own grouping: `agent.memory.thresholds.warning`."""

    kind: Kind
    """How its text is read: `count` is a whole number, `list` is several of `choices`."""

    default: str
    """The value nobody has to set, in human units."""

    row: str
    """The row of SPEC that it comes from; "" for a key of our own."""

    meaning: str
    """One sentence for people."""

    in_effect: bool = False
    """Whether this version acts on it; other keys are checked and shown only."""

    choices: tuple[str, ...] = ()
    """What a `choice`, or each item of a `list`, may be."""

    least: int = 0
    """The smallest value allowed, in the canonical unit of the kind."""

    @property
    def section(self) -> str:
        """The first part of the name."""
        return self.name.partition(".")[0]

    @property
    def environment_name(self) -> str:
        """The variable that sets this key: `DENOAGENTS_AGENT__MEMORY__BASELINE`."""
        return "DENOAGENTS_" + self.name.upper().replace(".", "__")
