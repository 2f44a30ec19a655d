"""How errors end a command: one line on stderr (a JSON object with -o json) and an exit code."""

from __future__ import annotations

import json
import sys
from enum import IntEnum
from typing import Final

import click

from denoagents.errors import (
    DenoagentsError,
    JoinRefusedError,
    LinkError,
    NotFoundError,
    RejectedError,
    StoreError,
    UnknownActorTypeError,
    UnknownMethodError,
    UnreachableError,
    UsageError,
)


class ExitCode(IntEnum):
    """What a script may rely on."""

    OK = 0
    FAILED = 1
    """A verdict or a call failed."""
    USAGE = 2
    UNREACHABLE = 3
    NOT_FOUND = 4
    REFUSED = 5
    BLOCKED = 70
    """A worker whose loop was held for too long ended itself (`actor.block_limit`)."""
    INTERRUPTED = 130


class FailedError(DenoagentsError):
    """What was asked for was done, and its result is bad."""

    code = "failed"


CODES: Final[tuple[tuple[type[DenoagentsError], ExitCode], ...]] = (
    (UnreachableError, ExitCode.UNREACHABLE),
    (NotFoundError, ExitCode.NOT_FOUND),
    (UnknownActorTypeError, ExitCode.NOT_FOUND),
    (UnknownMethodError, ExitCode.NOT_FOUND),
    (UsageError, ExitCode.USAGE),
    (RejectedError, ExitCode.REFUSED),
    (JoinRefusedError, ExitCode.REFUSED),
    (LinkError, ExitCode.REFUSED),  # a port in use, another cluster, another version
    (StoreError, ExitCode.REFUSED),
    (DenoagentsError, ExitCode.FAILED),
)
"""The first class that fits decides."""


def exit_code(error: BaseException) -> ExitCode:
    """The exit code for an error."""
    for cls, code in CODES:
        if isinstance(error, cls):
            return code
    return ExitCode.FAILED


def report(error: Exception, as_json: bool) -> int:
    """Print what went wrong; returns the exit code."""
    if isinstance(error, DenoagentsError):
        code, name, facts = exit_code(error), error.code, error.facts()
        message = str(error) or type(error).__name__
    else:
        code, name, facts = ExitCode.FAILED, "internal", {}
        message = f"internal error: {type(error).__name__}: {error} (see it with --traceback)"
    _print_error(name, message, code, facts, as_json)
    return code


def report_usage(error: click.ClickException, as_json: bool) -> int:
    """Print what is wrong with the words typed; returns the exit code."""
    message = error.format_message()
    context = getattr(error, "ctx", None)
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(message, err=True)
        return ExitCode.USAGE
    if context is not None and not as_json:
        message += f" (see {context.command_path} --help)"
    _print_error("usage", message, ExitCode.USAGE, {}, as_json)
    return ExitCode.USAGE


def _print_error(
    name: str, message: str, code: ExitCode, facts: dict[str, object], as_json: bool
) -> None:
    if as_json:
        fields = {"code": name, "message": message, "exit_code": int(code), "facts": facts}
        sys.stderr.write(json.dumps({"error": fields}, default=str) + "\n")
        return
    sys.stderr.write(f"denoagents: {' '.join(message.split())}\n")
    traceback = facts.get("remote_traceback")
    if isinstance(traceback, str) and traceback:
        sys.stderr.write(traceback.rstrip() + "\n")
