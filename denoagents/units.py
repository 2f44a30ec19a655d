"""Quantities as people write them: "50MB", "30s", "3500/minute", and back to the shortest text.

Rules: text carries its unit; a bare number is bytes or seconds. Parsing and formatting are exact:
what `str` writes, `parse` reads as the same value. Wrong text is a `ConfigurationError` that names
value, rule and remedy.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Self

from denoagents.errors import ConfigurationError, nearest

BYTE_UNITS: Final = {
    "B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40,
}  # fmt: skip
TIME_UNITS: Final = {
    "ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9,
    "m": 60 * 10**9, "h": 3600 * 10**9, "d": 86400 * 10**9,
}  # fmt: skip
PERIODS: Final = {"s": 1, "minute": 60, "hour": 3600, "day": 86400}

_BYTE_NAMES: Final = {name.lower(): size for name, size in BYTE_UNITS.items()}
_TIME_NAMES: Final = TIME_UNITS | {
    "µs": 10**3, "μs": 10**3, "sec": 10**9, "second": 10**9, "seconds": 10**9,
    "min": 60 * 10**9, "minute": 60 * 10**9, "minutes": 60 * 10**9,
    "hour": 3600 * 10**9, "hours": 3600 * 10**9, "day": 86400 * 10**9, "days": 86400 * 10**9,
}  # fmt: skip
_PERIOD_NAMES: Final = PERIODS | {
    "sec": 1, "second": 1, "min": 60, "m": 60, "h": 3600, "d": 86400,
}  # fmt: skip

_NUMBER: Final = r"(\d{1,19}(?:_\d{1,19}){0,6}(?:\.\d{1,12})?)"
_QUANTITY: Final = re.compile(rf"\s*{_NUMBER}\s*([A-Za-zµμ]{{1,8}})\s*")
_BARE: Final = re.compile(rf"\s*{_NUMBER}\s*")
_LARGEST: Final = 2**63 - 1

_BYTES_RULE: Final = (
    'a size is a number and B, kB, MB, GB, TB, KiB, MiB, GiB or TiB; write for example "50MB"'
)
_TIME_RULE: Final = (
    'a duration is a number and ns, us, ms, s, m, h or d; write for example "30s" or "1h30m"'
)
_RATE_RULE: Final = (
    'a rate is a whole number, "/" and s, minute, hour or day; write for example "3500/minute"'
)


class Bytes(int):
    """A size in bytes; `Bytes.parse("50MB")` is 50 000 000, "50MiB" is 52 428 800."""

    @classmethod
    def parse(cls, text: str | int) -> Self:
        """The size that `text` names; a bare number is bytes."""
        if isinstance(text, int):
            return cls(_in_range(int(text), text, _BYTES_RULE))
        exact = _sum_of(text, _BYTE_NAMES, 1, _BYTES_RULE, fold=True)
        if exact.denominator != 1:
            raise _wrong(text, _BYTES_RULE, "it is not a whole number of bytes")
        return cls(_in_range(exact.numerator, text, _BYTES_RULE))

    def __str__(self) -> str:
        return _shortest(int(self), BYTE_UNITS) if self else "0B"

    def __repr__(self) -> str:
        return f"Bytes({int(self)})"


class Duration(float):
    """A length of time in seconds; `Duration.parse("5m")` is 300.0, and `.ns` is exact."""

    __slots__ = ("ns",)
    ns: int
    """The same in whole nanoseconds."""

    def __new__(cls, seconds: float = 0.0) -> Self:
        """Round to the nearest nanosecond."""
        return cls.of_ns(round(seconds * 10**9))

    @classmethod
    def of_ns(cls, ns: int) -> Self:
        """The duration of exactly `ns` nanoseconds."""
        made = super().__new__(cls, ns / 10**9)
        made.ns = ns
        return made

    @classmethod
    def parse(cls, text: str | float) -> Self:
        """The duration that `text` names; a bare number is seconds."""
        if isinstance(text, int | float):
            if isinstance(text, bool) or not 0 <= text < _LARGEST / 10**9:
                raise _wrong(text, _TIME_RULE, "it must be 0 s to 292 years")
            return cls(text)
        exact = _sum_of(text, _TIME_NAMES, 10**9, _TIME_RULE, fold=False)
        if exact.denominator != 1:
            raise _wrong(text, _TIME_RULE, "it is not a whole number of nanoseconds")
        return cls.of_ns(_in_range(exact.numerator, text, _TIME_RULE))

    def __str__(self) -> str:
        return _shortest(self.ns, TIME_UNITS) if self.ns else "0s"

    def __repr__(self) -> str:
        return f"Duration({float(self)!r})"

    def __reduce__(self) -> tuple[object, tuple[int]]:
        return (Duration.of_ns, (self.ns,))


@dataclass(frozen=True, slots=True)
class Rate:
    """So many things (or bytes) in so many seconds: `Rate(3500, per_s=60)`."""

    amount: int
    per_s: int = 1
    is_bytes: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """The rate that `text` names: "1000/s", "3500/minute", "10MB/s"."""
        amount, slash, period = str(text).partition("/")
        if not slash:
            raise _wrong(text, _RATE_RULE)
        per_s = _PERIOD_NAMES.get(period.strip())
        if per_s is None:
            raise _wrong(text, _RATE_RULE, f"{period!r} is no period.{nearest(period, PERIODS)}")
        whole = _BARE.fullmatch(amount)
        if whole is None:
            try:
                return cls(int(Bytes.parse(amount)), per_s, is_bytes=True)
            except ConfigurationError:
                raise _wrong(text, _RATE_RULE) from None
        exact = Fraction(whole[1])
        if exact.denominator != 1:
            raise _wrong(text, _RATE_RULE, "the amount must be whole; choose a longer period")
        return cls(_in_range(exact.numerator, text, _RATE_RULE), per_s)

    @property
    def per_second(self) -> float:
        """How many in one second."""
        return self.amount / self.per_s

    def __str__(self) -> str:
        period = next((name for name, s in PERIODS.items() if s == self.per_s), f"{self.per_s}s")
        return f"{Bytes(self.amount) if self.is_bytes else self.amount}/{period}"


def _wrong(value: object, rule: str, reason: str = "") -> ConfigurationError:
    because = f": {reason}" if reason else ""
    return ConfigurationError(f"{value!r} cannot be used{because}; {rule}")


def _in_range(number: int, value: object, rule: str) -> int:
    if isinstance(value, bool) or not 0 <= number <= _LARGEST:
        raise _wrong(value, rule, f"it must be 0 to {_LARGEST}")
    return number


def _sum_of(text: str, units: dict[str, int], bare: int, rule: str, *, fold: bool) -> Fraction:
    """The sum of the quantities in `text` ("1h30m" has two), in the smallest unit."""
    if len(text) > 200:
        raise _wrong(text[:200], rule, "it is too long")
    if alone := _BARE.fullmatch(text):
        return Fraction(alone[1]) * bare
    total, at = Fraction(0), 0
    while at < len(text):
        part = _QUANTITY.match(text, at)
        if part is None:
            raise _wrong(text, rule)
        name = part[2].lower() if fold else part[2]
        if name not in units:
            raise _wrong(text, rule, f"{part[2]!r} is no unit.{nearest(part[2], units)}")
        total += Fraction(part[1]) * units[name]
        at = part.end()
    if at == 0:
        raise _wrong(text, rule)
    return total


def _shortest(number: int, units: dict[str, int]) -> str:
    """The shortest exact text with one unit and up to three decimals; in a tie the larger unit."""
    texts = []
    for name, size in reversed(units.items()):
        whole, rest = divmod(number * 1000, size)
        if rest == 0:
            digits = f"{whole // 1000}.{whole % 1000:03}".rstrip("0").rstrip(".")
            texts.append(digits + name)
    return min(texts, key=len)
