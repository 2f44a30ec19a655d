"""From nothing to the first reply.

`python bench/start.py --seconds 10`; takes the flags of `denoagents bench`.
"""

import sys

from denoagents.cli import main

NAMES = [
    "cold_start",
]

if __name__ == "__main__":
    main(["bench", *NAMES, *sys.argv[1:]])
