"""Messages a second, one way, between processes and within one.

`python bench/throughput.py --seconds 10`; takes the flags of `denoagents bench`.
"""

import sys

from denoagents.cli import main

NAMES = [
    "tell_between_processes",
    "tell_in_process",
]

if __name__ == "__main__":
    main(["bench", *NAMES, *sys.argv[1:]])
