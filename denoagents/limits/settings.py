"""What can be set about the admission of external requests."""

from __future__ import annotations

from dataclasses import dataclass

from denoagents.errors import ConfigurationError
from denoagents.units import Rate


@dataclass(frozen=True, slots=True)
class AdmissionSettings:
    """The token bucket and the queue before it, at each node's edge."""

    rate: Rate | None = Rate(1000)  # noqa: RUF009 - frozen, so it may be shared
    """External requests admitted (plan 2.11); None admits everything at once."""

    burst: int = 100
    """External requests admitted at once after a rest (plan 2.11)."""

    weights: tuple[int, int, int] = (8, 4, 1)
    """Shares of high, normal and low among the waiting (plan 2.10)."""

    max_waiting: int = 100_000
    """Requests that may wait; one more is `Overloaded` (1000/s too many for 60 s are 60 000)."""

    def __post_init__(self) -> None:
        """Refuse what cannot work, naming value, rule and remedy."""
        if self.rate is not None and self.rate.amount < 1:
            raise ConfigurationError(f"rate {self.rate} admits nothing; use 1/s or more, or None")
        if self.burst < 1:
            raise ConfigurationError(f"burst {self.burst} admits nothing; use 1 or more")
        if min(self.weights) < 1:
            raise ConfigurationError(
                f"weights {self.weights} would starve a priority; use three numbers of 1 or more"
            )
        if self.max_waiting < 0:
            raise ConfigurationError(f"max_waiting {self.max_waiting} must be 0 or more")
