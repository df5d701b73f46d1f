"""``gasang run``: start a machine and wait for it; a container from an image, or a virtual machine from an image or a kernel."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from gasang.cli import machines, vm
from gasang.cli.containers.attachments import of_daemon
from gasang.cli.containers.options import DETACH, DETACH_KEYS, INTERACTIVE, PLATFORM, SHARED, SIG_PROXY, TTY, given
from gasang.cli.containers.places import MOUNTS, NETWORKS, OWN, REMOVE, VOLUMES, headings
from gasang.cli.options import Argument, Example, Option, Parsed, Syntax, switch, values
from gasang.cli.settings import Context
from gasang.core.config import one_of
from gasang.core.errors import UsageError

if TYPE_CHECKING:
    from gasang.cli.containers.document import Ends

VM = switch("vm", "run it as a virtual machine; so do --kernel and no IMAGE")
ATTACH = values("attach", "STREAM", "only this of stdin, stdout and stderr", one_of("stdin", "stdout", "stderr"), short="a")
FOLDERS = (VOLUMES, MOUNTS)
"""Those of containers that virtual machines have as well, for folders of the host."""
FOREGROUND = (DETACH, ATTACH, DETACH_KEYS, SIG_PROXY, PLATFORM)


def _is_container(names: Collection[str]) -> bool:
    return VM.name not in names and vm.KERNEL.name not in names


SYNTAX = Syntax(
    "Start a machine and wait for it: a container from IMAGE, or with --vm or --kernel a virtual machine.",
    options=(VM, *SHARED, *FOREGROUND, *OWN, *vm.OPTIONS),
    arguments=(Argument("IMAGE", "what to start, such as debian:trixie; not needed with --kernel", required=False, completes="images"),),
    command="run this inside and pass on its output and exit code; without it, what the image says, or a VM's login shell",
    examples=(
        Example("gasang run -it --rm debian:trixie bash", "a shell in a container, removed when it ends; Ctrl-] leaves it running"),
        Example("gasang run -d --name web -p 8080:80 -v ./site:/usr/share/nginx/html:ro nginx", "a server in the background"),
        Example("gasang run --rm --memory 256M --cpus 0.5 --network none busybox sh -c 'echo alone'", "with less of the host"),
        Example("gasang run --vm debian:trixie", "boot Debian to a login shell on this terminal; Ctrl-] stops it"),
        Example("gasang run -d --name dev --vm debian:trixie", "the same in the background; gasang attach dev sits down at it"),
        Example("gasang run -d --name web -p 8080:80 --network lan --vm nginx", "a container image as a machine, among containers"),
        Example("gasang run --vm --cpus 2 --memory 1G debian:trixie -- uname -a", "run one command inside and end with its exit code"),
        Example("gasang run --vm web", "boot disks that gasang image import took in as web, with their own kernel"),
        Example("gasang run --vm --network user -p 8080:80 debian:trixie", "with a network that needs no root, and a port of it"),
        Example("gasang run -d --no-root -p 8080:80 nginx", "a container on such a network, apart from all others"),
        Example("gasang run --vm --network lan debian:trixie", "among the machines and containers of a network, gone when it ends"),
        Example("gasang run --vm -v ./data:/data:ro debian:trixie -- ls /data", "with a folder of the host inside"),
        Example("gasang run --vm -v data:/data debian:trixie", "with a volume, such as a disk of gasang volume create data --size 20G"),
        Example("echo hello | gasang run -i busybox wc -c", "a command that reads standard input"),
        Example('gasang run --vm --kernel Image --initrd initrd.gz --append "console=ttyS0"', "boot any Linux kernel for riscv64 or amd64"),
    ),
    notes="""
Options stand before IMAGE; what follows is the command's, but after --vm. A container image that is not here is pulled. With -it every
key goes to the machine, Ctrl-C too; Ctrl-] or Ctrl-p Ctrl-q leaves a container running and stops a virtual machine. Without a terminal
the first Ctrl-C says so and the second one stops the machine. The exit code is the command's; 126 and 127 if it cannot be executed or
is not there, 125 if the machine could not start or died first. Ports are published on the host's own address unless an IP is named.""",
    closes=_is_container,
    headings=(*headings(), ("A virtual machine", vm.OPTIONS)),
)


def run(parsed: Parsed, context: Context) -> int:
    """Start the machine, connect the console, and return what the command inside returned. Raises GasangError."""
    if parsed.get(VM) or parsed.get(vm.KERNEL) or not parsed.arguments:
        behind = parsed.get(DETACH) or of_daemon(parsed.get(NETWORKS))
        others = [option for option in (*FOREGROUND, *OWN) if option not in (*machines.OPTIONS, *FOLDERS, *(() if behind else vm.NETWORK))]
        _refuse(given(parsed, others), "it is for containers", "leave it out, or leave --vm out")
        background = [option for option in machines.OPTIONS if option not in vm.NETWORK]
        _refuse([] if behind else given(parsed, background), "it is for machines in the background", "add -d")
        return machines.run(parsed, context) if behind else vm.run(parsed, context)
    _refuse(given(parsed, vm.OPTIONS), "it is for virtual machines", "add --vm, or leave it out")
    return _run_container(parsed, context)


def _refuse(options: list[Option[Any]], cause: str, hint: str) -> None:
    if options:
        raise UsageError(f"option {options[0].flag}", cause, hint)


def _run_container(parsed: Parsed, context: Context) -> int:
    from gasang.api.client import path_of
    from gasang.cli.containers.attached import console_for
    from gasang.cli.containers.daemon import connect
    from gasang.cli.containers.foreground import Machine
    from gasang.cli.containers.making import create

    client, ends = connect(context), _ends(parsed)
    if parsed.get(DETACH):
        key = create(client, parsed, context, ends)
        client.call("POST", path_of("containers", key, "start"))
        print(key)
        return 0
    tty, keys = parsed.get(TTY), parsed.get(DETACH_KEYS)
    console = console_for(interactive=ends.stdin, tty=tty, keys=keys)
    key = create(client, parsed, context, ends)
    machine = Machine(client, key, tty=tty, removed=parsed.get(REMOVE), keys=keys)
    return machine.run(console, ends, start=True, pass_signals=parsed.get(SIG_PROXY))


def _ends(parsed: Parsed) -> Ends:
    """The streams that this command is joined to. Raises UsageError where it is to be joined and to go away."""
    from gasang.cli.containers.document import Ends

    named, interactive = parsed.get(ATTACH), parsed.get(INTERACTIVE)
    if parsed.get(DETACH):
        if named:
            raise UsageError(f"options {DETACH.flag} and {ATTACH.flag}", "they contradict each other", "leave one of the two out")
        return Ends()
    return Ends("stdin" in named and interactive, "stdout" in named, "stderr" in named) if named else Ends(interactive, True, True)
