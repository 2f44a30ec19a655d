"""`denoagents bench [NAME …]`: measures the framework on this machine, alone or beside a peer."""

from __future__ import annotations

import functools

import click

from denoagents.cli.invocation import Invocation, configured, output_option


@click.command("bench")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option(
    "--seconds",
    type=click.FloatRange(0.1, 3600),
    default=5.0,
    show_default=True,
    help="Of each workload.",
)
@click.option("--peers", metavar="PEER", default="", help="Measure alternately: zmq-asyncio.")
@output_option
@functools.partial(configured, default_profile="open")
def command(invocation: Invocation, *, names: tuple[str, ...], seconds: float, peers: str) -> int:
    """Measure workloads, all or those named; the profile is `open` (no limits) unless given.

    A row holds workload, n, rate_per_s, p50_us, p95_us, p99_us and max_us; with --peers also the
    peer's figures and the ratio.
    """
    from denoagents.cli.log_output import configure_for

    configure_for(invocation.config, node="bench")
    from denoagents.config.plan import to_node_settings
    from denoagents.loadtest import bench

    options = bench.BenchOptions(
        names=names,
        seconds=seconds,
        peer=peers,
        as_json=invocation.as_json,
        settings=to_node_settings(invocation.config),
        flags=invocation.flags,
    )
    return bench.run(options)
