"""``gasang container``: the verbs about containers under the names of docker's families, and putting away those that have ended."""

from __future__ import annotations

from typing import Final

from gasang.cli.containers.family import Commands, Same, family
from gasang.cli.containers.pruning import command
from gasang.cli.options import Example

_VERBS: Final = (
    "attach", "commit", "cp", "create", "diff", "exec", "export", "inspect", "kill", "logs", "pause", "port", "rename", "restart", "rm",
    "run", "start", "stats", "stop", "top", "unpause", "update", "wait",
)  # fmt: skip
COMMANDS: Final[Commands] = {
    "ls": Same("ps"),
    "prune": command("container", Example("gasang container prune -f --filter until=24h", "those made more than a day ago")),
    **{verb: Same(verb) for verb in _VERBS},
}
SYNTAX, run = family(
    "container",
    "Put away containers that have ended; also the verbs about containers, as docker container has them.",
    COMMANDS,
    Example("gasang container prune", "remove those that have ended"),
    Example("gasang container ls -a", "the same as gasang ps -a"),
)
