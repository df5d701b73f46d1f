"""Handing a seccomp listener over: the descriptor and the container's state go to the agent's socket (runtime specification, "seccomp")."""

from __future__ import annotations

import array
import ctypes
import json
import os
import socket
from typing import Any

from gasang.core.errors import GasangError
from gasang.host.syscalls import number


def fetch_descriptor(pidfd: int, descriptor: int) -> int:
    """A copy of another process's descriptor (pidfd_getfd(2)); raise OSError if the host refuses."""
    libc = ctypes.CDLL(None, use_errno=True)
    result = libc.syscall(ctypes.c_long(number("pidfd_getfd")), ctypes.c_int(pidfd), ctypes.c_int(descriptor), ctypes.c_uint(0))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return int(result)


def hand_listener_over(pidfd: int, descriptor: int, path: str, metadata: str, pid: int, state: dict[str, Any]) -> None:
    """Send the listener that a process has under `descriptor` to the socket at `path`. Raises GasangError if nobody takes it."""
    listener = fetch_descriptor(pidfd, descriptor)
    message = {"ociVersion": state["ociVersion"], "fds": ["seccompFd"], "pid": pid, "metadata": metadata, "state": state}
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as agent:
            agent.connect(path)
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [listener]))
            agent.sendmsg([json.dumps(message).encode()], [rights])
    except OSError as error:
        cause = f"the listener cannot be sent there ({(error.strerror or '').lower()})"
        raise GasangError(f"seccomp agent {path}", cause, "start it first") from error
    finally:
        os.close(listener)
