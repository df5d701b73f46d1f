"""``gasang run --vm`` with -d, or with a network of the daemon's: a virtual machine behind the daemon, in a process of its own."""

from __future__ import annotations

import os
import sys
from functools import partial
from typing import Any, Final

from gasang.api.client import path_of
from gasang.cli import vm
from gasang.cli.containers import places as of
from gasang.cli.containers.document import fill, networking
from gasang.cli.containers.kinds import ARCH
from gasang.cli.containers.options import DETACH, INTERACTIVE, TTY, environment_of
from gasang.cli.options import Option, Parsed
from gasang.cli.progress import open_progress
from gasang.cli.settings import Context

_PATHS: Final = frozenset({
    "HostConfig.AutoRemove", "HostConfig.RestartPolicy", "HostConfig.LogConfig.Type", "HostConfig.LogConfig.Config", "Hostname",
    "StopSignal", "StopTimeout", "HostConfig.PublishAllPorts", "HostConfig.Dns", "HostConfig.DnsSearch", "HostConfig.DnsOptions",
})  # fmt: skip
PLACES: Final = tuple(place for place in of.PLACES if place.path in _PATHS or place.path.startswith("Healthcheck."))
"""What the options that containers have as well mean for a machine."""
_NETWORK: Final = (of.NETWORKS, of.NO_ROOT, of.ALIASES, of.IP, of.IP6, of.MAC, of.PUBLISH, of.EXPOSE)
OPTIONS: Final[tuple[Option[Any], ...]] = (
    vm.REQUIRE_JAIL, DETACH, of.NAME, of.LABELS, of.LABEL_FILE, *_NETWORK, *(place.option for place in PLACES),
)  # fmt: skip
"""Those that go with machines behind the daemon alone."""


def run(parsed: Parsed, context: Context) -> int:
    """Make and start the machine, its image pulled first where it is missing. Raises GasangError.

    With -d its id is printed; else this command shows it, and it is removed when it ends.
    """
    from gasang.cli.containers.attached import console_for
    from gasang.cli.containers.daemon import connect
    from gasang.cli.containers.document import Ends
    from gasang.cli.containers.foreground import Machine

    vm.check(parsed)
    sits = not parsed.command
    if parsed.arguments:
        from gasang.kinds.vm.agent.executable import prepare_agent
        from gasang.kinds.vm.launch import image_platform
        from gasang.kinds.vm.pull import boot_files

        image = parsed.arguments[0]
        warn = partial(print, "gasang:", file=sys.stderr)
        platform = image_platform(image, parsed.get(ARCH), parsed.get(vm.ACCEL), warn)
        with open_progress(context) as progress:
            files = boot_files(image, progress, context.origin(), platform.architecture, inside=bool(parsed.command))
            prepare_agent(platform.family, progress)  # the machine's process would wait for it, and tell nobody
        sits = sits and files.process is None
    client, behind = connect(context), parsed.get(DETACH)
    sits = sits and (behind or (os.isatty(0) and os.isatty(1)))
    body = document(parsed, context, sits=sits)
    machine = body["Machine"]
    if not behind:
        body["HostConfig"]["AutoRemove"] = True
        body["StdinOnce"] = machine["stdin"]
    console = None if behind else console_for(interactive=machine["stdin"], tty=machine["tty"])
    key = client.call("POST", "/gasang/vms/create", {"name": parsed.get(of.NAME)}, body)["Id"]
    if console is None:
        client.call("POST", path_of("containers", key, "start"))
        print(key)
        return 0
    shown = Machine(client, key, tty=machine["tty"], removed=True)
    return shown.run(console, Ends(machine["stdin"], True, True), start=True, pass_signals=True)


def document(parsed: Parsed, context: Context, *, sits: bool) -> dict[str, Any]:
    """The body of POST /gasang/vms/create; of a machine that one `sits` down at, which has no command to run. Raises UsageError."""
    from gasang.kinds.vm.disks import to_document
    from gasang.kinds.vm.folders import SharedFolder
    from gasang.kinds.vm.process.settings import REQUIRED

    kernel, initrd = parsed.get(vm.KERNEL), parsed.get(vm.INITRD)
    made: dict[str, Any] = {"HostConfig": {}}
    fill(made, parsed, PLACES)
    networking(parsed, made, made["HostConfig"])
    wanted = vm.mounts(parsed)
    made["Volumes"] = [
        {"Name": each.name, "Target": each.target, "ReadOnly": each.read_only} for each in wanted if not isinstance(each, SharedFolder)
    ]
    cpus, memory = vm.size_of(parsed, context)
    made["Machine"] = {
        "cpus": cpus,
        "memory": memory,
        "image": parsed.arguments[0] if parsed.arguments else "",
        "kernel": os.path.abspath(kernel) if kernel else "",
        "initrd": os.path.abspath(initrd) if initrd else "",
        "append": parsed.get(vm.APPEND) or "",
        "command": list(parsed.command),
        "environment": list(environment_of(parsed)),
        "hostname": made.pop("Hostname", ""),
        "tty": parsed.get(TTY) or sits,
        "stdin": parsed.get(INTERACTIVE) or sits,
        "architecture": parsed.get(ARCH) or "",
        "accelerator": parsed.get(vm.ACCEL) or "",
        "jit": parsed.get(vm.JIT) or "",
        "huge_pages": parsed.get(vm.HUGE_PAGES),
        "jail": REQUIRED if parsed.get(vm.REQUIRE_JAIL) else "",
        "folders": [[os.path.abspath(each.source), each.target, each.read_only] for each in wanted if isinstance(each, SharedFolder)],
        "disks": [to_document(disk) for disk in vm.disks_of(parsed)],
    }
    made["Labels"] = dict([*(pair for pairs in parsed.get(of.LABEL_FILE) for pair in pairs), *parsed.get(of.LABELS)])
    return made
