"""The kit for testing fleets, imported when first used; no product code imports it."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from denoagents.testing.cluster import Cluster as Cluster
    from denoagents.testing.fleet import NodeGoneError as NodeGoneError
    from denoagents.testing.fleet import SimulatedFleet as SimulatedFleet
    from denoagents.testing.probe import Probe as Probe
    from denoagents.testing.probe import Seen as Seen
    from denoagents.testing.story import Ending as Ending
    from denoagents.testing.story import RuleBrokenError as RuleBrokenError
    from denoagents.testing.story import simulate as simulate

_HOMES = {
    "Cluster": "cluster",
    "Ending": "story",
    "NodeGoneError": "fleet",
    "Probe": "probe",
    "RuleBrokenError": "story",
    "Seen": "probe",
    "SimulatedFleet": "fleet",
    "simulate": "story",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
