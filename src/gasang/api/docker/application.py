"""The whole API: every part's routes in one table, the version check, the headers that clients look at."""

from __future__ import annotations

from typing import Final

from gasang import __version__
from gasang.api.captures import Captures
from gasang.api.docker import unsupported, versions
from gasang.api.docker.build import Build
from gasang.api.docker.containers import Containers
from gasang.api.docker.files import Files
from gasang.api.docker.images import Images
from gasang.api.docker.networks import Networks
from gasang.api.docker.search import Search
from gasang.api.docker.streams import Streams
from gasang.api.docker.system import System
from gasang.api.docker.volumes import Volumes
from gasang.api.http.connection import Reply
from gasang.api.http.request import Request
from gasang.api.http.router import Router
from gasang.api.machines import Machines
from gasang.api.volumes import DiskVolumes
from gasang.daemon.engine import Engine

PARTS: Final = (System, Containers, Streams, Files, Images, Search, Networks, Volumes, Build, Machines, DiskVolumes, Captures)
HEADERS: Final = (
    ("Api-Version", versions.shown(versions.NEWEST)),
    ("Docker-Experimental", "false"),
    ("Ostype", "linux"),
    ("Server", f"gasang/{__version__} (linux)"),
)


class Application:
    """Answers requests for one engine."""

    def __init__(self, engine: Engine) -> None:
        self.router = Router([*(route for part in PARTS for route in part(engine).routes()), *unsupported.routes()])

    async def __call__(self, request: Request, reply: Reply) -> None:
        """Answer one request. Raises GasangError."""
        matched, handler = self.router.match(request)
        versions.check(matched.version)
        await handler(matched, reply)
