"""``gasang daemon``: the engine behind containers, in the foreground or the background."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from gasang.cli.options import Argument, Example, Parsed, Syntax
from gasang.cli.settings import Context
from gasang.cli.standard import FORMAT
from gasang.core.errors import UsageError

if TYPE_CHECKING:
    from gasang.api.manage import Facts

ACTIONS = ("run", "start", "status", "stop", "install")

SYNTAX = Syntax(
    "Run the engine behind containers, or tell of it; verbs that need it start it by themselves.",
    options=(FORMAT,),
    arguments=(
        Argument(
            "ACTION",
            "run (in the foreground), start, status, stop, or install (a systemd unit)",
            required=False,
            completes=" ".join(ACTIONS),
        ),
    ),
    examples=(
        Example("gasang daemon", "run it here until Ctrl-C; containers live on"),
        Example("gasang daemon status", "whether it runs, and the DOCKER_HOST to give docker clients"),
        Example("export DOCKER_HOST=$(gasang daemon status --format '{docker_host}')", "give it to them"),
        Example("gasang daemon install", "have systemd start it with the host"),
    ),
    notes="""
Containers outlive the daemon: after a stop, a crash or a kill -9 the next one takes them over, with their logs and exit codes.""",
)


def run(parsed: Parsed, context: Context) -> int:
    """Do what is asked. Raises UsageError for an unknown action, NoDaemonError where it is needed and does not run."""
    from gasang.daemon.folders import Folders

    action = parsed.arguments[0] if parsed.arguments else "run"
    folders = Folders.of(os.environ)
    if action == "run":
        from gasang.api.serve import main

        return main(folders, context.origin())
    from gasang.api import manage

    if action == "start":
        manage.ensure(folders)
        _tell(manage.describe(folders), parsed.get(FORMAT))
    elif action == "status":
        _tell(manage.describe(folders), parsed.get(FORMAT))
    elif action == "stop":
        manage.stop(folders)
        print("the daemon has stopped; containers live on", file=sys.stderr)
    elif action == "install":
        systemctl = "systemctl" if os.geteuid() == 0 else "systemctl --user"
        print(f"wrote {manage.install(os.environ)}; {systemctl} daemon-reload && {systemctl} enable --now gasang starts it")
    else:
        raise UsageError(f"action {action!r}", "there is none of this name", f"use one of {', '.join(ACTIONS)}")
    return 0


def _tell(facts: Facts, form: str | None) -> None:
    from gasang.cli.output import Column, render

    print(
        facts if form in (None, "table") else render(form, [Column(name, name) for name in facts._fields], [facts._asdict()]).rstrip("\n")
    )
