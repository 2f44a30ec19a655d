"""Messages that carry something, one way between processes.

`python bench/payloads.py --seconds 10`; takes the flags of `denoagents bench`.
"""

import sys

from denoagents.cli import main

NAMES = [
    "payload_1KiB",
    "payload_64KiB",
    "payload_1MiB",
]

if __name__ == "__main__":
    main(["bench", *NAMES, *sys.argv[1:]])
