"""`denoagents config show | check`: every setting, where it came from, and what is wrong."""

from __future__ import annotations

from pathlib import Path

import click

from denoagents.cli.invocation import Invocation, configured, output_option
from denoagents.config.load import Config, ConfigurationProblemsError, check
from denoagents.config.setting import Setting
from denoagents.errors import UsageError, nearest


@click.group("config")
def command() -> None:
    """Show every setting and where it came from; check a file.

    A setting comes from, the later one wins: default, profile, file (--config, DENOAGENTS_CONFIG,
    ./denoagents.toml), environment (DENOAGENTS_SECTION__KEY), flag (--set section.key=value).
    """


@command.command("show")
@click.argument("section", default="")
@click.option("--changed", is_flag=True, help="Only what is not at its default.")
@output_option
@configured
def show_settings(invocation: Invocation, section: str, changed: bool) -> None:
    """Print every effective value and where it came from; SECTION shows a part: agent.memory."""
    settings = [
        setting
        for setting in _of_section(invocation.config, section)
        if not changed or setting.origin != "default"
    ]
    if invocation.as_json:
        from denoagents.cli.output import print_json

        print_json(
            {
                "profile": invocation.config.profile,
                "file": invocation.config.file and str(invocation.config.file),
                "settings": {one.key.name: _fields(one) for one in settings},
            }
        )
    else:
        _print_table(invocation.config, settings)


@command.command("check")
@click.argument("file", type=click.Path(path_type=Path))
@output_option
def check_file(file: Path, output: str) -> int:
    """Check one TOML file; exit code 1 if anything in it is wrong."""
    problems: tuple[str, ...] = ()
    config = None
    try:
        config = check(file)
    except ConfigurationProblemsError as error:
        problems = error.problems
    later = [
        one.key.name
        for one in config or ()
        if one.origin.startswith("file") and not one.key.in_effect
    ]
    if output == "json":
        from denoagents.cli.output import print_json

        found = {"ok": not problems, "problems": problems, "not_yet_in_effect": later}
        print_json({"file": str(file), **found})
        return int(bool(problems))
    for problem in problems:
        click.echo(problem.removeprefix(f"file {file}: "), err=True)
    for name in later:
        click.echo(f"{name} is not yet in effect in this version")
    if not problems:
        click.echo(f"{file} is right")
    return int(bool(problems))


def _of_section(config: Config, section: str) -> list[Setting]:
    found = [one for one in config if not section or f"{one.key.name}.".startswith(f"{section}.")]
    if not found:
        sections = {one.key.name.rpartition(".")[0] for one in config}
        known = sections | {one.key.section for one in config} | {one.key.name for one in config}
        raise UsageError(f"there is no section or key {section!r}.{nearest(section, known)}")
    return found


def _fields(setting: Setting) -> dict[str, object]:
    return {
        "value": setting.text,
        "origin": setting.origin,
        "default": setting.key.default,
        "in_effect": setting.key.in_effect,
        "plan_row": setting.key.row,
        "kind": setting.key.kind,
        "meaning": setting.key.meaning,
        "environment": setting.key.environment_name,
    }


def _print_table(config: Config, settings: list[Setting]) -> None:
    from rich.text import Text

    from denoagents.cli.output import print_table

    rows = []
    for one in settings:
        changed = one.origin != "default"
        style = ("bold" if changed else "") if one.key.in_effect else "dim"
        note = "" if one.key.in_effect else "not yet in effect; "
        cells = (one.key.name, one.text or '""', one.origin, one.key.row, note + one.key.meaning)
        rows.append([Text(cell, style=style) for cell in cells])
    print_table(("key", "value", "origin", "plan", "meaning"), rows, empty="all at their defaults")
    later = sum(not one.key.in_effect for one in settings)
    click.echo(
        f"\n{len(settings)} keys, profile {config.profile}, file {config.file or 'none'}; "
        f"{later} are checked and shown, and take effect in later versions"
    )
