"""The daemon's process: its socket, its signals, its end."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from gasang.core.errors import GasangError, StateError
from gasang.daemon.folders import Folders
from gasang.daemon.registries import settings_folder
from gasang.images.origin import Origin

if TYPE_CHECKING:
    from gasang.daemon.engine import Engine
    from gasang.daemon.rootless.entering import Rootless

_log = logging.getLogger(__name__)
YOUNG = 10_000
"""Objects made between two looks for cycles among the youngest; Python's own 700 cost a tenth of a short container's life."""


def listen(path: Path) -> socket.socket:
    """A listening socket at `path` that only its owner may use; a dead one there is replaced."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    path.unlink(missing_ok=True)
    before = os.umask(0o177)
    try:
        listener.bind(os.fspath(path))
    finally:
        os.umask(before)
    listener.listen(512)
    return listener


async def serve(
    folders: Folders, settings: Path, ready: int | None = None, origin: Origin | None = None, rootless: Rootless | None = None
) -> None:
    """Run until SIGTERM or SIGINT, by the settings in a folder.

    `ready` is a descriptor that gets a line when clients can connect; `origin` is Debian's; `rootless` are the namespaces this is in.
    """
    from gasang.api.docker.application import HEADERS, Application
    from gasang.api.http.server import Server
    from gasang.daemon.engine import Engine
    from gasang.daemon.registries import read_registries, read_users

    try:
        engine = Engine(folders, read_registries(settings), origin, read_users(settings), rootless)
    except (GasangError, OSError) as error:
        if rootless is not None and not isinstance(error, StateError):  # then another daemon has the state, and these namespaces
            rootless.give_up()
        raise
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    try:
        await engine.recover()
        listener = listen(folders.socket)
        server = asyncio.ensure_future(Server(listener, Application(engine), HEADERS).serve())
        if ready is not None:
            os.write(ready, b"ready\n")
            os.close(ready)
        warming = asyncio.ensure_future(_warm_up(engine))
        waiting = asyncio.ensure_future(stopping.wait())
        await asyncio.wait([server, waiting], return_when=asyncio.FIRST_COMPLETED)
        if server.done():
            server.result()
        server.cancel()
        await asyncio.gather(server, warming, return_exceptions=True)
        listener.close()
        folders.socket.unlink(missing_ok=True)
    finally:
        in_use = engine.in_use()
        engine.close()
        if rootless is not None:
            rootless.leave(in_use=in_use)


def _entered(folders: Folders) -> Rootless:
    from gasang.daemon.rootless.entering import enter

    return enter(folders)


async def _warm_up(engine: Engine) -> None:
    """What costs time once; what is there then stays, so the collector of garbage need not look at it again and again."""
    await engine.warm_up()
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG)


def main(folders: Folders, origin: Origin | None = None) -> int:
    """Run the daemon in this process; its exit code. `origin` is where images of Debian come from."""
    ready = os.environ.pop("GASANG_READY", "")
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    settings = settings_folder(os.environ)
    try:
        rootless = _entered(folders) if os.geteuid() else None
        folders.run.mkdir(parents=True, exist_ok=True, mode=0o711)
        asyncio.run(serve(folders, settings, int(ready) if ready else None, origin, rootless))
    except GasangError as error:
        print(f"gasang: {error}", file=sys.stderr)
        return error.exit_code
    return 0
