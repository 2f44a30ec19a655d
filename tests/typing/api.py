"""What a user writes, as mypy must see it; type-checked, never run."""

from typing import assert_type

from denoagents import DenoagentsError, Overloaded, RequestTimeoutError


def outcome(error: Exception) -> float:
    if isinstance(error, Overloaded):
        assert_type(error.retry_after_s, float)
        return error.retry_after_s
    if isinstance(error, RequestTimeoutError):
        caught: TimeoutError = error
        raise caught
    if isinstance(error, DenoagentsError):
        assert_type(error.code, str)
    return 0.0
