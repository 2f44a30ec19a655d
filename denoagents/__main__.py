"""`python -m denoagents` is the command line."""

from denoagents.cli.command_line import main

if __name__ == "__main__":
    main()
