"""`denoagents worker APP`: one process that hosts the actors of an app."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from denoagents.cli.event_loop import loop_option, run
from denoagents.cli.invocation import Invocation, broker_option, configured, output_option
from denoagents.cli.lifeline import ChildFlags, child_options

if TYPE_CHECKING:
    from denoagents.cli.application import Application


@click.command("worker")
@click.argument("app")
@click.option("--name", metavar="NAME", help="The node's name.  [default: one that is free]")
@click.option("--group", metavar="NAME", help="The group it joins.  [default: the app's name]")
@click.option(
    "--bind",
    default="tcp://127.0.0.1:0",
    show_default=True,
    metavar="ADDRESS",
    help="Where other nodes reach it; port 0 takes a free one.",
)
@click.option(
    "--store",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File that keeps durable actors; one for all workers of a host.  "
    "[default: key store.path]",
)
@click.option(
    "--advertise",
    default="",
    metavar="ADDRESS",
    help="Where others find it, behind 0.0.0.0 or NAT.",
)
@click.option(
    "--join", "token", default="", metavar="TOKEN", help="Enrol by `keys invite`'s token first."
)
@click.option("--check", is_flag=True, help="Load the app, show its actors, and end.")
@broker_option
@loop_option
@output_option
@configured
@child_options
def command(  # noqa: PLR0913 - one a flag
    invocation: Invocation,
    app: str,
    *,
    check: bool,
    name: str | None,
    group: str | None,
    bind: str,
    store: Path | None,
    advertise: str,
    token: str,
    loop: str,
    child: ChildFlags,
) -> int:
    """Run one worker, which hosts the actors of APP: a file, or package.module.

    SIGTERM and Ctrl-C drain it: running turns end, actors move to other workers, and the exit code
    is 0. A second one ends it at once.
    """
    from denoagents.cli.log_output import configure_for  # first: it keeps rich out of the process

    configure_for(invocation.config, node=name or "")
    from denoagents.cli.application import load_application

    application = load_application(app)
    if check:
        return _show(application, invocation)
    from denoagents.cli.service import WorkerPlan, replace_process, serve_worker
    from denoagents.config.plan import to_node_settings, to_store_settings

    settings = to_node_settings(invocation.config, is_worker=True)
    broker = invocation.broker
    if token:
        from denoagents.cli.keys import join_fleet

        broker, security = join_fleet(invocation, token, name or "", settings)
        settings = replace(settings, security=security)
    plan = WorkerPlan(
        broker=broker,
        types=application.types,
        name=name,
        group=group or application.name,
        bind=bind,
        settings=replace(settings, advertise=advertise or settings.advertise),
        report=child.report,
        store=_store_of(application, store or Path(str(invocation.config["store.path"]))),
        store_settings=to_store_settings(invocation.config),
    )
    code = run(serve_worker(plan), loop)
    return code if code is not None else replace_process()


def _store_of(application: Application, path: Path) -> Path | None:
    """Where durable actors are kept, if the app has any."""
    if all(one.__denoagents_type__.durable is None for one in application.types):
        return None
    from denoagents.errors import ConfigurationError

    path = path.expanduser().absolute()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"the folder of the store {path} cannot be made: {error.strerror}; "
            "choose another file with --store PATH"
        ) from None
    return path


def _show(application: Application, invocation: Invocation) -> int:
    from denoagents.cli.output import print_json, print_table

    rows = [
        (one.__name__, method.name, "stream" if method.is_stream else "ask")
        for one in application.types
        for method in one.__denoagents_type__.methods.values()
    ]
    if invocation.as_json:
        print_json([{"type": t, "method": m, "kind": k} for t, m, k in rows])
    else:
        print_table(("type", "method", "kind"), rows)
    return 0
