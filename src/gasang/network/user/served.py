"""A network in user space in a process of its own, which outlives who started it (apart.py): `python -m gasang.network.user.served WORDS`.

WORDS is a document: the descriptor of the cable's end and what the other end takes, the plan, and the published ports with the sockets that
hold them. It ends when nobody has the cable's other end any more. Frames are hostile: before it reads one the process has no capability
left, and is nobody.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from gasang.core.errors import GasangError
from gasang.host import confining, limits
from gasang.host.processes import CAPABILITIES
from gasang.network.ports import Held
from gasang.network.spec import Published
from gasang.network.user.plan import Plan
from gasang.network.user.service import UserNetwork

_NOBODY: Final = 65534
_LAST_CAPABILITY: Final = Path("/proc/sys/kernel/cap_last_cap")
READY: Final = b"+"


def confine() -> None:
    """Give up what the host lets us give up; before there is a second thread."""
    last = int(_LAST_CAPABILITY.read_text("ascii"))
    bounds = 1 << CAPABILITIES.index("SETUID") | 1 << CAPABILITIES.index("SETPCAP")
    steps: tuple[Callable[[], Any], ...] = (
        lambda: confining.be_opaque(opaque=True), confining.no_new_privileges,
        lambda: os.setgroups([]), lambda: os.setresgid(*[_NOBODY] * 3),
        # Bounds first, while we may; who is nobody then has none of what there was.
        lambda: confining.keep_capabilities(bounds, last), lambda: confining.drop_bounds(last),
        lambda: os.setresuid(*[_NOBODY] * 3), lambda: confining.keep_capabilities(0, last),
    )  # fmt: skip
    for step in steps:
        with suppress(OSError, GasangError):
            step()


def main(arguments: list[str]) -> int:
    """Serve."""
    words = json.loads(arguments[0])
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    limits.open_as_many_as_allowed()
    published = [Held(Published(**port), socket.socket(fileno=descriptor)) for descriptor, port in words["ports"]]
    confine()
    network = UserNetwork(Plan(**words["plan"]), int(words["cable"]), published, takes=int(words["takes"]))
    os.write(int(words["ready"]), READY)
    os.close(int(words["ready"]))
    network.ended.wait()
    network.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
