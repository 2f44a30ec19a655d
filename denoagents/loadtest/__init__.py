"""How the framework is measured: one open-loop runner, the demo and the benches.

`demo.run` and `bench.run` are what the command line calls; `runner.OpenLoop` is the runner.
"""
