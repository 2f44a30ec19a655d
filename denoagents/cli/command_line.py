"""The `denoagents` command: finds the command that was typed, and turns every error into one line.

Rules: nothing heavier than click is imported here; exit codes and `-o json` are API.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

import click

from denoagents.cli.failure import ExitCode, report, report_usage

SECTIONS: Final[dict[str, dict[str, str]]] = {
    "Start": {
        "new": "Make a first app with its test.",
        "up": "Run a broker and workers on this machine.",
        "broker": "Run a broker.",
        "worker": "Run one worker, which hosts the actors of an app.",
    },
    "Look": {
        "status": "Show how the fleet is: nodes, traffic, what needs attention.",
        "get": "List nodes, actors, links, pools or types.",
        "describe": "Show everything about one actor, node or type.",
        "spill": "Look into what a node has put on the disk; verify it.",
        "doctor": "Examine this machine and the fleet; exit 1 when something is wrong.",
    },
    "Act": {
        "ask": "Call a method of an actor and print its reply.",
        "tell": "Send a message to an actor, without waiting for a reply.",
        "set": "Change a running fleet: set pool/NAME weight.WORKER=3.",
        "drain": "Let a node hand over its actors and leave.",
        "dlq": "Look at messages that were given up; replay or purge them.",
        "store": "Back up, restore, verify, prune or delete what durable actors keep.",
    },
    "Measure": {
        "demo": "Watch a fleet answer questions about Python's library, and survive a kill.",
        "bench": "Measure the framework on this machine.",
    },
    "Configure": {
        "keys": "Make, allow, revoke keys; invite workers of other machines.",
        "config": "Show every setting and where it came from; check a file.",
        "completion": "Print the completion script for a shell.",
    },
}
"""Every command and its line of help, so that `--help` loads no command."""

COMMANDS: Final = {name: line for section in SECTIONS.values() for name, line in section.items()}


class CommandLine(click.Group):
    """A group whose commands live in `denoagents.cli.NAME` and are imported when called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        cmd_name: str,
    ) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"denoagents.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        formatter: click.HelpFormatter,
    ) -> None:
        for title, commands in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl(list(commands.items()), col_max=16)


def print_version(ctx: click.Context, _: click.Parameter, asked: bool) -> None:
    """Print the version and end; the package's records are read only when asked."""
    if asked and not ctx.resilient_parsing:
        from importlib.metadata import PackageNotFoundError, version

        try:
            number = version("denoagents")
        except PackageNotFoundError:
            number = "(run from its source, not installed)"
        click.echo(f"denoagents {number}")
        ctx.exit(0)


@click.group(
    cls=CommandLine,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 ok, 1 verdict failed, 2 usage, 3 unreachable, 4 not found, 5 refused.",
)
@click.option("--traceback", is_flag=True, help="Show where an internal error came from.")
@click.option("--version", is_flag=True, callback=print_version, expose_value=False, is_eager=True)
def command_line(traceback: bool) -> None:
    """Fleets of LLM agents as actors.

    Start with `denoagents demo`, or with `denoagents new hello`.
    """


def run(arguments: Sequence[str]) -> int:
    """Run one command; returns the exit code, having printed what went wrong."""
    as_json = wants_json(arguments)
    try:
        code = command_line.main(list(arguments), "denoagents", standalone_mode=False)
        sys.stdout.flush()
    except click.Abort:
        return ExitCode.INTERRUPTED
    except click.ClickException as error:
        return report_usage(error, as_json)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.OK
    except Exception as error:
        if "--traceback" in arguments:
            raise
        return report(error, as_json)
    return code if isinstance(code, int) else ExitCode.OK


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether errors are for a machine; asked of the raw words, as parsing may be what failed."""
    pairs = zip(arguments, [*arguments[1:], ""], strict=False)
    return any(
        word in ("-ojson", "-o=json", "--output=json")
        or (word in ("-o", "--output") and value == "json")
        for word, value in pairs
    )


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """The entry point: run and exit; Ctrl-C anywhere ends it without a traceback."""
    try:
        code = run(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
    sys.exit(int(code))
