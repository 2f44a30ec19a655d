"""CPU time and memory of processes, read from outside."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass

import psutil

MB = 1_000_000


@dataclass(slots=True)
class _Usage:
    process: psutil.Process
    begin_cpu_s: float
    cpu_s: float = 0.0
    rss_bytes: int = 0


class Footprint:
    """Samples named processes; one that ends keeps what it was last seen with."""

    def __init__(self) -> None:
        self._usages: dict[str, _Usage] = {}

    def watch(self, processes: Mapping[str, int]) -> None:
        """Begin with these process ids; CPU time counts from now."""
        for name, pid in processes.items():
            with contextlib.suppress(psutil.Error):
                process = psutil.Process(pid)
                self._usages[name] = _Usage(process, cpu_seconds(process))

    def sample(self) -> None:
        """Read all that still run."""
        for usage in self._usages.values():
            with contextlib.suppress(psutil.Error):
                usage.cpu_s = cpu_seconds(usage.process) - usage.begin_cpu_s
                usage.rss_bytes = max(usage.rss_bytes, usage.process.memory_info().rss)

    def cpu_share(self, seconds: float) -> dict[str, float]:
        """Share of one core, by process."""
        return {name: usage.cpu_s / seconds for name, usage in self._usages.items()}

    def machine_share(self, seconds: float) -> float:
        """Share of all cores of this machine, all processes together."""
        return sum(self.cpu_share(seconds).values()) / (os.cpu_count() or 1)

    def rss_mb(self) -> dict[str, float]:
        """Highest resident memory seen, by process."""
        return {name: usage.rss_bytes / MB for name, usage in self._usages.items()}


def cpu_seconds(process: psutil.Process) -> float:
    """User and system time of one process so far."""
    times = process.cpu_times()
    return float(times.user + times.system)


def resident_bytes(pid: int) -> int:
    """Resident memory of a process."""
    return int(psutil.Process(pid).memory_info().rss)
