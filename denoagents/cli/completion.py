"""`denoagents completion SHELL`: prints the script that makes the shell complete our words."""

from __future__ import annotations

import click


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    r"""Print the completion script for a shell.

    \b
    bash:  denoagents completion bash > ~/.local/share/bash-completion/completions/denoagents
    zsh:   denoagents completion zsh > "${fpath[1]}/_denoagents"
    fish:  denoagents completion fish > ~/.config/fish/completions/denoagents.fish
    """
    from click.shell_completion import get_completion_class

    from denoagents.cli.command_line import command_line

    completion = get_completion_class(shell)
    assert completion is not None
    script = completion(command_line, {}, "denoagents", "_DENOAGENTS_COMPLETE")
    variables = {**script.source_vars(), "prog_name": "denoagents"}
    click.echo(script.source_template % variables)
