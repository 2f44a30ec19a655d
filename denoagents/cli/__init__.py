"""The command line: one file a command, loaded when it is typed."""

from denoagents.cli.command_line import main

__all__ = ["main"]
