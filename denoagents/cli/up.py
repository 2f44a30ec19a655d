"""`denoagents up APP`: a broker and workers on this machine, kept running."""

from __future__ import annotations

from pathlib import Path

import click

from denoagents.cli.event_loop import loop_option, run
from denoagents.cli.invocation import Invocation, configured
from denoagents.cli.lifeline import ChildFlags, child_options


@click.command("up")
@click.argument("app")
@click.option("--workers", type=click.IntRange(1, 256), default=2, show_default=True)
@click.option("--reload", "is_reloading", is_flag=True, help="Restart workers when files change.")
@click.option(
    "--broker-port",
    type=click.IntRange(0, 65535),
    help="The broker's port on 127.0.0.1; 0 takes a free one.  [default: key broker.address]",
)
@click.option(
    "--store",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Keep the broker's records in this file.  [default: as long as `up` runs]",
)
@click.option("--group", default="", help="The group's name.  [default: the app's]")
@loop_option
@configured
@child_options
def command(  # noqa: PLR0913 - one a flag
    invocation: Invocation,
    *,
    app: str,
    workers: int,
    is_reloading: bool,
    broker_port: int | None,
    store: Path | None,
    group: str,
    loop: str,
    child: ChildFlags,
) -> int:
    """Run a broker and workers on this machine, and keep them running.

    APP is a file or package.module; its actor classes are hosted. A worker that crashes is started
    again. Ctrl-C or SIGTERM lets the workers finish and ends; a second one ends at once.
    """
    from denoagents.cli.log_output import configure_for

    configure_for(invocation.config, node="up")
    from denoagents.cli.application import require_file

    require_file(app)  # before a broker is started for nothing
    from denoagents.cli.local_fleet import FleetPlan, LocalFleet
    from denoagents.config.plan import to_security_settings

    plan = FleetPlan(
        app=app,
        workers=workers,
        is_reloading=is_reloading,
        broker=invocation.broker if broker_port is None else f"tcp://127.0.0.1:{broker_port}",
        store=store or invocation.store,
        state=Path(str(invocation.config["store.path"])),
        group=group,
        loop=loop,
        flags=invocation.flags,
        report=child.report,
        security=to_security_settings(invocation.config),
    )

    async def stay() -> int:
        return await LocalFleet(plan).run()

    return run(stay(), "asyncio")
