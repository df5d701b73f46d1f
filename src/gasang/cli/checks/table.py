"""The checks of ``gasang doctor`` in the order they are shown. Adding one is a function and a line."""

from __future__ import annotations

from typing import Final

from gasang.cli.checks import devices, isolation, kvm, machine, parts
from gasang.cli.checks.finding import Check

CHECKS: Final[dict[str, Check]] = {
    "python": machine.check_python,
    "llvm": parts.check_llvm,
    "cache": parts.check_cache,
    "processors": machine.check_processors,
    "memory": machine.check_memory,
    "disk": parts.check_disk,
    "speed": devices.check_speed,
    "kvm": kvm.check_kvm,
    "hugepages": devices.check_huge_pages,
    "tap": devices.check_tap,
    "cgroups": isolation.check_cgroups,
    "overlay": isolation.check_overlay,
    "users": isolation.check_users,
    "seccomp": isolation.check_seccomp,
    "gpgv": parts.check_gpgv,
    "keyring": parts.check_keyring,
    "mirror": parts.check_mirror,
    "terminal": machine.check_terminal,
}
