"""Disks behind addresses, for a machine in its jail, which has no network: a process of their own has them, and offers each over a socket.

It is started before the jail is entered, in the host's network, with the addresses, formats and keys of the disks; the machine learns none
of these, and only asks for bytes (NBD). Of the host's rights the process keeps none. It ends with the sockets, when the machine's process
does, however that ends, and what was written is kept then.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from gasang.core.errors import GasangError
from gasang.host import confining
from gasang.kinds.container.privileges import last_capability
from gasang.kinds.vm.disks import is_far, of_document
from gasang.kinds.vm.process.settings import MachineSettings
from gasang.storage.encrypted import open_encrypted
from gasang.storage.formats import read_key
from gasang.storage.images.image import Image
from gasang.storage.nbd.server import Offer, Server
from gasang.storage.remote import open_remote

_MOST: Final = 1 << 16
_READY: Final = b"+"


def brought_near(settings: MachineSettings) -> MachineSettings:
    """The same machine, each of whose disks behind an address is at a socket that this process has. Raises GasangError, OSError."""
    far = {number: disk for number, disk in enumerate(settings.disks) if is_far(of_document(disk))}
    if not far:
        return settings
    with ExitStack() as held:
        ours, theirs = zip(*((held.enter_context(end) for end in socket.socketpair()) for _ in far), strict=True)
        _start([end.fileno() for end in theirs], list(far.values()))
        near = dict(zip(far, (end.detach() for end in ours), strict=True))
    disks = tuple(_near(disk, near[number]) if number in near else disk for number, disk in enumerate(settings.disks))
    return replace(settings, disks=disks)


def _near(disk: Sequence[Any], served: int) -> tuple[Any, ...]:
    path, read_only, more = disk
    return path, read_only, {"address": more["address"], "served": served, **({"limits": more["limits"]} if "limits" in more else {})}


def _start(descriptors: list[int], disks: list[Sequence[Any]]) -> None:
    """The process, once it has opened all of the disks. Raises GasangError with what it says otherwise."""
    words = [sys.executable, "-P", "-m", __name__, json.dumps([descriptors, disks])]
    with subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, pass_fds=descriptors) as process:
        assert process.stdout is not None
        word = process.stdout.read(_MOST)
        if word == _READY:
            process.returncode = 0  # it lives as long as the sockets, and the first process of the family buries it
            return
    try:
        subject, cause, hint = json.loads(word)
    except ValueError:
        subject, cause, hint = "disk", "the process that was to have the disks behind addresses has ended", "see the machine's log"
    raise GasangError(subject, cause, hint)


def _open(document: Sequence[Any]) -> Image:
    disk = of_document(document)
    if disk.key_file is not None:
        return open_encrypted(disk.address, read_key(disk.key_file), read_only=disk.read_only, form=disk.form, header=disk.header)
    return open_remote(disk.address, read_only=disk.read_only, form=disk.form)


def _warn(sentence: str) -> None:
    print(f"gasang: warning: {sentence}", file=sys.stderr)


def main(words: str) -> int:
    """The program: have the disks, and offer them until nobody asks any more."""
    descriptors, documents = json.loads(words)
    os.set_inheritable(1, False)
    try:
        images = [_open(document) for document in documents]
    except GasangError as error:
        print(json.dumps([error.subject, error.cause, error.hint]), end="")
        return 1
    except OSError as error:
        print(json.dumps(["disk", str(error), "check its address and the server"]), end="")
        return 1
    confining.no_new_privileges()
    confining.keep_capabilities(0, last_capability())
    servers = [Server([Offer(image, "", read_only=image.read_only)], [], _warn) for image in images]
    threads = [
        threading.Thread(target=server.serve, args=(socket.socket(fileno=descriptor),), name="disk")
        for server, descriptor in zip(servers, descriptors, strict=True)
    ]
    for thread in threads:
        thread.start()
    os.write(1, _READY)
    os.dup2(0, 1)
    for thread, server in zip(threads, servers, strict=True):
        thread.join()
        try:
            server.close()
        except (OSError, GasangError) as error:
            _warn(f"what the machine wrote on a disk could not be kept ({error})")
    return 0


if __name__ == "__main__":
    os.chdir(Path("/"))
    sys.exit(main(*sys.argv[1:]))
