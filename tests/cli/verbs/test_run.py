from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gasang.cli import main as command
from gasang.cli.containers.options import environment_for

if TYPE_CHECKING:
    from conftest import Person

LAUNCH = '''
"""A stand-in for the real one: a machine that shows what it was given, echoes, and ends when told to."""
import threading
from dataclasses import dataclass
from pathlib import Path

@dataclass(frozen=True)
class VmSpec:
    cpus: int
    memory: int
    kernel: Path | None
    initrd: Path | None
    append: str
    image: str | None
    command: tuple[str, ...]
    environment: tuple[str, ...]
    tty: bool
    disks: tuple[Path, ...]
    origin: object = None
    architecture: str | None = None
    accelerator: str | None = None
    jit: str = "off"
    extras: object = None

def run_vm(spec, console, progress):
    over = threading.Event()
    with progress.step("Booting", 2) as step:
        step.advance(1)
    def typed(data):
        console.write(b"<" + data + b">")
        if not data:
            over.set()
    console.on_quit(over.set)
    console.write(repr(spec).encode() + b"\\n")
    console.on_input(typed)
    console.write_error(b"on the error stream\\n")
    over.wait()
    return 7 if spec.command[:1] == ("false",) else 0
'''

MAIN = "import sys, types\nlaunch = types.ModuleType('gasang.kinds.vm.launch')\nexec({launch!r}, launch.__dict__)\n"
MAIN += "import gasang.kinds.vm\nsys.modules['gasang.kinds.vm.launch'] = gasang.kinds.vm.launch = launch\n"
MAIN += "from gasang.cli.main import main\nsys.exit(main({words!r}))\n"


def script(*words: str) -> str:
    return MAIN.format(launch=LAUNCH, words=list(words))


def run(*words: str, data: bytes = b"", **environment: str) -> subprocess.CompletedProcess[bytes]:
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **environment}
    return subprocess.run([sys.executable, "-c", script(*words)], input=data, capture_output=True, check=False, timeout=60, env=variables)


def test_everything_arrives_at_the_machine(tmp_path: Path) -> None:
    (tmp_path / "disk").touch()
    options = ["--vm", "--arch", "amd64", "--accel", "kvm", "--jit", "on", "--cpus", "2", "--memory", "512M"]
    options += ["-e", "A=1", "-eHOST", "-e", "ABSENT"]
    files = ["--append", "quiet", "--disk", str(tmp_path / "disk"), "--disk", f"{tmp_path / 'disk'},readonly"]
    answer = run("run", *options, *files, "debian:trixie", "--", "ls", "-l", HOST="here")
    shown = answer.stdout.decode()
    rest = "form='', address='', limits=None, key_file=None, served=-1, header=None)"
    for part in (
        "cpus=2, memory=536870912",
        "append='quiet', image='debian:trixie', command=('ls', '-l'), environment=('A=1', 'HOST=here'), tty=False",
        f"disks=(Disk(path={tmp_path / 'disk'!r}, read_only=False, {rest}, ",
        f"Disk(path={tmp_path / 'disk'!r}, read_only=True, {rest})",
        "architecture='amd64', accelerator='kvm', jit='on'",
        "origin=Origin(mirror='http://deb.debian.org/debian', keyring=None",
        "<>",
    ):
        assert part in shown
    assert answer.stderr == b"on the error stream\n"
    assert answer.returncode == 0


def test_folders_of_the_host_arrive_at_the_machine(tmp_path: Path) -> None:
    words = ["-v", f"{tmp_path}:/data:ro", "--mount", f"type=bind,source={tmp_path},target=/more"]
    shown = run("run", "--vm", *words, "debian:trixie", "true").stdout.decode()
    folders = [
        f"SharedFolder(source={tmp_path!r}, target={target!r}, read_only={read_only})"
        for target, read_only in (("/data", True), ("/more", False))
    ]
    assert f"folders=({', '.join(folders)})" in shown


@pytest.mark.parametrize(
    ("words", "has"),
    [
        (["--network", "user"], "reaches_host=False"),
        (["--network", "user,host=deny"], "reaches_host=False"),
        (["--network", "user,host=allow"], "reaches_host=True"),
        (["--no-root"], "published=()"),
        (["-p", "8080:80"], "PortSpec(machine_port=80, protocol='tcp', host_address='', host_port=8080, last_host_port=0)"),
        (["-p", "127.0.0.1:8000-8010:53/udp"], "protocol='udp', host_address='127.0.0.1', host_port=8000, last_host_port=8010)"),
        (["--network", "none"], "network=None"),
        (["--no-root", "--network", "none"], "network=None"),
    ],
)
def test_a_network_that_needs_no_root(words: list[str], has: str) -> None:
    shown = run("run", "--vm", *words, "debian:trixie", "true").stdout.decode()
    assert has in shown
    assert ("UserNetwork(plan=Plan(" in shown) == ("none" not in words)


def test_a_kernel_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "Image").touch()
    (tmp_path / "initrd").touch()
    shown = run(
        "run", "--kernel", str(tmp_path / "Image"), "--initrd", str(tmp_path / "initrd"), "--append", "console=ttyS0"
    ).stdout.decode()
    assert f"kernel={tmp_path / 'Image'!r}, initrd={tmp_path / 'initrd'!r}, append='console=ttyS0', image=None, command=()" in shown


def test_the_commands_exit_code_is_passed_on() -> None:
    assert run("run", "--vm", "debian:trixie", "false").returncode == 7


def test_settings_fill_in_what_no_flag_gives() -> None:
    shown = run("run", "--vm", "debian:trixie", "true", GASANG_CPUS="3", GASANG_MEMORY="256M").stdout
    assert b"cpus=3, memory=268435456" in shown


def test_input_goes_to_the_command_only_if_asked_for() -> None:
    assert b"<hello>" not in run("run", "--vm", "debian:trixie", "cat", data=b"hello").stdout
    assert b"<hello><>" in run("run", "-i", "--vm", "debian:trixie", "cat", data=b"hello").stdout
    assert b"<hello><>" in run("run", "--vm", "debian:trixie", data=b"hello").stdout  # the machine's own console


def test_a_login_shell_has_the_terminal_and_leaves_by_its_key(in_terminal: Callable[..., Person]) -> None:
    person = in_terminal(script("run", "--vm", "debian:trixie"))
    person.reads_until(b"gasang: Ctrl-] stops the machine")
    person.reads_until(b"tty=True")
    person.reads_until(b"error stream")
    person.types(b"ls\x03\x1d")
    person.reads_until(b"<ls\x03>")
    person.reads_until(b"gasang: stopped the machine (Ctrl-])")
    assert person.exit_code() == 0
    assert not person.is_raw()


def test_a_command_on_a_terminal_is_not_given_the_keys(in_terminal: Callable[..., Person]) -> None:
    person = in_terminal(script("run", "-i", "--vm", "debian:trixie", "cat"))
    person.reads_until(b"tty=False")
    person.reads_until(b"error stream")
    person.types(b"\x03")
    person.reads_until(b"press Ctrl-C again")
    person.types(b"\x03")
    person.reads_until(b"stopped the machine (Ctrl-C)")
    assert person.exit_code() == 130


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        ([], 2, "it needs an IMAGE or a --kernel"),
        (["--kernel", "/nope"], 3, "--kernel /nope: there is no such file"),
        (["--kernel", "/"], 2, "--kernel /: it is a folder"),
        (["--vm", "--initrd", "/etc/passwd", "img"], 2, "it goes with --kernel"),
        (["--kernel", "/etc/passwd", "img"], 2, "an IMAGE has its own kernel"),
        (["--kernel", "/etc/passwd", "--", "ls"], 2, "only an IMAGE can run one"),
        (["--vm", "--cpus", "0", "img"], 2, "--cpus: '0' is no number of processors"),
        (["--vm", "--memory", "1M", "img"], 2, "--memory: a machine cannot have 1M"),
        (["--vm", "-e", "=x", "img"], 2, "--env '=x': it names no variable"),
        (["--vm", "--accel", "tcg", "img"], 2, "--accel: there is no 'tcg'"),
        (["--vm", "--jit", "maybe", "img"], 2, "--jit: there is no 'maybe'"),
        (["--accel", "kvm", "img"], 2, "option --accel: it is for virtual machines"),
        (["--vm", "--rm", "img"], 2, "option --rm: it is for machines in the background; add -d"),
        (["--vm", "--privileged", "img"], 2, "option --privileged: it is for containers"),
        (["--append", "quiet", "img"], 2, "option --append: it is for virtual machines"),
        (["--vm", "-v", "data:data", "img"], 2, "mount target 'data': it is no absolute path"),
        (["--vm", "-v", "/data", "img"], 2, "--volume /data: a virtual machine has no volumes without a name"),
        (["--vm", "-v", "/etc:/data:Z", "img"], 2, "a virtual machine's folder has no mode 'Z'"),
        (["--vm", "-v", "/etc:data", "img"], 2, "mount target 'data': it is no absolute path"),
        (["--vm", "--mount", "type=tmpfs,target=/t", "img"], 2, "--mount of /t: a virtual machine mounts folders and volumes by name"),
        (["--vm", "--mount", "type=bind,source=/,target=/t,bind-propagation=shared", "img"], 2, "BindOptions is for containers"),
        (["--kernel", "/etc/passwd", "-v", "/etc:/data"], 2, "only an IMAGE mounts folders"),
        (["--vm", "--network", "host", "img"], 2, "network host: a virtual machine has a kernel and a network of its own"),
        (["--vm", "--network", "container:web", "img"], 2, "network container:web: a virtual machine has a kernel and a network"),
        (["--vm", "--network", "user", "--network", "lan", "img"], 2, "network lan: a machine with a network in user space"),
        (["--vm", "--network", "user,host=maybe", "img"], 2, "--network 'user': a network takes no such word"),
        (["--vm", "--network", "none", "-p", "80", "img"], 2, "option --publish: a machine without a network offers no ports"),
        (["--vm", "--disk", "/nope", "img"], 3, "--disk /nope: there is no such file"),
    ],
)
def test_what_cannot_be_is_one_sentence(words: list[str], code: int, sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["run", *words]) == code
    assert sentence in capsys.readouterr().err


def test_a_terminal_is_not_made_out_of_a_pipe() -> None:
    answer = run("run", "-t", "--vm", "debian:trixie", "sh")
    assert answer.returncode == 2
    assert b"standard input is no terminal" in answer.stderr


def test_a_variable_the_host_lacks_is_left_out() -> None:
    assert environment_for(("A=", "B", "C"), {"B": "x=y"}) == ("A=", "B=x=y")
