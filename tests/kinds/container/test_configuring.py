"""Packages configured in a container: what a script may do to its root, what it cannot do to the host, and what is left when it fails."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from gasang.core.errors import BadInputError, OutOfSpaceError, TimedOutError
from gasang.core.progress import Silent
from gasang.images.bootstrap import System, bootstrap
from gasang.images.configuring import Unconfigured, unfolded
from gasang.images.spool import Spool
from gasang.kinds.container import configuring
from gasang.kinds.container.cgroups.group import Cgroup
from gasang.kinds.container.configuring import PARENT, ContainerConfigurer
from support.containers import needs_containers
from support.debian_archive import native_debian
from support.small_disk import small_disk

pytestmark = needs_containers
Make = Callable[..., Unconfigured]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Unpacks a small Debian whose package "chosen" has the given scripts, in a folder below `place`."""
    with ExitStack() as stack:

        def unpack(scripts: Mapping[str, bytes], place: Path = tmp_path, **options: object) -> Unconfigured:
            archive = native_debian(tmp_path / "mirror", scripts)
            spool = stack.enter_context(Spool(tmp_path))
            packages = sorted(archive.root.glob("pool/main/*.deb"))
            work = place / f"work-{os.getpid()}"
            work.mkdir()
            root = stack.enter_context(unfolded(bootstrap(System("trixie", "amd64", "http://x"), packages, spool), work))
            return Unconfigured(root, len(packages), "image debian:trixie", **options)  # type: ignore[arg-type]

        yield unpack


def configure(order: Unconfigured) -> None:
    """Do it; whatever comes of it, neither control groups nor processes are left."""
    try:
        ContainerConfigurer().configure(order, Silent())
    finally:
        name = order.root.parent.name
        assert not [folder for folder in Cgroup.at(f"{PARENT}/{name}", name).folders.values() if Path(folder).exists()]


def script(text: str) -> dict[str, bytes]:
    """A package's postinst."""
    return {"postinst": f"#!/bin/sh\n{text}\n".encode()}


def test_scripts_run_in_the_order_of_dpkg_and_change_the_root(make: Make) -> None:
    order = make(
        {"preinst": b"#!/bin/sh\necho pre $* >>/said\n", "postinst": b"#!/bin/sh\necho post $* $SOURCE_DATE_EPOCH >>/said\n"}, time=7
    )
    configure(order)
    assert (order.root / "said").read_text() == "pre install\npost configure 7\n"
    assert not (order.root / "usr/sbin/policy-rc.d").exists()


def test_a_containers_image_goes_on_starting_no_services(make: Make) -> None:
    order = make(script("policy-rc.d; echo $? >/policy"), services=False)
    configure(order)
    assert (order.root / "policy").read_text() == "101\n"
    assert subprocess.run([order.root / "usr/sbin/policy-rc.d"], check=False).returncode == 101


@pytest.mark.parametrize(
    ("scripts", "says"),
    [
        (script("exit 3"), "package chosen: installed chosen package post-installation script subprocess returned error exit status 3"),
        ({"preinst": b"#!/bin/sh\nexit 4\n"}, "package chosen: its preinst script ended with code 4"),
        ({"postinst": b"#!/nowhere\n"}, "package chosen: installed chosen package post-installation script .* exit status 127"),
        (script("kill -9 $$"), "package chosen: .* exit status 137"),
        (script("kill -9 1; kill -9 -1; exit 1"), "its packages were not configured|package chosen"),
        (script("rm -f /usr/bin/dpkg; mkdir /var/lib/dpkg/done-chosen"), "its packages were not configured"),
    ],
)
def test_a_script_that_fails_is_named(make: Make, scripts: dict[str, bytes], says: str) -> None:
    order = make(scripts)
    with pytest.raises(BadInputError, match=rf"^image debian:trixie: ({says})") as caught:
        configure(order)
    assert str(caught.value).endswith("; pull it again, or report this")


ESCAPES = {
    "the network": "[ $(ls /sys/class/net | wc -l) -gt 1 ] || ping -c 1 -W 1 10.0.0.1",
    "a device": "mknod /disk b 7 0",
    "a device of the host": "ls /dev | grep -E 'vda|sda|loop|kmsg|mem'",
    "mounting": "mount -t tmpfs none /root",
    "the host's kernel": "echo 1 >/proc/sys/kernel/panic || echo b >/proc/sysrq-trigger || echo x >/sys/kernel/uevent_helper",
    "the host's processes": "[ $(ls -d /proc/[0-9]* | wc -l) -gt 20 ]",
    "the host's name": "hostname other",
    "the host's clock": "date -s 2001-01-01; [ $(date +%Y) = 2001 ]",
    "the host's control groups": "ls /sys/fs/cgroup | grep .",
    "more rights": "grep -E 'CapBnd:.*[1-9a-f].{8}$|NoNewPrivs:.0' /proc/self/status",
    "another root": "chroot / true",
}


@pytest.mark.parametrize("way", ESCAPES)
def test_what_is_beyond_a_scripts_reach(make: Make, way: str) -> None:
    order = make(script(f"if {{ {ESCAPES[way]}; }} >/tried 2>&1; then cat /tried >&2; exit 1; fi"))
    configure(order)
    assert (order.root / "tried").exists()


def test_links_lead_nowhere_out(make: Make, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_text("kept")
    order = make(
        script(f"ln -s {tmp_path} /out; echo changed >/out/kept; mkdir -p /x; ln -s ../../../../../..{kept} /x/y; echo no >/x/y; true")
    )
    configure(order)
    assert kept.read_text() == "kept"


def test_what_a_script_leaves_running_ends_with_it(make: Make) -> None:
    order = make(script("(while :; do echo tick >>/ticks; sleep 0.01; done) &\n"))
    configure(order)
    ticks = order.root / "ticks"
    size = ticks.stat().st_size if ticks.exists() else 0
    threading.Event().wait(0.1)
    assert (ticks.stat().st_size if ticks.exists() else 0) == size


def test_a_script_that_makes_processes_without_end(make: Make) -> None:
    order = make(script("while :; do sleep 1000 & done"))
    with pytest.raises(BadInputError, match=r"package chosen|its packages were not configured"):
        configure(order)


def test_a_script_that_hangs(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(configuring, "SILENCE", 0.5)
    order = make(script("sleep 1000"))
    with pytest.raises(TimedOutError, match=r"image debian:trixie: a package's script has hung for 0.5 s"):
        configure(order)


def test_a_disk_that_a_script_fills(make: Make, tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", 8 << 10) as place:
        order = make(script("dd if=/dev/zero of=/big bs=1M || exit 1"), place)
        with pytest.raises(OutOfSpaceError, match="no space is left on its disk; free some"):
            configure(order)
        shutil.rmtree(order.root.parent)


CALLER = """
import sys
from pathlib import Path
from gasang.core.progress import Silent
from gasang.images.configuring import Unconfigured
from gasang.kinds.container.configuring import ContainerConfigurer
ContainerConfigurer().configure(Unconfigured(Path(sys.argv[1]), 3, "image x"), Silent())
"""


def test_nothing_outlives_a_killed_caller(make: Make) -> None:
    order = make(script("mkfifo /begun; echo >/begun; exec sleep 1000"))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    process = subprocess.Popen([sys.executable, "-c", CALLER, str(order.root)], env=environment)
    fifo = order.root / "begun"
    group = Cgroup.at(f"{PARENT}/{order.root.parent.name}", "")
    while not fifo.exists():
        assert process.poll() is None
    with fifo.open("rb") as begun:
        begun.read(1)
    pids = group.processes()
    watched = [os.pidfd_open(pid) for pid in pids]
    process.kill()
    process.wait()
    for descriptor in watched:
        assert select.select([descriptor], [], [], 10)[0]
        os.close(descriptor)
    ContainerConfigurer().forget(order.root.parent)
    assert not [folder for folder in group.folders.values() if Path(folder).exists()]
