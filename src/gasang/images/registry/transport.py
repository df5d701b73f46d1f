"""HTTP requests to one endpoint: connections kept open, redirections followed with care, failures told apart.

A redirection to another host is not given our credentials, and none leads from HTTPS to HTTP.
"""

from __future__ import annotations

import ssl
import urllib.request
from collections.abc import Iterable, Mapping
from typing import IO, Any
from urllib.parse import urljoin, urlsplit

import urllib3
from urllib3.exceptions import HTTPError, InsecureRequestWarning, LocationParseError, NewConnectionError, ReadTimeoutError, SSLError
from urllib3.exceptions import TimeoutError as ConnectTimeout

from gasang.core.errors import BadInputError, GasangError, PermissionDeniedError, TimedOutError
from gasang.images.registry.settings import Endpoint, Patience, Registries, is_loopback
from gasang.images.registry.sockets import Sockets

Answer = urllib3.BaseHTTPResponse
Body = bytes | IO[bytes] | Iterable[bytes] | None
USER_AGENT = "gasang"
REDIRECTIONS = 6
FAULTS = (HTTPError, OSError)
"""What a connection that fails raises."""
_REDIRECTED = (301, 302, 303, 307, 308)
_ERROR_MAX = 64 << 10


class Transport:
    """Sends requests for an endpoint, and to where it redirects. Threads may share it."""

    def __init__(self, endpoint: Endpoint, registries: Registries) -> None:
        self.endpoint = endpoint
        self._registries = registries
        self._pools: dict[str, urllib3.PoolManager] = {}
        self._sockets = Sockets()
        registries.patience.ending.add(self._sockets.end)

    def send(self, method: str, url: str, headers: Mapping[str, str], body: Body = None) -> Answer:
        """The answer's head; its body is still to be read. Raises one of FAULTS where there is none, GasangError for a bad redirection."""
        patience = self._registries.patience
        sent = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity", **headers}
        for _ in range(REDIRECTIONS):
            timeout = urllib3.Timeout(connect=patience.connect, read=patience.stall)
            answer = self._pool(url).request(
                method, url, headers=sent, body=body, timeout=timeout, retries=False, redirect=False, preload_content=False,
                decode_content=False,
            )  # fmt: skip
            if answer.status not in _REDIRECTED or method not in ("GET", "HEAD"):
                return answer
            target = self._target(url, answer)
            drain(answer)
            if urlsplit(target).netloc != urlsplit(url).netloc:
                sent = {key: value for key, value in sent.items() if key != "Authorization"}
            url = target
        raise BadInputError(self.endpoint.base, "it redirects without end", "try again later")

    def _target(self, url: str, answer: Answer) -> str:
        target = urljoin(url, answer.headers.get("Location", ""))
        parts = urlsplit(target)
        secure = parts.scheme == "https" or (parts.scheme == "http" and (not url.startswith("https:") or not self.endpoint.verified))
        if not secure or not parts.hostname:
            raise BadInputError(self.endpoint.base, "it redirects to where we do not go", "ask who runs the registry")
        return target

    def _pool(self, url: str) -> urllib3.PoolManager:
        parts = urlsplit(url)
        own = parts.netloc == self.endpoint.host
        key = f"{parts.scheme} {own} {_proxy(url)}"
        if key not in self._pools:
            self._pools[key] = self._make_pool(parts.scheme, _proxy(url), own)
        return self._pools[key]

    def _make_pool(self, scheme: str, proxy: str, own: bool) -> urllib3.PoolManager:
        context = None
        if own and not self.endpoint.verified:
            urllib3.disable_warnings(InsecureRequestWarning)  # the user has allowed it, or it is the loopback
        if scheme == "https":
            context = self._registries.tls(self.endpoint) if own else ssl.create_default_context()
        options: dict[str, Any] = {"maxsize": self._registries.parallel + 1, "num_pools": 16, "ssl_context": context}
        made = urllib3.ProxyManager(proxy, **options) if proxy else urllib3.PoolManager(**options)
        made.pool_classes_by_scheme = self._sockets.pools
        return made

    def close(self) -> None:
        """Close all connections."""
        self._registries.patience.ending.discard(self._sockets.end)
        for pool in self._pools.values():
            pool.clear()


def _proxy(url: str) -> str:
    """The proxy that the environment names for an address."""
    parts = urlsplit(url)
    if is_loopback(parts.netloc) or urllib.request.proxy_bypass(parts.hostname or ""):
        return ""
    return urllib.request.getproxies().get(parts.scheme, "")


def drain(answer: Answer) -> bytes:
    """The short body of an answer, so that its connection can be used again; that of a long one is dropped."""
    try:
        data = answer.read(_ERROR_MAX)
        if len(data) == _ERROR_MAX:
            answer.close()
    except FAULTS:
        data = b""
    answer.release_conn()
    return data


def wait_before(patience: Patience, failures: int, answer: Answer | None) -> float:
    """Seconds to wait after so many failures in a row; a registry's Retry-After counts, up to a limit."""
    told = answer.headers.get("Retry-After", "") if answer is not None else ""
    if told.isdigit() and len(told) < 8:
        return min(float(told), patience.longest)
    return float(min(0.25 * 2 ** (failures - 1), 8.0))


def is_temporary(status: int) -> bool:
    """Whether asking again may help."""
    return status in (408, 425, 429) or status >= 500


def explain(endpoint: Endpoint, fault: Exception, patience: Patience) -> GasangError:
    """A failed connection as an error for the user. Raises Cancelled for one that has been ended here."""
    patience.ending.check()
    subject = f"registry {endpoint.host}"
    if isinstance(fault, NewConnectionError):
        reason = fault.__cause__ if isinstance(fault.__cause__, OSError) else None
        return GasangError(subject, f"it cannot be reached ({(reason and reason.strerror) or 'no answer'})", "check its name and network")
    if isinstance(fault, (ReadTimeoutError, ConnectTimeout, TimeoutError)):
        return TimedOutError(subject, f"it sent nothing for {patience.stall:.0f} seconds", "try again: what came is kept")
    if isinstance(fault, (SSLError, ssl.SSLError)):
        return PermissionDeniedError(subject, f"its certificate is not trusted ({fault})"[:300], "add its ca.crt, or name it insecure")
    if isinstance(fault, LocationParseError):
        return BadInputError(subject, "that is no address", "check its name")
    return GasangError(subject, f"the connection broke off again and again ({type(fault).__name__})", "try again: what came is kept")
