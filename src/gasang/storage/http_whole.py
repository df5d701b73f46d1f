"""A file on a web server that does not serve parts: downloaded as a whole, and begun anew where a connection breaks."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from urllib3.exceptions import HTTPError

from gasang.core.errors import BadInputError, GasangError, OutOfSpaceError
from gasang.storage.http import PassingError, Patience, Server, judge, sentence
from gasang.storage.made import FULL

_STEP = 1 << 20


def download(url: str, path: Path, told: Callable[[int], None], patience: Patience | None = None) -> None:
    """Have in the file `path` what is at an address. `told` hears how many bytes are there, fewer again where it begins anew.

    Raises what its server's refusal is, OutOfSpaceError, GasangError where the tries end.
    """
    patience = patience or Patience()
    server = Server(url, patience)
    cause: Exception | None = None
    try:
        for attempt in range(patience.tries):
            if attempt:
                time.sleep(patience.pause * 2 ** (attempt - 1))  # nobody tells when a server has recovered
            try:
                _fetch(server, url, path, told)
                return
            except OSError as error:
                if error.errno in FULL:
                    raise OutOfSpaceError(f"disk {url}", f"there is no room for it in {path.parent}", "make room there") from error
                cause = error
            except (PassingError, HTTPError) as error:
                cause = error
    finally:
        server.close()
    raise GasangError(f"disk {url}", f"it cannot be downloaded: {sentence(cause)}", "check its address and your network") from cause


def _fetch(server: Server, url: str, path: Path, told: Callable[[int], None]) -> None:
    answer = server.ask({})
    try:
        judge(answer, url)
        announced = answer.headers.get("Content-Length", "")
        size = int(announced) if announced.isdecimal() and len(announced) < 19 else 0
        done = 0
        told(0)
        with open(path, "wb", buffering=0) as file:
            while data := answer.read(_STEP):
                file.write(data)
                done += len(data)
                told(done)
        if size and done != size:
            raise PassingError("the answer was cut short")
        if not done:
            raise BadInputError(f"disk {url}", "it is empty", "check the file on the server")
    finally:
        answer.close()
