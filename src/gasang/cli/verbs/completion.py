"""``gasang completion``: the completion script of a shell."""

from __future__ import annotations

from gasang.cli.completion import SHELLS
from gasang.cli.options import Argument, Example, Parsed, Syntax
from gasang.cli.settings import Context
from gasang.cli.table import VERBS
from gasang.core.config import one_of

SYNTAX = Syntax(
    "Print the completion script of a shell.",
    arguments=(Argument("SHELL", f"one of {', '.join(SHELLS)}", completes=" ".join(SHELLS)),),
    examples=(
        Example("source <(gasang completion bash)", "complete in this bash; put the line into ~/.bashrc to keep it"),
        Example("source <(gasang completion zsh)", "the same in zsh, after compinit"),
        Example("gasang completion fish > ~/.config/fish/completions/gasang.fish", "install it for fish"),
    ),
)


def run(parsed: Parsed, context: Context) -> int:
    """Print the script."""
    shell = one_of(*SHELLS)(parsed.arguments[0], "SHELL")
    from gasang.cli.reference import all_verbs

    print(SHELLS[shell](all_verbs(), VERBS), end="")
    return 0
