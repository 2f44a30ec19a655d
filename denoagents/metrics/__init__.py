"""Metrics: counting what happened, exactly, in parts that merge."""

from denoagents._native.histogram import Histogram

__all__ = ["Histogram"]
