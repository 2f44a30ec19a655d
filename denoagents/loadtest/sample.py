"""One measured stretch of a workload, and the row that a bench prints for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from denoagents._native.histogram import Histogram

Row = dict[str, object]


@dataclass(slots=True)
class Sample:
    """What happened in a stretch of time; stretches of one workload add up."""

    n: int = 0
    """Messages handled (counted at the receiver), requests answered, or things made."""
    seconds: float = 0.0
    latency: Histogram = field(default_factory=Histogram)
    figures: dict[str, float] = field(default_factory=dict)
    """More that one workload has to tell."""

    def add(self, other: Sample) -> None:
        self.n += other.n
        self.seconds += other.seconds
        self.latency.merge(other.latency)
        self.figures.update(other.figures)

    @property
    def rate_per_s(self) -> float:
        return self.n / self.seconds if self.seconds else 0.0

    def latency_us(self, quantile: float) -> float:
        return round(self.latency.quantile(quantile) / 1000, 2)


def row(workload: str, sample: Sample) -> Row:
    """The columns that every workload has, then its own."""
    return {
        "workload": workload,
        "n": sample.n,
        "rate_per_s": round(sample.rate_per_s, 1),
        "p50_us": sample.latency_us(0.5),
        "p95_us": sample.latency_us(0.95),
        "p99_us": sample.latency_us(0.99),
        "max_us": sample.latency_us(1.0),
        **{name: round(value, 3) for name, value in sample.figures.items()},
    }


def compared(own: Row, peer: str, theirs: Row) -> Row:
    """A row with a peer's figures beside it, and the ratios of ours to theirs."""
    columns: Mapping[str, object] = {
        f"peer_{name}": theirs[name] for name in ("rate_per_s", "p50_us")
    }
    return {
        **own,
        "peer": peer,
        **columns,
        "rate_ratio": ratio(own["rate_per_s"], theirs["rate_per_s"]),
        "p50_ratio": ratio(own["p50_us"], theirs["p50_us"]),
    }


def ratio(ours: object, theirs: object) -> float | None:
    """Ours divided by theirs, None where theirs is nothing."""
    assert isinstance(ours, int | float)
    assert isinstance(theirs, int | float)
    return round(ours / theirs, 3) if theirs else None
