"""`denoagents demo`: a fleet answers questions about Python's library, and survives a kill."""

from __future__ import annotations

import click

from denoagents.cli.invocation import Invocation, configured, output_option


@click.command("demo")
@click.option(
    "--seconds",
    type=click.FloatRange(2, 86400),
    default=20.0,
    show_default=True,
    help="How long to measure, once the index stands.",
)
@click.option("--kill/--no-kill", default=True, help="Kill a worker at half time.  [default: kill]")
@click.option("--overload", is_flag=True, help="Show admission at twice the bucket's rate.")
@click.option("--plant-wrong", is_flag=True, help="Make one agent lie, to see it counted.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of the questions.")
@output_option
@configured
def command(
    invocation: Invocation,
    *,
    seconds: float,
    kill: bool,
    overload: bool,
    plant_wrong: bool,
    seed: int,
) -> int:
    """Run a broker, two workers, 100 agents, 50 chats and 1000 requests/s on this machine.

    The agents index the source files of Python's standard library and answer questions about it;
    every answer is compared with the truth, found by another route. At half time a worker is
    killed. Exit code 1 if anything was wrong.
    """
    from denoagents.cli.log_output import configure_for

    configure_for(invocation.config, node="demo")
    from denoagents.loadtest import demo

    options = demo.DemoOptions(
        seconds=seconds,
        kill=kill,
        overload=overload,
        plant_wrong=plant_wrong,
        seed=seed,
        as_json=invocation.as_json,
        flags=invocation.flags,
    )
    return demo.run(options)
