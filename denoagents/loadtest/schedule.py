"""When requests are due: times drawn before the run begins, which no slow reply can shift."""

from __future__ import annotations

import random
from array import array
from typing import Literal

Arrivals = Literal["poisson", "fixed"]
NS_PER_S = 1_000_000_000


def plan_schedule(arrivals: Arrivals, rate_per_s: float, seconds: float, seed: int) -> array[int]:
    """Offsets in ns from the beginning, in order; exactly `rate_per_s * seconds` of them.

    Poisson arrivals are drawn given their number (then they are independent and uniform), so that
    the offered rate is exact and only the gaps are left to chance.
    """
    count = round(rate_per_s * seconds)
    span_ns = round(seconds * NS_PER_S)
    if arrivals == "fixed":
        return array("q", (number * span_ns // max(1, count) for number in range(count)))
    draw = random.Random(seed)
    return array("q", sorted(draw.randrange(span_ns) for _ in range(count)))
