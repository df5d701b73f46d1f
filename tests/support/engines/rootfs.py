"""Root file systems for test images: Debian's static busybox with its applets, and tar layers from plain descriptions."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MEMBERS = {
    "etc/passwd": b"root:x:0:0:root:/root:/bin/sh\nworker:x:1000:1000:worker:/home/worker:/bin/sh\n",
    "etc/group": b"root:x:0:\nworker:x:1000:\ncrew:x:2000:worker\n",
    "etc/hello": b"hello from the image\n",
}
FOLDERS = ("bin", "etc", "home", "home/worker", "proc", "root", "sys", "dev", "tmp", "var", "var/www")
TIME = 1_700_000_000


def busybox() -> Path | None:
    """The static busybox (Debian: busybox-static); one that asks for a dynamic linker is of no use in an image."""
    found = shutil.which("busybox")
    return Path(found) if found and b"/ld-linux" not in Path(found).read_bytes()[:4096] else None


def busybox_layer() -> bytes:
    """A tar archive with busybox, a link for each applet, users and empty folders."""
    program = busybox()
    assert program is not None, "busybox is not installed: apt-get install busybox-static"
    applets = subprocess.run([program, "--list"], capture_output=True, text=True, check=True).stdout.split()
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as archive:
        for folder in FOLDERS:
            add(archive, folder, tarfile.DIRTYPE, mode=0o1777 if folder == "tmp" else 0o755, owner=1000 if folder == "home/worker" else 0)
        add(archive, "bin/busybox", data=program.read_bytes(), mode=0o755)
        for applet in applets:
            if applet != "busybox":
                add(archive, f"bin/{applet}", tarfile.SYMTYPE, link="busybox")
        for name, data in MEMBERS.items():
            add(archive, name, data=data)
    return output.getvalue()


def add(
    archive: tarfile.TarFile,
    name: str,
    kind: bytes = tarfile.REGTYPE,
    *,
    data: bytes = b"",
    mode: int = 0o644,
    owner: int = 0,
    link: str = "",
) -> None:
    """One member of an archive."""
    member = tarfile.TarInfo(name)
    member.type, member.mode, member.uid, member.gid, member.mtime = kind, mode, owner, owner, TIME
    member.size, member.linkname = len(data), link
    archive.addfile(member, io.BytesIO(data))


def layer(files: Mapping[str, bytes | str | None]) -> bytes:
    """A tar archive: bytes are a file, a string a symbolic link, None a folder; parents are made."""
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as archive:
        for name, content in files.items():
            if content is None:
                add(archive, name, tarfile.DIRTYPE, mode=0o755)
            elif isinstance(content, str):
                add(archive, name, tarfile.SYMTYPE, link=content)
            else:
                add(archive, name, data=content)
    return output.getvalue()


@dataclass
class Image:
    """An image as a registry has it: compressed layers, and a config over them."""

    layers: list[bytes]
    config: dict[str, Any] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    manifest: bytes = b""

    def __post_init__(self) -> None:
        packed = [gzip.compress(data, 1, mtime=0) for data in self.layers]
        body = json.dumps(
            {
                "architecture": "amd64",
                "os": "linux",
                "created": "2023-11-14T22:13:20Z",
                "config": self.config,
                "rootfs": {"type": "layers", "diff_ids": [digest(data) for data in self.layers]},
                "history": [{"created": "2023-11-14T22:13:20Z", "created_by": f"layer {index}"} for index in range(len(packed))],
            }
        ).encode()
        self.blobs = {digest(data): data for data in (*packed, body)}
        self.manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "size": len(body), "digest": digest(body)},
                "layers": [
                    {"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", "size": len(data), "digest": digest(data)}
                    for data in packed
                ],
            }
        ).encode()


MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


def digest(data: bytes) -> str:
    """The digest by which a registry knows a blob."""
    return "sha256:" + hashlib.sha256(data).hexdigest()
