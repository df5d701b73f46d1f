"""The way to the daemon: found by the folders in force, started where none runs and the settings do not forbid it."""

from __future__ import annotations

import os

from gasang.api.client import Client
from gasang.cli.settings import Context
from gasang.daemon.folders import Folders


def connect(context: Context) -> Client:
    """A client of this user's daemon. Nothing is connected or started before the first request."""
    folders = Folders.of(os.environ)

    def start() -> None:
        from gasang.api import manage
        from gasang.cli.progress import open_progress

        with open_progress(context) as progress, progress.step("starting the daemon"):
            manage.ensure(folders)

    return Client(os.fspath(folders.socket), start if context.config.value("autostart") else None)
