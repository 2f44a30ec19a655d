"""What most commands share: configuration flags, the broker's address, and the form of output."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from denoagents.config.load import Config, load

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Invocation:
    """One use of a command: its configuration, and whom its output is for."""

    config: Config
    as_json: bool = False
    flags: tuple[str, ...] = ()
    """The same configuration as flags, for child processes (which may run in another folder)."""

    @property
    def broker(self) -> str:
        """Where the broker is."""
        return str(self.config["broker.address"])

    @property
    def store(self) -> Path | None:
        """Where a broker keeps its records, if anywhere."""
        text = str(self.config["broker.store"])
        return Path(text) if text else None


def configured(
    function: Callable[..., Any], default_profile: str = "default"
) -> Callable[..., Any]:
    """Give a command `--config`, `--profile` and `--set`; it is called with an `Invocation`."""

    @functools.wraps(function)
    def call(
        config_file: Path | None,
        profile: str | None,
        assignments: tuple[str, ...],
        broker: str | None = None,
        keys: Path | None = None,
        output: str = "table",
        **others: Any,
    ) -> Any:
        if keys is not None:
            assignments = (*assignments, f"security.keys={keys.resolve()}")
        flags = [*assignments, *([f"broker.address={broker}"] if broker else [])]
        config = load(file=config_file, profile=profile, usual_profile=default_profile, flags=flags)
        invocation = Invocation(config, output == "json", _words_of(config, assignments))
        return function(invocation, **others)

    for option in (
        click.option(
            "--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Set a config key."
        ),
        click.option(
            "--keys", type=click.Path(path_type=Path), help="The keys folder (security.keys)."
        ),
        click.option("--profile", metavar="NAME", help="default, open (no limits) or wan."),
        click.option(
            "--config", "config_file", type=click.Path(path_type=Path), help="A TOML file."
        ),
    ):
        call = option(call)
    return call


def _words_of(config: Config, assignments: Iterable[str]) -> tuple[str, ...]:
    file = ("--config", str(config.file.resolve())) if config.file else ()
    values = (word for one in assignments for word in ("--set", one))
    return (*file, "--profile", config.profile, *values)


def output_option(function: F) -> F:
    """`-o json`: for machines."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(["table", "json"]),
        default="table",
        help="A table for people, JSON for machines.",
    )(function)


def broker_option(function: F) -> F:
    """`--broker tcp://HOST:PORT`: sets `broker.address`."""
    return click.option(
        "--broker", metavar="ADDRESS", help="The broker's address (key broker.address)."
    )(function)
