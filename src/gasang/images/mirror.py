"""Files over HTTP from a Debian mirror: verified while they come, resumed where they broke off, retried while there is hope.

A download grows in `NAME.partial` beside its target and gets its name when its size and hash are right; so a file that has its name is
whole, and a partial file is all that an interruption or a full disk can leave: the next call goes on from there. Proxies are taken from
the environment, as urllib does.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from threading import Event
from typing import IO, Any, TypeVar

from gasang.core.errors import BadInputError, GasangError, NotFoundError, TimedOutError, UsageError
from gasang.core.progress import Step
from gasang.images.connections import Connections, HttpHandler, HttpsHandler
from gasang.images.origin import DEFAULT_MIRROR
from gasang.images.spool import out_of_space

PIECE = 1 << 17
USER_AGENT = "gasang"
_HINT = "try again later, or set another mirror with GASANG_MIRROR"
_LABEL = r"[A-Za-z0-9_-]{1,63}"
_ADDRESS = re.compile(rf"https?://({_LABEL}(\.{_LABEL})*\.?|\[[0-9A-Fa-f:.]{{2,45}}\])(:[0-9]{{1,5}})?(/[!\"$-.0->@-~/]*)?")
"""What urllib takes as an address of HTTP, without query and fragment; names of other scripts are written as xn-- and %XX."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file below the mirror's address: its path, and what it must be, as a signed index says."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Patience:
    """`timeout`: seconds without a byte until a connection counts as dead. `attempts`: in a row without progress.

    `pause` waits seconds between them, by default until `Mirror.cancel`.
    """

    timeout: float = 30.0
    attempts: int = 4
    pause: Callable[[float], object] | None = None


_T = TypeVar("_T")
_Digest = Any
"""hashlib's objects have no public type."""
_MISSING = (404, 410)
_NETWORK = (OSError, http.client.HTTPException)


class _BrokenOff(Exception):
    """The connection ended too early; another attempt may go on from there."""


class _Wrong(Exception):
    """What came is not what the index promises."""


class Mirror:
    """A Debian mirror. Every method raises GasangError, one sentence, when it cannot do its work."""

    def __init__(self, base: str = DEFAULT_MIRROR, patience: Patience | None = None) -> None:
        if not _ADDRESS.fullmatch(base):
            raise UsageError(f"mirror {base[:80]!r}", "that is no address of a mirror", f"set GASANG_MIRROR to one like {DEFAULT_MIRROR}")
        self.base = base.rstrip("/")
        self._patience = patience or Patience()
        self._pause = self._patience.pause or self._wait
        self._cancelled = Event()
        self._connections = Connections()

    def _wait(self, seconds: float) -> None:
        self._cancelled.wait(seconds)

    def cancel(self) -> None:
        """End every download of this mirror soon, whatever thread it runs in; they raise GasangError, and so do later ones."""
        self._cancelled.set()
        self._connections.close()

    @contextmanager
    def given_up_on_failure(self) -> Iterator[None]:
        """`cancel` when the block is left by an exception, be it an interruption."""
        try:
            yield
        except BaseException:
            self.cancel()
            raise

    def small(self, path: str, limit: int) -> bytes:
        """A file of at most `limit` bytes that carries its own proof, such as InRelease; raise NotFoundError where it is not there."""
        return self._insist(path, lambda: self._small(path, limit), lambda: 0)

    def has(self, path: str) -> bool:
        """Whether a file is there, as far as the mirror says that it is not."""
        try:
            self._open(path, 0, "HEAD").close()
        except urllib.error.HTTPError as fault:
            fault.close()
            return fault.code not in _MISSING
        except (*_NETWORK, GasangError):
            return True
        return True

    def fetch(self, wanted: Wanted, target: Path, step: Step) -> None:
        """Have `target` be the wanted file. `step` advances by bytes, also by those that are already there.

        Raise NotFoundError where the mirror lacks it, BadInputError where what comes is not what the index promises, TimedOutError and
        GasangError for a mirror that does not answer or breaks off again and again, OutOfSpaceError for a full disk.
        """
        high = _HighWater(step)
        if _holds(target, wanted):
            high.reach(wanted.size)
            return
        partial = target.with_name(target.name + ".partial")
        for last in (False, True):
            try:
                self._insist(wanted.path, lambda: self._attempt(wanted, partial, high), lambda: _size(partial))
                break
            except _Wrong as fault:
                partial.unlink(missing_ok=True)
                if last:
                    raise BadInputError(self._subject(wanted.path), str(fault), _HINT) from fault
        os.replace(partial, target)

    def _subject(self, path: str) -> str:
        return f"{self.base}/{path}"

    def _insist(self, path: str, attempt: Callable[[], _T], position: Callable[[], int]) -> _T:
        """Attempt until it works; give up after some failures in a row during which `position` did not move."""
        failures = 0
        while True:
            if self._cancelled.is_set():
                raise GasangError(self._subject(path), "the download was given up", "try again")
            before = position()
            try:
                return attempt()
            except (*_NETWORK, _BrokenOff) as fault:
                if self._cancelled.is_set():
                    continue
                refusal = self._refusal(path, fault)
                if refusal is not None:
                    raise refusal from fault
                failures = 1 if position() > before else failures + 1
                if failures >= self._patience.attempts:
                    raise self._gave_up(path, fault, kept=position() > 0) from fault
                self._pause(min(0.5 * 2 ** (failures - 1), 8.0))

    def _refusal(self, path: str, fault: Exception) -> GasangError | None:
        """The error for an answer that asking again will not change."""
        if not isinstance(fault, urllib.error.HTTPError):
            return None
        fault.close()
        if fault.code in _MISSING:
            return NotFoundError(self._subject(path), "the mirror has no such file", "set another mirror with GASANG_MIRROR")
        again = fault.code in (408, 425, 429) or fault.code >= 500
        return None if again else GasangError(self._subject(path), f"the mirror refuses it ({fault.code} {fault.reason})", _HINT)

    def _gave_up(self, path: str, fault: Exception, *, kept: bool) -> GasangError:
        reason = fault.reason if isinstance(fault, urllib.error.URLError) else fault
        if isinstance(reason, TimeoutError):
            return TimedOutError(self._subject(path), f"the mirror sent nothing for {self._patience.timeout:g} seconds", _HINT)
        if isinstance(fault, urllib.error.HTTPError):
            return GasangError(self._subject(path), f"the mirror cannot serve it ({fault.code} {fault.reason})", _HINT)
        if isinstance(fault, _BrokenOff):
            hint = f"what came is kept; {_HINT}" if kept else _HINT
            return GasangError(self._subject(path), "the connection broke off again and again", hint)
        text = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
        return GasangError(self._subject(path), f"the mirror does not answer ({text})", _HINT)

    def _open(self, path: str, offset: int, method: str = "GET") -> http.client.HTTPResponse:
        headers = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
        request = urllib.request.Request(self._subject(path), headers=headers, method=method)  # noqa: S310 (the opener knows HTTP only)
        try:
            answer: http.client.HTTPResponse = _opener(self._connections).open(request, timeout=self._patience.timeout)
        except urllib.error.HTTPError as fault:
            if offset and fault.code == 416:
                fault.close()
                raise _Wrong("it is shorter than the index promises") from fault
            raise
        except ValueError as fault:  # our own address was checked, so it is one that the mirror has given
            raise GasangError(self._subject(path), "the mirror redirects to an address that is none", _HINT) from fault
        return answer

    def _small(self, path: str, limit: int) -> bytes:
        with self._open(path, 0) as answer:
            data = answer.read(limit + 1)
            if len(data) > limit:
                raise BadInputError(self._subject(path), f"it has more than {limit} bytes", _HINT)
            if answer.length:
                raise _BrokenOff
            return data

    def _attempt(self, wanted: Wanted, partial: Path, high: _HighWater) -> None:
        try:
            file = partial.open("r+b" if partial.exists() else "w+b", buffering=0)
        except OSError as fault:
            raise out_of_space(fault, partial.parent) from fault
        with file:
            digest = hashlib.sha256()
            offset = _rehash(file, digest, wanted.size)
            if offset < wanted.size:
                digest, offset = self._continue(wanted, file, digest, offset, high)
        if offset < wanted.size:
            raise _BrokenOff
        if digest.hexdigest() != wanted.sha256:
            raise _Wrong("its hash is not the one that the index promises")

    def _continue(self, wanted: Wanted, file: FileIO, digest: _Digest, offset: int, high: _HighWater) -> tuple[_Digest, int]:
        """Read on from `offset`, or from the beginning where the server cannot; the digest and how far it got."""
        with self._open(wanted.path, offset) as answer:
            if offset and not _goes_on(answer, offset):
                digest, offset = hashlib.sha256(), 0
                file.seek(0)
                file.truncate()
            if answer.length is not None and offset + answer.length != wanted.size:
                raise _Wrong(f"it has {offset + answer.length} bytes, the index promises {wanted.size}")
            while data := answer.read(PIECE):
                offset += len(data)
                if offset > wanted.size:
                    raise _Wrong(f"it has more than the {wanted.size} bytes that the index promises")
                digest.update(data)
                _write(file, data, Path(file.name))
                high.reach(offset)
        return digest, offset


class _HighWater:
    """Advances a step to a position, never twice over the same bytes."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self._reached = 0

    def reach(self, position: int) -> None:
        if position > self._reached:
            self._step.advance(position - self._reached)
            self._reached = position


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirections; closes the answer also where the address in it cannot be parsed."""

    def http_error_302(self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: http.client.HTTPMessage) -> Any:
        try:
            return super().http_error_302(req, fp, code, msg, headers)
        except ValueError:
            fp.close()
            raise

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


_HANDLERS = (
    urllib.request.ProxyHandler,
    _Redirects,
    urllib.request.HTTPDefaultErrorHandler,
    urllib.request.HTTPErrorProcessor,
    urllib.request.UnknownHandler,
)


def _opener(connections: Connections) -> urllib.request.OpenerDirector:
    """HTTP and nothing else: a mirror's redirections lead to no other protocol."""
    opener = urllib.request.OpenerDirector()
    opener.add_handler(HttpHandler(connections))
    opener.add_handler(HttpsHandler(connections))
    for handler in _HANDLERS:
        opener.add_handler(handler())
    return opener


def _goes_on(answer: http.client.HTTPResponse, offset: int) -> bool:
    """Whether the answer is the rest that was asked for, and not the whole file once more (RFC 9110, 14.4)."""
    return answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {offset}-")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _rehash(file: FileIO, digest: _Digest, limit: int) -> int:
    """Feed what is there to the digest; how much that is. Leaves the file at its end; a file that is too long is emptied."""
    if os.fstat(file.fileno()).st_size > limit:
        file.truncate(0)
    while data := file.read(PIECE):
        digest.update(data)
    return file.tell()


def _holds(target: Path, wanted: Wanted) -> bool:
    """Whether the target is there and right; a wrong one is as good as none."""
    if not target.is_file() or _size(target) != wanted.size:
        return False
    with target.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    return target.exists() and digest.hexdigest() == wanted.sha256


def _write(file: FileIO, data: bytes, partial: Path) -> None:
    """Append to the partial file. What a full disk could take of it stays: a file cut anywhere is one to go on with."""
    rest = memoryview(data)
    try:
        while rest:
            rest = rest[file.write(rest) :]
    except OSError as fault:
        raise out_of_space(fault, partial.parent) from fault
