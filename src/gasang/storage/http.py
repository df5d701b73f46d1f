"""A file on a web server as a file for images to lie in, read in parts (RFC 9110, section 14) and never written.

What was read is kept in blocks, the last ones used. The server must serve parts, and always of the same file: its entity tag (or else its
date) is that of the first answer. A connection that breaks or stalls is tried again a few times. Not locked: one thread at a time.
"""

from __future__ import annotations

import errno
import re
import time
import urllib.request
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import urljoin, urlsplit

import urllib3
from urllib3.exceptions import HTTPError, LocationParseError, NewConnectionError
from urllib3.exceptions import TimeoutError as StalledError

from gasang.core.errors import BadInputError, GasangError, NotFoundError, PermissionDeniedError, TimedOutError, UsageError
from gasang.storage.web import SCHEMES, PartsError

BLOCK: Final = 1 << 18
_BLOCKS_KEPT: Final = 256
_TOGETHER: Final = 32
"""Blocks that one request asks for."""
_SIZE_MAX: Final = 1 << 56
_REDIRECTED: Final = (301, 302, 303, 307, 308)
_REDIRECTIONS: Final = 6
_PART: Final = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})")


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds to connect, seconds without a byte, tries of a request, and the pause before the second."""

    connect: float = 10.0
    stall: float = 30.0
    tries: int = 4
    pause: float = 0.5


class PassingError(Exception):
    """A try that failed and may be repeated."""


class Server:
    """Who has the file of an address. Raises UsageError for what is no address."""

    def __init__(self, url: str, patience: Patience) -> None:
        self._url = url
        self._patience = patience
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname, parts.port
        except ValueError as error:
            raise UsageError(f"disk {url}", "that is no address", "write http://HOST/PATH") from error
        if not host or not url.isascii() or any(sign.isspace() for sign in url):
            raise UsageError(f"disk {url}", "that is no address", "write http://HOST/PATH")
        proxy = "" if urllib.request.proxy_bypass(host) else urllib.request.getproxies().get(parts.scheme, "")
        self._pool = urllib3.ProxyManager(proxy) if proxy else urllib3.PoolManager()

    def ask(self, more: dict[str, str]) -> urllib3.BaseHTTPResponse:
        """Its answer to a request with these headers besides, redirections followed. Raises HTTPError, OSError, BadInputError."""
        headers = {"User-Agent": "gasang", "Accept-Encoding": "identity", **more}
        timeout = urllib3.Timeout(connect=self._patience.connect, read=self._patience.stall)
        url = self._url
        for _ in range(_REDIRECTIONS):
            try:
                answer = self._pool.request(
                    "GET", url, headers=headers, timeout=timeout, retries=False, redirect=False, preload_content=False, decode_content=False
                )
            except LocationParseError as error:
                raise UsageError(f"disk {self._url}", "that is no address", "check it") from error
            if answer.status not in _REDIRECTED:
                return answer
            target = urljoin(url, answer.headers.get("Location", ""))
            answer.close()
            if not target.startswith(SCHEMES) or (url.startswith("https:") and not target.startswith("https:")):
                raise BadInputError(f"disk {self._url}", "its server sends us where we do not go", "check its address")
            url = target
        raise BadInputError(f"disk {self._url}", "its server redirects without end", "check its address")

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()


def judge(answer: urllib3.BaseHTTPResponse, name: str) -> None:
    """Raise for an answer that brings nothing of the file: PassingError where another try may, else a GasangError."""
    subject, status = f"disk {name}", answer.status
    if status in (200, 206):
        return
    if status in (401, 403):
        raise PermissionDeniedError(subject, f"its server refuses it ({status})", "check its address")
    if status in (404, 410):
        raise NotFoundError(subject, "its server has no such file", "check its address")
    if status == 416:
        raise BadInputError(subject, "it is empty, or shorter than it was", "check the file on the server")
    if status in (408, 425, 429) or status >= 500:
        raise PassingError(f"the server says {status}")
    raise BadInputError(subject, f"its server says {status}", "check its address")


class HttpStore:
    """An open file on a server. Everything may raise OSError if the server fails or its file changes."""

    read_only = True

    def __init__(self, url: str, patience: Patience | None = None) -> None:
        """Ask for its begin. Raises UsageError, NotFoundError, PermissionDeniedError, UnsupportedError, TimedOutError, GasangError."""
        self.name = url
        self._patience = patience or Patience()
        self._size = -1
        self._tag = ""
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._server = Server(url, self._patience)
        try:
            self._fetch(0, 1)
        except OSError as error:
            self.close()
            if isinstance(error, TimeoutError):
                raise TimedOutError(f"disk {url}", "its server does not answer", "try again later") from error
            raise GasangError(f"disk {url}", f"it cannot be read: {error.strerror}", "check its address and your network") from error
        except BaseException:
            self.close()
            raise

    # Asking ------------------------------------------------------------------------------------------------------------------------

    def _fetch(self, first: int, count: int) -> None:
        """Have `count` blocks from `first` on. Raises OSError."""
        begin = first * BLOCK
        end = begin + count * BLOCK if self._size < 0 else min(begin + count * BLOCK, self._size)
        cause: Exception | None = None
        for attempt in range(self._patience.tries):
            if attempt:
                time.sleep(self._patience.pause * 2 ** (attempt - 1))  # nobody tells when a server has recovered
            try:
                data = self._part(begin, end)
                break
            except (PassingError, HTTPError, OSError) as error:
                cause = error
        else:
            if isinstance(cause, (StalledError, TimeoutError)) and not isinstance(cause, NewConnectionError):
                raise TimeoutError(errno.ETIMEDOUT, f"{self.name}: the server stands still") from cause
            raise OSError(errno.EIO, f"{self.name}: {sentence(cause)}") from cause
        for number in range(count):
            if piece := data[number * BLOCK : (number + 1) * BLOCK]:
                self._blocks[first + number] = piece
                self._blocks.move_to_end(first + number)
        while len(self._blocks) > _BLOCKS_KEPT:
            self._blocks.popitem(last=False)

    def _part(self, begin: int, end: int) -> bytes:
        answer = self._server.ask({"Range": f"bytes={begin}-{end - 1}"})
        try:
            if answer.status == 200:
                raise PartsError(f"disk {self.name}", "its server does not serve parts of files", "download it first")
            judge(answer, self.name)
            told = _PART.fullmatch(answer.headers.get("Content-Range", ""))
            if told is None:
                raise BadInputError(f"disk {self.name}", "its server does not say which part it sends", "download it first")
            first, last, size = map(int, told.groups())
            self._same(answer, size)
            if first != begin or last != min(end, size) - 1:
                raise BadInputError(f"disk {self.name}", "its server sends another part than was asked for", "download it first")
            data = answer.read(last - first + 1)
        finally:
            answer.close() if answer.status != 206 else answer.release_conn()
        if len(data) != last - first + 1:
            raise PassingError("the answer was cut short")
        return data

    def _same(self, answer: urllib3.BaseHTTPResponse, size: int) -> None:
        """The first answer tells which file it is; the others are of the same one."""
        tag = answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""
        if self._size < 0:
            if not 0 < size <= _SIZE_MAX:
                raise BadInputError(f"disk {self.name}", f"its server says that it has {size} bytes", "check the file on the server")
            self._size, self._tag = size, tag
        elif size != self._size or tag != self._tag:
            raise BadInputError(f"disk {self.name}", "the file on the server has changed while it was read", "open it again")

    # The file ----------------------------------------------------------------------------------------------------------------------

    def size(self) -> int:
        """Bytes up to its end."""
        return self._size

    def read(self, offset: int, length: int) -> bytes:
        """`length` bytes; zeroes behind the end. Raises OSError, BadInputError for a file that has changed."""
        end = min(offset + length, self._size)
        parts = []
        at = offset
        while at < end:
            number = at // BLOCK
            if number not in self._blocks:
                last = (end - 1) // BLOCK
                count = 1
                while count < _TOGETHER and number + count <= last and number + count not in self._blocks:
                    count += 1
                self._fetch(number, count)
            block = self._blocks[number]
            self._blocks.move_to_end(number)
            piece = block[at % BLOCK : at % BLOCK + end - at]
            parts.append(piece)
            at += len(piece)
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        return data if len(data) == length else data.ljust(length, b"\0")

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """It is only read. Raises OSError."""
        raise OSError(errno.EROFS, f"{self.name} is open for reading only")

    def truncate(self, size: int) -> None:
        """It is only read. Raises OSError."""
        raise OSError(errno.EROFS, f"{self.name} is open for reading only")

    def punch(self, offset: int, length: int) -> bool:
        """It is only read."""
        return False

    def data(self) -> Iterator[tuple[int, int]]:
        """All of it: servers do not tell of holes."""
        yield 0, self._size

    def flush(self) -> None:
        """Nothing is written."""

    def close(self) -> None:
        """Close the connections."""
        self._blocks.clear()
        self._server.close()


def sentence(fault: Exception | None) -> str:
    """A failed request in a few words."""
    while isinstance(fault, HTTPError) and isinstance(fault.__cause__ or fault.__context__, Exception):
        inner = fault.__cause__ or fault.__context__
        assert isinstance(inner, Exception)
        fault = inner
    return str(getattr(fault, "strerror", None) or fault or "no answer")[:200]
