"""Checks of what gasang needs besides itself: LLVM, the cache of compiled code, signatures, the mirror."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final

from gasang.cli.checks.finding import Finding, Host, Status
from gasang.cli.checks.machine import disk_finding, nearest_existing
from gasang.core.paths import data_folder

_MIRROR_SECONDS: Final = 8.0
_KEYRINGS: Final = ("/usr/share/keyrings/debian-archive-keyring.gpg", "/usr/share/keyrings/debian-archive-keyring.pgp")


def check_llvm(host: Host) -> Finding:
    """LLVM is there and makes code for this processor."""
    try:
        from llvmlite import binding
    except (ImportError, OSError) as error:
        return Finding(Status.FAILED, f"llvmlite does not load ({error})", "install it: pip install llvmlite")
    version = ".".join(map(str, binding.llvm_version_info))
    try:
        binding.initialize_native_target()
        target = binding.Target.from_default_triple().name
    except RuntimeError as error:
        return Finding(Status.FAILED, f"LLVM {version} has no code for this processor ({error})", "use an x86-64 or AArch64 host")
    return Finding(Status.OK, f"LLVM {version} for {target}, {binding.get_host_cpu_name()}")


def writable_finding(folder: Path) -> Finding:
    """Files can be made in `folder`, or in the nearest folder above it that exists."""
    existing = nearest_existing(folder)
    try:
        with tempfile.TemporaryFile(dir=existing) as file:
            file.write(b"x")
    except OSError as error:
        return Finding(
            Status.WARNING,
            f"{folder} cannot be written ({error.strerror}); everything is compiled again at each start",
            "make it writable, or set GASANG_NATIVE_CACHE to a folder that is",
        )
    return Finding(Status.OK, str(folder))


def check_cache(host: Host) -> Finding:
    """Compiled code can be kept."""
    from gasang.native.cache import default_directory

    return writable_finding(default_directory())


def check_disk(host: Host) -> Finding:
    """There is room for images."""
    return disk_finding(data_folder(host.environment))


def check_gpgv(host: Host) -> Finding:
    """Signatures of Debian's indexes can be verified."""
    program = host.program("gpgv", "sqv")
    if not program:
        return Finding(Status.WARNING, "neither gpgv nor sqv: no image can be pulled", "install it: apt-get install gpgv")
    return Finding(Status.OK, program)


def check_keyring(host: Host) -> Finding:
    """The keys are here that images' packages must be signed with."""
    chosen = host.config.value("keyring")
    if chosen is not None:
        known = chosen.is_file()
        return Finding(Status.OK, str(chosen)) if known else Finding(Status.WARNING, f"{chosen} is missing", "check GASANG_KEYRING")
    found = next((name for name in _KEYRINGS if host.path(name).is_file()), "")
    if not found:
        remedy = "install them: apt-get install debian-archive-keyring"
        return Finding(Status.WARNING, "Debian's archive keys are missing: no image can be pulled", remedy)
    return Finding(Status.OK, found)


def check_mirror(host: Host) -> Finding:
    """The mirror answers."""
    from http.client import HTTPException
    from urllib.request import Request, urlopen

    mirror = host.config.value("mirror")
    request = Request(f"{mirror}/dists/stable/InRelease", method="HEAD")  # noqa: S310 - the setting's parser takes http and https only
    try:
        with urlopen(request, timeout=_MIRROR_SECONDS) as answer:  # noqa: S310
            status = answer.status
    except (OSError, HTTPException, ValueError) as error:  # ValueError: an address that urllib cannot parse
        reason = getattr(error, "reason", error)
        return Finding(
            Status.WARNING, f"{mirror} does not answer ({reason})", "check the network and http_proxy, or name another in GASANG_MIRROR"
        )
    return Finding(Status.OK, f"{mirror} answers ({status})")
