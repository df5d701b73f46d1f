"""The commands of ``gasang nbd``. They need no daemon."""

from __future__ import annotations

import json
import os
import socket
import stat
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

from gasang.cli.containers.family import Local
from gasang.cli.disks import ALLOW, HEADER, KEY_FILE, open_named
from gasang.cli.options import Argument, Example, Parsed, Syntax, plain_text, switch, value
from gasang.cli.output import printable
from gasang.cli.settings import Context
from gasang.core.errors import GasangError, StateError, UsageError

PORT: Final = 10809


def _tcp(text: str, subject: str) -> tuple[str, int]:
    """A host's address and a port, of which either may be left out. Raises UsageError."""
    host, colon, port = text.rpartition(":") if ":" in text.rpartition("]")[2] else (text, "", "")
    if not colon:
        port = str(PORT)
    if not (port.isascii() and port.isdecimal() and int(port) < 1 << 16):
        raise UsageError(subject, f"{text!r} is no address", "write HOST:PORT, such as 127.0.0.1:10809")
    return host.strip("[]"), int(port)


UNIX = value("unix", "PATH", "on a Unix socket of this path", plain_text, files=True)
TCP = value("tcp", "HOST[:PORT]", f"on a host's address; port {PORT} unless another is named, 0 for any that is free", _tcp)
READ_ONLY = switch("read-only", "clients may not write", short="r")
NAME = value("name", "NAME", "the name of the export; else it has none, which clients ask for unless told otherwise", plain_text)
FORM = value("format", "FORMAT", "the format that FILE is of; else its content decides", plain_text)
JSON = switch("json", "say where it is offered as an object, for programs")
DEVICE = value("device", "PATH", "this device of the host, such as /dev/nbd0; else the first that is free", plain_text, files=True)


def _serve(parsed: Parsed, context: Context) -> int:
    from gasang.storage.nbd.server import Offer, Server

    name = parsed.arguments[0]
    if parsed.get(UNIX) and parsed.get(TCP):
        raise UsageError("gasang nbd serve", "it listens on one address", "give --unix or --tcp")
    with ExitStack() as cleanup:
        image = open_named(
            parsed, name, read_only=parsed.get(READ_ONLY), form=parsed.get(FORM), key_file=parsed.get(KEY_FILE), header=parsed.get(HEADER)
        )
        offer = Offer(image, parsed.get(NAME) or "", read_only=parsed.get(READ_ONLY), description=Path(name).name)
        try:
            listener = (
                _on_path(parsed.get(UNIX) or "", cleanup) if parsed.get(UNIX) else _on_port(*(parsed.get(TCP) or ("127.0.0.1", PORT)))
            )
        except BaseException:
            image.close()
            raise
        server = Server([offer], [listener], lambda sentence: print(f"warning: {sentence}", file=sys.stderr))
        address = _address(parsed, listener)
        server.start()
        if parsed.get(JSON):
            print(json.dumps({"uri": address, "size": image.size, "read_only": offer.export.read_only}), flush=True)
        else:
            print(f"{printable(name)} is offered as {address}; ctrl-C ends that", flush=True)
        _until_told()
        try:
            server.close()
        except OSError as error:
            raise GasangError(f"disk {name}", f"what was written could not be kept ({error.strerror})", "check the host's disk") from error
    return 0


def _on_path(path: str, cleanup: ExitStack) -> socket.socket:
    """A socket that only its owner may use. One that somebody left behind is taken away; one that is used is not."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        with suppress(OSError):
            if stat.S_ISSOCK(os.lstat(path).st_mode) and not _answers(path):
                os.unlink(path)
        made.bind(path)
        made.listen()
    except OSError as error:
        made.close()
        raise StateError(f"socket {path}", f"it cannot be made ({error.strerror or error})", "name another path") from error
    finally:
        os.umask(before)
    cleanup.callback(lambda: Path(path).unlink(missing_ok=True))
    return made


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as trial:
        return trial.connect_ex(path) == 0


def _on_port(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise StateError(
            f"address {host}:{port}", f"it cannot be listened on ({error.strerror})", "name another: --tcp HOST:PORT"
        ) from error


def _address(parsed: Parsed, listener: socket.socket) -> str:
    from gasang.storage.nbd.address import Address

    name = parsed.get(NAME) or ""
    if path := parsed.get(UNIX):
        return str(Address(name, path=os.path.abspath(path)))
    host, port = listener.getsockname()[:2]
    return str(Address(name, host, port))


def _until_told() -> None:
    """Return at SIGINT or SIGTERM."""
    import signal

    signals = {signal.SIGINT, signal.SIGTERM}
    before = {number: signal.signal(number, lambda *_: None) for number in signals}
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    old = signal.set_wakeup_fd(writer.fileno())
    try:
        reader.recv(1)
    finally:
        signal.set_wakeup_fd(old)
        for number, handler in before.items():
            signal.signal(number, handler)
        reader.close()
        writer.close()


def _attach(parsed: Parsed, context: Context) -> int:
    from gasang.host.nbd import NetworkDevice
    from gasang.storage.nbd.attached import Attached
    from gasang.storage.nbd.server import Offer

    name, path = parsed.arguments[0], parsed.get(DEVICE)
    image = open_named(
        parsed, name, read_only=parsed.get(READ_ONLY), form=parsed.get(FORM), key_file=parsed.get(KEY_FILE), header=parsed.get(HEADER)
    )
    try:
        device = NetworkDevice(path) if path else NetworkDevice.free()
        attached = Attached(
            Offer(image, "", read_only=parsed.get(READ_ONLY)), device, lambda sentence: print(f"warning: {sentence}", file=sys.stderr)
        )
    except BaseException:
        image.close()
        raise
    if parsed.get(JSON):
        print(json.dumps({"device": device.path, "size": image.size, "read_only": image.read_only}), flush=True)
    else:
        print(f"{printable(name)} is {device.path}; ctrl-C ends that", flush=True)
    try:
        _until_told()
    finally:
        try:
            attached.close()
        except OSError as error:
            raise GasangError(f"disk {name}", f"what was written could not be kept ({error.strerror})", "check the host's disk") from error
    return 0


ATTACH: Final = Local(
    Syntax(
        "Have a disk image be a block device of this host until it is ended.",
        (DEVICE, READ_ONLY, FORM, KEY_FILE, HEADER, ALLOW, JSON),
        (Argument("FILE|URL", "a disk image of any format, or nbd:// or http:// and where it lies", completes="files"),),
        examples=(
            Example("gasang nbd attach disk.qcow2", "as the first of /dev/nbd0 … that is free"),
            Example("gasang nbd attach --read-only --device /dev/nbd3 nbd://10.0.0.1/web", "another host's disk"),
        ),
        notes="Needs root and the kernel module nbd. Unmount what is mounted from it before it is ended.",
    ),
    _attach,
)
SERVE: Final = Local(
    Syntax(
        "Offer a disk image to NBD clients until it is ended.",
        (UNIX, TCP, NAME, READ_ONLY, FORM, KEY_FILE, HEADER, ALLOW, JSON),
        (Argument("FILE", "a disk image of any format", completes="files"),),
        examples=(
            Example("gasang nbd serve disk.qcow2", "as nbd://127.0.0.1:10809/"),
            Example("gasang nbd serve --read-only --unix /run/disk.sock disk.vmdk", "to whoever may open the socket"),
            Example("gasang nbd serve --tcp 10.0.0.1 --name web disk.vhdx", "as nbd://10.0.0.1:10809/web"),
        ),
        notes="NBD knows no passwords: whoever reaches the address has the disk. Several clients may use it at once.",
    ),
    _serve,
)
