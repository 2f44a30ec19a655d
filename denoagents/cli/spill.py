"""`denoagents spill inspect | verify`: what a log holds, and whether the disk kept it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from denoagents.cli.failure import FailedError
from denoagents.cli.invocation import output_option
from denoagents.errors import NotFoundError

if TYPE_CHECKING:
    from denoagents.store.segment_replay import Report


@click.group("spill")
def command() -> None:
    """Look into what nodes have put on the disk; nothing is changed."""


@command.command("inspect")
@click.argument("path", type=click.Path(path_type=Path))
@output_option
def inspect(path: Path, output: str) -> None:
    """List the segments at PATH: a log's folder, or one with logs in it."""
    found = [(folder, one) for folder, report in _reports(path) for one in report.segments]
    if output == "json":
        from denoagents.cli.output import print_json

        rows = [
            {
                "log": str(folder),
                "segment": one.first,
                "last": one.last,
                "records": one.live,
                "bytes": one.length,
            }
            for folder, one in found
        ]
        print_json({"path": str(path), "segments": rows})
        return
    from denoagents.cli.output import print_table, show_bytes

    cells = [[one.first, one.last, one.live, show_bytes(one.length), str(f)] for f, one in found]
    print_table(("first", "last", "records", "bytes", "log"), cells, empty="no segments")


@command.command("verify")
@click.argument("path", type=click.Path(path_type=Path))
@output_option
def verify(path: Path, output: str) -> None:
    """Read every record at PATH against its checksum; exit code 1 if any is damaged."""
    reports = _reports(path)
    damage = [f"{folder}/{one}" for folder, report in reports for one in report.damage]
    torn = [f"{folder}/{one}" for folder, report in reports for one in report.cut]
    records = sum(report.records for _, report in reports)
    if output == "json":
        from denoagents.cli.output import print_json

        print_json(
            {
                "path": str(path),
                "records": records,
                "damage": damage,
                "torn": torn,
                "ok": not damage,
            }
        )
    else:
        for line in damage:
            click.echo(f"damaged: {line}")
        for line in torn:
            click.echo(f"torn: {line}")
        click.echo(f"{records} records are whole")
    if damage:
        raise FailedError(f"{path}: {len(damage)} damaged places")


def _reports(path: Path) -> list[tuple[Path, Report]]:
    from denoagents.store.segment_files import RealFiles
    from denoagents.store.segment_replay import SUFFIX, replay

    if not path.is_dir():
        raise NotFoundError(f"there is no folder {path}")
    folders = sorted({file.parent for file in path.rglob(f"*{SUFFIX}")})
    files = RealFiles()
    return [(folder, replay(files, str(folder))) for folder in folders]
