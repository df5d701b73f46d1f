"""``gasang run``: start a machine from an image or a kernel, with this terminal as its console."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from gasang.cli.console import StreamConsole
from gasang.cli.files import existing_file, file_to_read
from gasang.cli.options import Argument, Example, Parsed, Syntax, plain_text, switch, value, values
from gasang.cli.progress import open_progress
from gasang.cli.settings import Context
from gasang.core.config import parse_cpus, parse_memory
from gasang.core.errors import UsageError


def _variable(text: str, subject: str) -> str:
    """``NAME=VALUE`` as it stands, or ``NAME`` for a variable to be taken from the host."""
    name = plain_text(text, subject).partition("=")[0]
    if not name or any(sign.isspace() for sign in name):
        raise UsageError(f"{subject} {text!r}", "it names no variable", f"write {subject} NAME=VALUE")
    return text


VM = switch("vm", "run it as a virtual machine (the only kind so far, so this may be left out)")
CPUS = value("cpus", "N", "processors (default 1)", parse_cpus)
MEMORY = value("memory", "SIZE", "memory, as in 512M or 2G (default 1G); the host gives what the guest touches", parse_memory, short="m")
KERNEL = value("kernel", "FILE", "boot this riscv64 Linux kernel: Image, Image.gz or ELF", file_to_read, files=True)
INITRD = value("initrd", "FILE", "initial RAM disk for --kernel", file_to_read, files=True)
APPEND = value("append", "TEXT", "more for the kernel's command line", plain_text)
DISK = values("disk", "FILE", "another disk: a raw image file; may be given many times", existing_file, files=True)
ENVIRONMENT = values("env", "NAME=VALUE", "variable for the command; NAME alone takes the host's value", _variable, short="e")
INTERACTIVE = switch("interactive", "pass standard input on to the command", short="i")
TTY = switch("tty", "give the command a terminal", short="t")

SYNTAX = Syntax(
    "Start a machine from an image or a kernel and wait for it.",
    options=(VM, CPUS, MEMORY, INTERACTIVE, TTY, ENVIRONMENT, DISK, KERNEL, INITRD, APPEND),
    arguments=(Argument("IMAGE", "what to start, such as debian:trixie; not needed with --kernel", required=False, completes="images"),),
    command="run this inside, pass on its output and exit code, and power off; without it, the image's login shell",
    examples=(
        Example("gasang run --vm debian:trixie", "boot Debian to a login shell on this terminal; Ctrl-] stops it"),
        Example("gasang run --vm --cpus 2 --memory 1G debian:trixie -- uname -a", "run one command inside and end with its exit code"),
        Example("echo hello | gasang run --vm -i debian:trixie -- wc -c", "a command that reads standard input"),
        Example('gasang run --vm --kernel Image --initrd initrd.gz --append "console=ttyS0"', "boot any riscv64 Linux kernel"),
    ),
    notes="""
On a terminal without a command every key goes to the machine, Ctrl-C too; Ctrl-] stops it. Otherwise the first
Ctrl-C says so and the second one stops the machine. The exit code is the command's; 125 if the machine died first.""",
)


def environment_for(words: tuple[str, ...], host: Mapping[str, str]) -> tuple[str, ...]:
    """``NAME=VALUE`` for each of `words`; a NAME alone takes the host's value, and is left out where the host has none."""
    given = (word if "=" in word else f"{word}={host[word]}" for word in words if "=" in word or word in host)
    return tuple(given)


def _check(parsed: Parsed) -> None:
    """Raise UsageError for what makes no sense together."""
    has_image, has_kernel = bool(parsed.arguments), parsed.get(KERNEL) is not None
    if not has_image and not has_kernel:
        raise UsageError("gasang run", "it needs an IMAGE or a --kernel", "try gasang run --vm debian:trixie")
    if has_image and has_kernel:
        raise UsageError("option --kernel", "an IMAGE has its own kernel", "leave one of the two out")
    if has_image and parsed.get(INITRD):
        raise UsageError("option --initrd", "it goes with --kernel", "add --kernel FILE")
    if has_kernel and (parsed.command or parsed.get(ENVIRONMENT)):
        raise UsageError("command", "only an IMAGE can run one", 'tell a kernel what to run with --append "init=…"')


def run(parsed: Parsed, context: Context) -> int:
    """Start the machine, connect the console, and return what the command inside returned."""
    image = parsed.arguments[0] if parsed.arguments else None
    kernel = parsed.get(KERNEL)
    _check(parsed)
    on_terminal = not parsed.command and os.isatty(0) and os.isatty(1)
    tty = parsed.get(TTY) or on_terminal
    from gasang.kinds.vm import launch

    spec = launch.VmSpec(
        cpus=parsed.get(CPUS) or context.config.value("cpus"),
        memory=parsed.get(MEMORY) or context.config.value("memory"),
        kernel=kernel,
        initrd=parsed.get(INITRD),
        append=parsed.get(APPEND) or "",
        image=image,
        command=parsed.command,
        environment=environment_for(parsed.get(ENVIRONMENT), os.environ),
        tty=tty,
        disks=parsed.get(DISK),
        origin=context.origin(),
    )
    reads_input = parsed.get(INTERACTIVE) or tty or not parsed.command
    with open_progress(context) as progress, StreamConsole(raw=tty, reads_input=reads_input) as console:
        if tty:
            print("gasang: Ctrl-] stops the machine", file=sys.stderr)
        code = launch.run_vm(spec, console, progress)
    if console.left is not None:
        print(f"gasang: stopped the machine ({console.left.value})", file=sys.stderr)
        return console.leave_code
    return code
