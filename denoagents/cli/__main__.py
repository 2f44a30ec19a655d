"""`python -m denoagents.cli`: how our own child processes are started."""

from denoagents.cli.command_line import main

if __name__ == "__main__":
    main()
