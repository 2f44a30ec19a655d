"""`python -m denoagents` is the command line."""

from denoagents.cli.__main__ import main

if __name__ == "__main__":
    main()
