"""`denoagents broker`: the control plane as a process."""

from __future__ import annotations

from pathlib import Path

import click

from denoagents.cli.event_loop import loop_option, run
from denoagents.cli.invocation import Invocation, configured
from denoagents.cli.lifeline import ChildFlags, child_options


@click.command("broker")
@click.option("--bind", metavar="ADDRESS", help="Where to listen.  [default: key broker.address]")
@click.option(
    "--store",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File that keeps the records over a restart.  [default: key broker.store]",
)
@loop_option
@configured
@child_options
def command(
    invocation: Invocation,
    *,
    bind: str | None,
    store: Path | None,
    loop: str,
    child: ChildFlags,
) -> int:
    """Run a broker: it admits nodes, places actors and watches over them; no message passes it.

    While it is down, nodes keep talking. With --store, a broker that starts again knows its fleet.
    """
    from denoagents.cli.log_output import configure_for  # first: it keeps rich out of the process

    configure_for(invocation.config, node="broker")
    from denoagents.cli.service import BrokerPlan, serve_broker

    plan = BrokerPlan(
        bind=bind or invocation.broker,
        store=store or invocation.store,
        config=invocation.config,
        report=child.report,
    )
    return run(serve_broker(plan), loop)
