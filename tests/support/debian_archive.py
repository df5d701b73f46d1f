"""A small Debian archive: packages made here, an index, a release file signed with a key made for the test, a server that can fail."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import io
import lzma
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import zstandard

from gasang.images.initramfs import modules_for
from support.kernel_parts import module, riscv_image

COMPRESS: Mapping[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".xz": lzma.compress,
    ".gz": lambda data: gzip.compress(data, mtime=0),
    ".zst": zstandard.compress,
}


def tar_of(*members: tarfile.TarInfo, data: Mapping[str, bytes] | None = None) -> bytes:
    """A tar archive of members, the content of files by name."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for member in members:
            content = (data or {}).get(member.name, b"")
            member.size = len(content) if member.isreg() else 0
            archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, mode: int = 0o644, target: str = "") -> tarfile.TarInfo:
    """A member of an archive."""
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.linkname, info.mtime = kind, mode, target, 1_700_000_000
    return info


def ar_of(*members: tuple[str, bytes]) -> bytes:
    """An ar archive."""
    out = b"!<arch>\n"
    for name, data in members:
        out += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n".encode() + data + b"\n" * (len(data) % 2)
    return out


def deb_of(control: Mapping[str, bytes], data: bytes, form: str = ".xz") -> bytes:
    """A .deb of control files and a data archive."""
    inner = tar_of(*(member(f"./{name}", mode=0o755) for name in control), data={f"./{name}": text for name, text in control.items()})
    compress = COMPRESS[form]
    return ar_of(("debian-binary", b"2.0\n"), (f"control.tar{form}", compress(inner)), (f"data.tar{form}", compress(data)))


@dataclass
class Archive:
    """A folder in the shape of a mirror, built by `add` and `publish`."""

    root: Path
    suite: str = "trixie"
    architecture: str = "riscv64"
    form: str = ".xz"
    entries: list[str] = field(default_factory=list)

    def add(
        self, name: str, control: str = "", files: Mapping[str, bytes] | None = None, scripts: Mapping[str, bytes] | None = None
    ) -> None:
        """A package of files by path; `control` holds more fields, a line each."""
        version = "1.0-1"
        text = f"Package: {name}\nVersion: {version}\nArchitecture: {self.architecture}\n{control}"
        folders = {path.rsplit("/", depth)[0] for path in files or {} for depth in range(1, path.count("/") + 1)}
        members = [member("./", tarfile.DIRTYPE, 0o755)]
        members += [member(f"./{folder}/", tarfile.DIRTYPE, 0o755) for folder in sorted(folders)]
        members += [member(f"./{path}", mode=0o755) for path in files or {}]
        data = tar_of(*members, data={f"./{path}": content for path, content in (files or {}).items()})
        self.add_deb(name, text, deb_of({"control": text.encode(), **(scripts or {})}, data, self.form))

    def add_deb(self, name: str, text: str, deb: bytes) -> None:
        """A package as it is."""
        path = f"pool/main/{name}_1.0-1_{self.architecture}.deb"
        self._write(path, deb)
        digest = hashlib.sha256(deb).hexdigest()
        self.entries.append(f"{text.rstrip()}\nFilename: {path}\nSize: {len(deb)}\nSHA256: {digest}\n")

    def publish(self, sign: Callable[[str], bytes], **fields: str) -> None:
        """Write the index and the signed release file."""
        self.publish_index(lzma.compress("\n".join(self.entries).encode()), sign, **fields)

    def without(self, name: str) -> None:
        """Forget a package, to add another of its name."""
        self.entries = [entry for entry in self.entries if not entry.startswith(f"Package: {name}\n")]

    def publish_index(self, index: bytes, sign: Callable[[str], bytes], **fields: str) -> None:
        """Write an index as it is, and the signed release file that promises it."""
        path = f"main/binary-{self.architecture}/Packages.xz"
        self._write(f"dists/{self.suite}/{path}", index)
        release = {"Suite": "stable", "Codename": self.suite, "Architectures": f"all {self.architecture}", **fields}
        text = "".join(f"{name}: {value}\n" for name, value in release.items())
        text += f"SHA256:\n {hashlib.sha256(index).hexdigest()} {len(index)} {path}\n"
        self._write(f"dists/{self.suite}/InRelease", sign(text))

    def _write(self, path: str, data: bytes) -> None:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)


RELEASE = "6.12.1-riscv64"


def small_debian(root: Path, kernel: bytes | None = None, architecture: str = "riscv64") -> Archive:
    """The least a Debian has: one essential package, apt, a kernel and busybox."""
    archive = Archive(root, architecture=architecture)
    archive.add("base-files", "Essential: yes\nDepends: libc6\n", {"usr/bin/sh": b"shell"})
    archive.add("libc6", "Multi-Arch: same\n", {"usr/lib/libc.so": b"library"})
    archive.add("apt", "Priority: required\n", {"usr/bin/apt": b"apt"})
    add_kernel(archive, riscv_image() if kernel is None else kernel)
    archive.add("unused")
    return archive


def add_kernel(archive: Archive, kernel: bytes) -> None:
    """What a virtual machine has besides: a kernel, its modules, busybox."""
    archive.add(f"linux-image-{archive.architecture}", f"Depends: linux-image-{RELEASE}\n")
    names = modules_for(archive.architecture)
    modules = {f"usr/lib/modules/{RELEASE}/kernel/{name}.ko.xz": lzma.compress(module(b"depends=\0")) for name in names}
    archive.add(f"linux-image-{RELEASE}", files={f"boot/vmlinux-{RELEASE}": kernel, **modules})
    archive.add("busybox-static", files={"usr/bin/busybox": b"busybox"})


def bzimage() -> bytes:
    """As much of a kernel for amd64 as tells one (Documentation/arch/x86/boot.rst)."""
    return bytes(0x202) + b"HdrS" + bytes(0x200)


_TOOLS = "cat chmod chroot date dd grep hostname ln ls mkdir mkfifo mknod mount ping rm sleep true wc"


def programs() -> dict[str, bytes]:
    """A shell, and tools behind it: the host's dash with what it is linked to, as busybox' own shell prefers a dpkg of its own."""
    busybox, shell = shutil.which("busybox"), shutil.which("dash")
    if busybox is None or shell is None:
        pytest.skip("a Debian to configure is made of the host's dash and busybox, and one is missing")
    linked = subprocess.run(["ldd", shell], capture_output=True, check=True, text=True).stdout
    libraries = [word for line in linked.splitlines() for word in line.split() if word.startswith("/")]
    files = {f"usr/{path.lstrip('/').removeprefix('usr/')}": Path(path).read_bytes() for path in libraries}
    tools = {f"usr/bin/{name}": f'#!/bin/sh\nexec /usr/bin/busybox {name} "$@"\n'.encode() for name in _TOOLS.split()}
    return {**files, **tools, "usr/bin/busybox": Path(busybox).read_bytes(), "usr/bin/sh": Path(shell).read_bytes()}


DPKG = b"""#!/bin/sh
# As much of dpkg as configuring needs: runs each postinst, tells of it as --status-fd does.
info=/var/lib/dpkg/info
configure() {
    while read -r word package rest; do
        if [ "$word" = Package: ] && [ ! -e "/var/lib/dpkg/done-$package" ]; then
            script=$info/$package.postinst
            if [ -x "$script" ]; then
                "$script" configure 3>&- || {
                    code=$?
                    echo "dpkg: error processing package $package (--configure)" >&2
                    words="installed $package package post-installation script subprocess returned error exit status $code"
                    echo "status: $package : error : $words" >&3
                    return 1
                }
            fi
            >"/var/lib/dpkg/done-$package"
            echo "status: $package: installed" >&3
        fi
    done </var/lib/dpkg/status
}
case " $* " in
*" --print-architecture "*) echo amd64 ;;
*" --configure "*) configure ;;
esac
"""


def native_debian(root: Path, scripts: Mapping[str, bytes] | None = None, **others: Mapping[str, bytes]) -> Archive:
    """The least that can be configured on this host (amd64): a shell, some tools, a stand-in for dpkg.

    `scripts` are those of the package "chosen" (files of its control archive by name), `others` those of further packages.
    """
    archive = Archive(root, architecture="amd64", form="")
    own = {"usr/bin/dpkg": DPKG, "usr/sbin/ldconfig": b"#!/bin/sh\n"}
    archive.add(
        "base-files", "Essential: yes\n", {**programs(), **own, **{f"{name}/.keep": b"" for name in ("proc", "dev", "sys", "run", "root")}}
    )
    archive.add("apt", "Priority: required\n", {"usr/bin/apt": b"apt"})
    for name, files in {"chosen": scripts or {}, **others}.items():
        archive.add(name, "Priority: required\n", {f"usr/share/{name}": name.encode()}, files)
    return archive


class Signer:
    """A key made with gpg in a folder of its own, without a passphrase."""

    def __init__(self, home: Path) -> None:
        self._home = home
        home.mkdir(mode=0o700)
        self._gpg("--quick-generate-key", "--passphrase", "", "Archive <archive@example.org>", "ed25519", "sign", "never")
        self.keyring = home / "keyring.gpg"
        self.keyring.write_bytes(self._gpg("--export"))

    def sign(self, text: str) -> bytes:
        """The text, signed in the clear."""
        return self._gpg("--clearsign", "--digest-algo", "SHA256", given=text.encode())

    def close(self) -> None:
        """End the agent that gpg has started."""
        subprocess.run(["gpgconf", "--homedir", str(self._home), "--kill", "all"], check=True, capture_output=True)

    def _gpg(self, *arguments: str, given: bytes = b"") -> bytes:
        command = ["gpg", "--homedir", str(self._home), "--batch", "--quiet", "--no-tty", "--pinentry-mode", "loopback", *arguments]
        return subprocess.run(command, input=given, capture_output=True, check=True).stdout


@dataclass
class Server:
    """A mirror on the loopback. `faults`, by path, are used up one a request: see `_Handler.do_GET`."""

    root: Path
    address: str = ""
    faults: dict[str, list[str]] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    ranges: bool = True
    fell_silent: threading.Event = field(default_factory=threading.Event)


@contextmanager
def serving(root: Path) -> Iterator[Server]:
    """Serve a folder."""
    server = Server(root)
    handler = type("Handler", (_Handler,), {"mirror": server})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as listener:
        server.address = f"http://127.0.0.1:{listener.server_address[1]}"
        thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            listener.shutdown()
            thread.join()


class _Handler(http.server.BaseHTTPRequestHandler):
    mirror: Server

    def do_GET(self) -> None:
        """Faults: "break" ends after half of the rest, "silent" after half and never closes, "damage" changes a byte, "mute" never answers.

        Or a status code.
        """
        path = self.path.lstrip("/")
        asked = self.headers.get("Range", "")
        self.mirror.requests.append((path, asked))
        fault = (self.mirror.faults.get(path) or [""]).pop(0)
        file = self.mirror.root / path
        if fault == "mute":
            self._hang()
            return
        if fault.isdecimal() or not file.is_file():
            self.send_error(int(fault or 404))
            return
        data = file.read_bytes()
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.mirror.ranges else 0
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        rest = data[start:]
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        if fault == "damage":
            rest = rest[:-1] + bytes([rest[-1] ^ 1])
        with suppress(ConnectionError):  # a client that has seen enough closes
            self.wfile.write(rest[: len(rest) // 2] if fault in ("break", "silent") else rest)
            if fault == "silent":
                self._hang()

    def do_HEAD(self) -> None:
        """Whether a file is there; no request for it, and no fault's turn."""
        self.send_response(200 if (self.mirror.root / self.path.lstrip("/")).is_file() else 404)
        self.end_headers()

    def _hang(self) -> None:
        self.mirror.fell_silent.set()
        with suppress(ConnectionError):
            self.rfile.read(1)  # returns when the client closes
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        """Nothing is printed."""
