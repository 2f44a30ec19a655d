"""One key with its effective value, and where that came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from denoagents.config.key import Key
from denoagents.config.value import Value, parse, show


@dataclass(frozen=True, slots=True)
class Setting:
    """A value in effect."""

    key: Key
    value: Value
    text: str
    """The value in human units, as it was written."""
    origin: str
    """`default`, `profile NAME`, `file PATH`, `environment VARIABLE`, or `flag --set`."""

    @classmethod
    def read(cls, key: Key, raw: Any, origin: str) -> Setting:
        """Parse what a source holds; raises `ConfigurationError`."""
        value = parse(key, raw)
        keeps_words = isinstance(raw, str) and key.kind not in ("choice", "list", "switch")
        return cls(key, value, raw.strip() if keeps_words else show(key, value), origin)
