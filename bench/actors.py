"""How fast actors are made, and what an idle one weighs.

`python bench/actors.py --seconds 10`; takes the flags of `denoagents bench`.
"""

import sys

from denoagents.cli import main

NAMES = [
    "spawn",
    "idle_memory",
]

if __name__ == "__main__":
    main(["bench", *NAMES, *sys.argv[1:]])
