"""Reads one value of the configuration, and shows it again in human units.

Rules: what `show` writes, `parse` reads as the same value. Every failure is a `ConfigurationError`
that names value, rule and remedy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final

from denoagents.config.key import Key, Kind
from denoagents.errors import ConfigurationError, nearest
from denoagents.units import Bytes, Duration, Rate

Value = Bytes | Duration | Rate | float | int | bool | str | tuple[str, ...]

SWITCH: Final[Mapping[str, bool]] = {
    "on": True, "true": True, "yes": True, "off": False, "false": False, "no": False,
}  # fmt: skip


def parse(key: Key, raw: Any) -> Value:
    """The value that `raw` (text, or what TOML made of it) means for `key`."""
    if isinstance(raw, str) and key.kind != "text":
        raw = raw.strip().removeprefix("<").strip()  # the plan writes bounds as "<50ms"
    value = _PARSERS[key.kind](key, raw)
    if key.least and _size(value) < key.least:
        raise _wrong(raw, f"it must be at least {_least(key)}")
    return value


def show(key: Key, value: Value) -> str:
    """The value as people write it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return ", ".join(value)
    if key.kind == "percent":
        return f"{float(value) * 100:.10g}%"  # type: ignore[arg-type]
    return str(value)


def _bytes(_: Key, raw: Any) -> Value:
    if not isinstance(raw, str | int) or isinstance(raw, bool):
        raise _wrong(raw, 'a size is a text such as "50MB", or a whole number of bytes')
    return Bytes.parse(raw)


def _duration(_: Key, raw: Any) -> Value:
    if not isinstance(raw, str | int | float) or isinstance(raw, bool):
        raise _wrong(raw, 'a duration is a text such as "30s", or a number of seconds')
    return Duration.parse(raw)


def _rate(_: Key, raw: Any) -> Value:
    bare = isinstance(raw, int) or (isinstance(raw, str) and raw.isdecimal())
    rate = Rate.parse(f"{raw}/s" if bare else raw)
    if rate.is_bytes:
        raise _wrong(raw, 'this is a rate of things, not of bytes; write for example "1000/s"')
    return rate


def _byte_rate(_: Key, raw: Any) -> Value:
    rate = Rate.parse(raw)
    if not rate.is_bytes:
        raise _wrong(raw, 'this is a rate of bytes; write for example "10MB/s"')
    return rate


def _percent(_: Key, raw: Any) -> Value:
    rule = 'a share is a number from 0 to 100 and %; write for example "75%"'
    if not isinstance(raw, str) or not raw.endswith("%"):
        raise _wrong(raw, rule)
    try:
        hundredths = Decimal(raw.removesuffix("%"))
        if 0 <= hundredths <= 100:
            return float(hundredths / 100)  # decimal, so that 99.9% is 0.999
    except ArithmeticError:
        pass
    raise _wrong(raw, rule)


def _count(_: Key, raw: Any) -> Value:
    rule = "a count is a whole number; write for example 100"
    if isinstance(raw, str) and raw.replace("_", "").isdecimal():
        raw = int(raw)
    if not isinstance(raw, int) or isinstance(raw, bool) or not 0 <= raw < 2**63:
        raise _wrong(raw, rule)
    return raw


def _switch(_: Key, raw: Any) -> Value:
    if isinstance(raw, bool):
        return raw
    value = SWITCH.get(raw.lower()) if isinstance(raw, str) else None
    if value is None:
        raise _wrong(raw, "a switch is on or off")
    return value


def _text(_: Key, raw: Any) -> Value:
    if not isinstance(raw, str):
        raise _wrong(raw, "this is a text; put it in quotes")
    return raw


def _choice(key: Key, raw: Any) -> Value:
    if isinstance(raw, bool):  # TOML's true, for the choice "on"
        raw = "on" if raw else "off"
    found = _by_spelling(key).get(_spelling(raw)) if isinstance(raw, str) else None
    if found is None:
        raise _wrong(raw, f"it is one of {', '.join(key.choices)}.{nearest(str(raw), key.choices)}")
    return found


def _list(key: Key, raw: Any) -> Value:
    items = raw.split(",") if isinstance(raw, str) else raw
    if not isinstance(items, list | tuple):
        raise _wrong(raw, 'a list is written as ["a", "b"], or as "a, b"')
    return tuple(str(_choice(key, item)) for item in items)


_PARSERS: Final[Mapping[Kind, Callable[[Key, Any], Value]]] = {
    "bytes": _bytes,
    "duration": _duration,
    "rate": _rate,
    "byte_rate": _byte_rate,
    "percent": _percent,
    "count": _count,
    "switch": _switch,
    "text": _text,
    "choice": _choice,
    "list": _list,
}


def _by_spelling(key: Key) -> dict[str, str]:
    return {_spelling(choice): choice for choice in key.choices}


def _spelling(text: str) -> str:
    """In-memory, in_memory and "in memory" are one word."""
    return text.strip().lower().replace("-", "_").replace(" ", "_")


def _size(value: Value) -> float:
    if isinstance(value, Duration):
        return value.ns
    if isinstance(value, Rate):
        return value.amount
    return float(value) if isinstance(value, int | float) else 0.0


def _least(key: Key) -> str:
    return str(Duration.of_ns(key.least)) if key.kind == "duration" else str(key.least)


def _wrong(raw: Any, rule: str) -> ConfigurationError:
    return ConfigurationError(f"{raw!r} cannot be used: {rule}")
