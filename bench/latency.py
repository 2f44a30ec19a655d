"""Requests and replies: one at a time, a hundred at once, a thousand a second, within a process.

`python bench/latency.py --seconds 10`; takes the flags of `denoagents bench`.
"""

import sys

from denoagents.cli import main

NAMES = [
    "ask_between_processes",
    "ask_between_processes_100",
    "open_loop_1000",
    "ask_in_process",
]

if __name__ == "__main__":
    main(["bench", *NAMES, *sys.argv[1:]])
