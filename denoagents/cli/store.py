"""`denoagents store`: backup, restore, verify, prune, delete and show what durable actors keep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from denoagents.cli.failure import FailedError
from denoagents.cli.invocation import Invocation, configured, output_option
from denoagents.errors import UsageError
from denoagents.units import Duration

F = TypeVar("F", bound=Callable[..., Any])

NEVER_S: Final = 10.0**10
"""Longer ago than any actor was touched."""


@click.group("store")
def command() -> None:
    """Keep the file of durable actors in order; all but restore work while workers use it."""


def store_option(function: F) -> F:
    """`--store FILE`: which store."""
    return click.option(
        "--store",
        "path",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="The store's file.  [default: key store.path]",
    )(function)


@command.command("backup")
@click.argument("target", type=click.Path(path_type=Path))
@store_option
@output_option
@configured
def backup_store(invocation: Invocation, *, target: Path, path: Path | None) -> None:
    """Copy the store of this moment to the new file TARGET, and read the copy through."""
    from denoagents.store.state_backup import backup

    store = _path_of(invocation, path)
    found = backup(store, target)
    _print(
        invocation,
        {"store": str(store), "backup": str(target), "actors": found.actors, "rows": found.rows},
        f"{target} holds {found.actors} actors in {found.rows} rows, read through",
    )


@command.command("restore")
@click.argument("source", type=click.Path(path_type=Path))
@store_option
@output_option
@configured
def restore_store(invocation: Invocation, *, source: Path, path: Path | None) -> None:
    """Put the backup SOURCE in the store's place; refused while the store is in use.

    The former file stays beside it, as FILE.replaced.
    """
    from denoagents.store.state_backup import restore

    store = _path_of(invocation, path)
    done = restore(store, source)
    replaced = str(done.replaced) if done.replaced else None
    _print(
        invocation,
        {"store": str(store), "backup": str(source), "actors": done.found.actors,
         "rows": done.found.rows, "replaced": replaced},
        f"{store} holds {done.found.actors} actors again"
        + (f"; what it held before is {replaced}" if replaced else ""),
    )  # fmt: skip


@command.command("verify")
@store_option
@output_option
@configured
def verify_store(invocation: Invocation, *, path: Path | None) -> None:
    """Read every row against its digest; exit code 1 if any is damaged."""
    from denoagents.store.state_inspection import verify

    store = _path_of(invocation, path)
    found = verify(store)
    facts = {"store": str(store), "is_whole": found.is_whole, "actors": found.actors,
             "rows": found.rows, "problems": found.problems, "count": found.count}  # fmt: skip
    said = "\n".join(found.problems) or f"{found.actors} actors in {found.rows} rows are whole"
    _print(invocation, facts, said)
    if not found.is_whole:
        raise FailedError(f"{store}: {found.count} problems; restore a backup, or delete the keys")


@command.command("prune")
@click.option(
    "--untouched",
    metavar="DURATION",
    help="Take out actors untouched for so long.  [default: none]",
)
@click.option(
    "--window", default="7d", show_default=True, metavar="DURATION",
    help="Forget handled messages after so long: a repeat that comes later runs again.",
)  # fmt: skip
@store_option
@output_option
@configured
def prune_store(
    invocation: Invocation, *, untouched: str | None, window: str, path: Path | None
) -> None:
    """Take out what is old; actors with reminders or undelivered messages stay."""
    from denoagents.store.state_store import wall_ms
    from denoagents.store.state_upkeep import prune

    store = _path_of(invocation, path)
    untouched_s = NEVER_S if untouched is None else float(Duration.parse(untouched))
    done = prune(store, untouched_s, float(Duration.parse(window)), wall_ms())
    _print(
        invocation,
        {"store": str(store), **asdict(done)},
        f"took out {done.actors} actors and {done.window_entries} window entries",
    )


@command.command("delete")
@click.argument("address", metavar="TYPE/KEY")
@store_option
@output_option
@configured
def delete_key(invocation: Invocation, *, address: str, path: Path | None) -> None:
    """Erase all data of one key: the actor, its children, and messages to them.

    Backups and snapshots of the disk are not reached. A living actor begins anew.
    """
    from denoagents.address import Address
    from denoagents.store.state_upkeep import delete

    store = _path_of(invocation, path)
    done = delete(store, Address.parse(address).text)
    _print(
        invocation,
        {"store": str(store), **asdict(done)},
        f"erased {', '.join(done.actors) or 'no actor'} and {done.messages} messages"
        + ("" if done.is_erased else "; the log could not be emptied: type it once more"),
    )
    if not done.is_erased:
        raise FailedError(
            f"{store}: a reader kept the log; its old bytes go at the next checkpoint"
        )


@command.command("show")
@click.argument("address", default="", metavar="[TYPE/KEY]")
@store_option
@output_option
@configured
def show_store(invocation: Invocation, *, address: str, path: Path | None) -> None:
    """Show what is kept, or what is kept of one actor; contents are not shown."""
    from denoagents.store.state_inspection import show, show_actor

    store = _path_of(invocation, path)
    facts = show_actor(store, address) if address else show(store)
    if invocation.as_json:
        from denoagents.cli.output import print_json

        print_json(facts)
        return
    from denoagents.cli.output import print_fields

    print_fields((name.replace("_", " "), _shown(value)) for name, value in facts.items())


def _shown(value: object) -> object:
    """Lists of records become a line each, maps become words."""
    if isinstance(value, dict):
        return ", ".join(f"{name}: {one}" for name, one in value.items())
    if isinstance(value, list):
        return "\n".join(str(_shown(one)) for one in value)
    return value


def _path_of(invocation: Invocation, path: Path | None) -> Path:
    named = str(path or invocation.config["store.path"])
    if not named:
        raise UsageError("name the store's file: --store FILE, or the configuration key store.path")
    return Path(named).absolute()


def _print(invocation: Invocation, facts: dict[str, object], said: str) -> None:
    if invocation.as_json:
        from denoagents.cli.output import print_json

        print_json(facts)
    else:
        click.echo(said)
