"""Stock Debian: booted once, kept at its prompt, restored in another process, and forked."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import gasang
from gasang.core.paths import cache_folder
from gasang.images.control import ControlPort
from gasang.kinds.vm.machine import VirtualMachine
from gasang.kinds.vm.snapshot.guest import restored_guest
from gasang.kinds.vm.snapshot.snapshot import Snapshot
from support import debian_guest
from support.debian_guest import IMAGE, Screen, debian_at_its_prompt

PULL_SECONDS = 1500
RESTORED = """
import sys
from pathlib import Path
from gasang.images.control import ControlPort
from gasang.kinds.vm.snapshot.guest import restored_guest
from gasang.kinds.vm.snapshot.snapshot import Snapshot
from support.debian_guest import Screen

screen = Screen()
with restored_guest(Snapshot.open(Path(sys.argv[1])), screen, ControlPort(lambda stage: None)) as (vm, ports):
    screen.type = ports.typed
    vm.start()
    for command in sys.argv[2:]:
        print(screen.ask(command))
"""
RANDOM = "head -c 12 /dev/urandom | base64"


@pytest.fixture(scope="module", autouse=True)
def home() -> Iterator[Path]:
    """A home with the image in it, kept from one run of the tests to the next. Needs a Debian mirror."""
    folder = cache_folder(os.environ) / "tests"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GASANG_HOME", str(folder))
        program = "import sys; from gasang.cli.main import main; sys.exit(main())"
        done = subprocess.run([sys.executable, "-c", program, "pull", IMAGE], capture_output=True, timeout=PULL_SECONDS, check=False)
        assert done.returncode == 0, done.stderr.decode()
        yield folder


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """Two processors, a file written, a variable set, an alarm under way."""
    with debian_at_its_prompt(cpus=2) as (vm, screen):
        assert screen.ask("echo before > /root/file; word=kept; nproc") == "2"
        return vm.snapshot(tmp_path_factory.mktemp("kept"), "prompt")


def in_another_process(snapshot: Snapshot, *commands: str) -> list[str]:
    """What the commands say in the restored guest, a line each."""
    places = Path(gasang.__file__).parent.parent, Path(debian_guest.__file__).parent.parent
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, places))}
    program = [sys.executable, "-W", "error", "-c", RESTORED, str(snapshot.path), *commands]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_it_runs_commands_where_it_stood(kept: Snapshot) -> None:
    script = "cat /root/file; sync; echo after > /root/file; sync; cat /root/file | tr a-z A-Z"
    said = in_another_process(kept, "echo $word", "nproc", script, "dmesg | grep -c 'crng reseeded due to virtual machine fork'")
    assert said == ["kept", "2", "before", "AFTER", "1"]


def test_no_two_of_them_have_the_same_random_numbers_or_see_what_the_other_wrote(kept: Snapshot) -> None:
    numbers = {in_another_process(kept, "cat /root/file", RANDOM)[1] for _ in range(3)}
    assert len(numbers) == 3
    kept.verify()


def test_its_programs_live_on_in_twins_that_differ() -> None:
    with debian_at_its_prompt() as (vm, screen):
        screen.ask("echo before > /root/file")
        read, write = os.pipe()

        def body(twin: VirtualMachine) -> int:
            screen.renew()
            twin.start()
            os.write(write, f"{screen.ask(RANDOM)} {screen.ask('cat /root/file; echo twin > /root/file; sync')}\n".encode())
            return 0

        twins = [vm.fork(body) for _ in range(4)]
        assert [twin.wait() for twin in twins] == [0] * 4
        said = os.read(read, 4096).decode().splitlines()
        assert len(set(said)) == 4
        assert all(line.endswith(" before") for line in said)
        assert screen.ask("cat /root/file") == "before"
        os.close(read)
        os.close(write)


def test_a_restored_guest_is_kept_again_and_restored(kept: Snapshot, tmp_path: Path) -> None:
    screen = Screen()
    with restored_guest(kept, screen, ControlPort(lambda stage: None)) as (vm, ports):
        screen.type = ports.typed
        vm.start()
        assert screen.ask("word=again; echo second > /root/file; cat /root/file") == "second"
        second = vm.snapshot(tmp_path, "second")
        assert screen.ask("echo $word") == "again"
    own = [place for place in second.index().values() if place.layer == len(second.layers()) - 1]
    assert 0 < len(own) < len(second.index())
    assert in_another_process(second, "echo $word", "cat /root/file") == ["again", "second"]
