"""From a request's method and path to its handler, by a table."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from gasang.api.http.connection import Reply
from gasang.api.http.request import Request
from gasang.core.errors import NotFoundError

Handler = Callable[[Request, Reply], Awaitable[None]]


class Route(NamedTuple):
    """A line of the table. `{name}` in the pattern is one part of the path, `{name*}` one or more."""

    method: str
    pattern: str
    handler: Handler


def _expression(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"(\{\w+\*?\})", pattern)
    made = [f"(?P<{part.strip('{*}')}>{'.+' if '*' in part else '[^/]+'})" if part.startswith("{") else re.escape(part) for part in parts]
    return re.compile("".join(made))


class Router:
    """The handlers of an API. A path may begin with a version (``/v1.41``)."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self.routes = tuple(routes)
        self._table = [(route.method, _expression(route.pattern), route.handler) for route in routes]

    def match(self, request: Request) -> tuple[Request, Handler]:
        """The request with its path's arguments, and its handler. Raises NotFoundError where the table has none."""
        version, path = split_version(request.path)
        method = "GET" if request.method == "HEAD" and not self._has("HEAD", path) else request.method
        for candidate, expression, handler in self._table:
            if candidate == method and (found := expression.fullmatch(path)):
                return replace(request, version=version, path=path, arguments=found.groupdict()), handler
        raise NotFoundError(f"{request.method} {request.path[:200]}", "page not found", "the reference lists what the API has")

    def _has(self, method: str, path: str) -> bool:
        return any(candidate == method and expression.fullmatch(path) for candidate, expression, _ in self._table)


def split_version(path: str) -> tuple[tuple[int, int] | None, str]:
    """A leading ``/vMAJOR.MINOR``, None where there is none, and the rest of the path."""
    found = re.match(r"/v(\d{1,3})\.(\d{1,3})(?=/)", path)
    if not found:
        return None, path
    return (int(found[1]), int(found[2])), path[found.end() :]
