"""Known ways out of a container, each tried from inside, and what an image may try while its container is made."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import pytest

from gasang.host.syscalls import number
from gasang.kinds.container.config.process import Process
from gasang.kinds.container.container import Streams
from gasang.kinds.container.launching import LaunchError
from support.containers import Host, Output, configuration, needs_containers, script
from support.probe import probe_program

pytestmark = needs_containers


def with_bind(destination: str, source: Path, *command: str) -> dict[str, object]:
    data = configuration(*command)
    data["mounts"] += [{"destination": destination, "type": "bind", "source": str(source), "options": ["bind"]}]
    return data


@pytest.mark.parametrize("link", ["{outside}", "../../../../../../../../..{outside}", "/..{outside}", "there", "/there"])
def test_a_mount_target_behind_a_link_stays_within_the_root(host: Host, tmp_path: Path, link: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    layer = tmp_path / "layer"
    layer.mkdir()
    (layer / "there").symlink_to("elsewhere/deep")
    (layer / "mnt").symlink_to(link.format(outside=outside))
    (tmp_path / "source").write_text("bound\n")
    ran = host.run(with_bind("/mnt/file", tmp_path / "source", "cat", "/mnt/file"), host.overlay(layer))
    assert ran.lines == ["bound"]
    assert list(outside.iterdir()) == []


def test_links_that_never_end_are_refused(host: Host, tmp_path: Path) -> None:
    layer = tmp_path / "layer"
    layer.mkdir()
    (layer / "one").symlink_to("two")
    (layer / "two").symlink_to("one")
    (tmp_path / "source").write_text("bound\n")
    with pytest.raises(LaunchError, match="too many levels of symbolic links"):
        host.run(with_bind("/one/file", tmp_path / "source", "true"), host.overlay(layer))


def test_a_file_that_is_a_dangling_link_is_made_where_it_leads(host: Host, tmp_path: Path) -> None:
    layer = tmp_path / "layer"
    (layer / "etc").mkdir(parents=True)
    (layer / "etc/resolv.conf").symlink_to("../run/stub/resolv.conf")
    (tmp_path / "source").write_text("nameserver ::1\n")
    root = host.overlay(layer)
    ran = host.run(with_bind("/etc/resolv.conf", tmp_path / "source", "cat", "/run/stub/resolv.conf"), root)
    assert ran.lines == ["nameserver ::1"]


@pytest.mark.parametrize("name", ["proc", "sys"])
def test_what_the_kernel_keeps_is_not_led_elsewhere(host: Host, tmp_path: Path, name: str) -> None:
    layer = tmp_path / "layer"
    (layer / "fake").mkdir(parents=True)
    (layer / name).symlink_to("fake")
    with pytest.raises(LaunchError, match=f"on /{name}: too many levels of symbolic links"):
        host.run(configuration("true"), host.overlay(layer))


def test_a_folder_of_devices_that_is_a_link_stays_within_the_root(host: Host, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    layer = tmp_path / "layer"
    layer.mkdir()
    (layer / "dev").symlink_to(outside)
    data = script("ls -l /dev/null")
    ran = host.run(data, host.overlay(layer))
    assert ran.exit.code == 0
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("descriptor", range(3, 14))
def test_a_working_folder_that_is_a_descriptor_of_ours_is_refused(host: Host, descriptor: int) -> None:
    with pytest.raises(LaunchError, match="working folder"):
        host.run(configuration("pwd", cwd=f"/proc/self/fd/{descriptor}"))


def test_a_working_folder_behind_a_link_to_a_descriptor_is_refused(host: Host, tmp_path: Path) -> None:
    layer = tmp_path / "layer"
    layer.mkdir()
    (layer / "way").symlink_to("/proc/self/fd/8")
    with pytest.raises(LaunchError, match="working folder"):
        host.run(configuration("pwd", cwd="/way"), host.overlay(layer))


def test_the_program_that_makes_it_is_not_the_hosts_python(host: Host) -> None:
    output = Output()
    container = host.create(script("true"), output.write)
    path = f"/proc/{container.pid}/exe"
    assert os.readlink(path).startswith("/memfd:gasang-launcher")
    with pytest.raises(OSError, match=r"busy|permitted|denied"):
        os.close(os.open(path, os.O_WRONLY))
    assert "python" not in Path(f"/proc/{container.pid}/maps").read_text()
    container.start()
    container.wait()
    container.delete()
    output.text()


def test_executing_what_executes_leads_nowhere(host: Host) -> None:
    ran = host.run(configuration("/proc/self/exe", "-c", "print('escaped')"))
    assert ran.exit.code == 127
    assert ran.output == ""


def test_joining_processes_are_not_the_hosts_python_either(host: Host) -> None:
    output, inside = Output(), Output()
    container = host.create(script("exec sleep 100"), output.write)
    container.start()
    child = container.execute(Process(("/proc/self/exe", "-c", "print('escaped')")), Streams((host.null, inside.write, inside.write)))
    assert child.wait() == 127
    child.close()
    assert inside.text() == ""
    container.delete(force=True)
    output.text()


def test_settings_of_the_host_cannot_be_written(host: Host) -> None:
    before = Path("/proc/sys/kernel/core_pattern").read_text()
    paths = "/proc/sys/kernel/core_pattern /proc/sys/vm/panic_on_oom /proc/irq/default_smp_affinity /proc/sysrq-trigger /proc/bus/x"
    tries = f"for f in {paths}; do (echo '|/bin/sh' > $f) 2>/dev/null && echo wrote $f; done"
    ran = host.sh(f"{tries}; mount -o remount,rw /proc/sys; echo x > {paths.split()[0]}; umount /proc/sys; true")
    assert "wrote" not in ran.output
    assert Path("/proc/sys/kernel/core_pattern").read_text() == before
    assert "ermission denied" in ran.output or "not permitted" in ran.output


def test_disks_of_the_host_cannot_be_read_even_with_a_node(host: Host) -> None:
    number_of_disk = next((line.split()[:2] for line in Path("/proc/partitions").read_text().splitlines()[2:]), ["254", "0"])
    disk = f"mknod /disk b {' '.join(number_of_disk)} && echo made; dd if=/disk of=/dev/null bs=512 count=1 2>&1"
    data = script(f"{disk}; mknod /mem c 1 1; cat /mem | head -c1")
    for name in ("bounding", "effective", "permitted"):
        data["process"]["capabilities"][name] += ["CAP_MKNOD", "CAP_DAC_OVERRIDE"]
    ran = host.run(data)
    assert ran.lines[0] == "made"
    assert ran.output.count("Operation not permitted") == 2


def test_the_release_agent_is_out_of_reach(host: Host) -> None:
    ran = host.sh(
        "for f in /sys/fs/cgroup/*/release_agent /sys/fs/cgroup/*/notify_on_release; do (echo /evil > $f) 2>/dev/null && echo wrote; done;"
        "mkdir /tmp/cg; mount -t cgroup -o memory none /tmp/cg && echo mounted; true"
    )
    assert "wrote" not in ran.output
    assert "mounted" not in ran.output


def test_the_hosts_keys_are_not_the_containers(host: Host) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    key = libc.syscall(number("add_key"), b"user", b"gasang-test", b"secret", 6, -3)
    if key < 0:
        pytest.skip("this host's kernel keeps no keys")
    (host.lower / "bin/probe").write_bytes(probe_program())
    (host.lower / "bin/probe").chmod(0o755)
    try:
        keyctl = number("keyctl")
        # KEYCTL_READ of the key's number: only who has it in a keyring of his may, and ours is nobody's there.
        ran = host.sh(f"probe {keyctl} 11 {key} 0 0; echo $?; grep -c gasang-test /proc/keys")
        assert int(ran.lines[0]) in (13, 126, 128)  # EACCES, ENOKEY, EKEYREVOKED
    finally:
        libc.syscall(number("keyctl"), 9, key, -3)


def test_processes_of_the_host_are_not_seen(host: Host) -> None:
    ran = host.sh(f"kill -0 {os.getpid()} && echo seen; ls /proc/{os.getpid()} && echo seen; true")
    assert "seen" not in ran.output


def test_mounts_made_inside_do_not_reach_the_host(host: Host) -> None:
    data = script("mkdir -p /a && mount -t tmpfs leaked /a && echo mounted")
    for name in ("bounding", "effective", "permitted"):
        data["process"]["capabilities"][name] += ["CAP_SYS_ADMIN"]
    before = Path("/proc/self/mountinfo").read_text()
    output = Output()
    container = host.create(data, output.write)
    container.start()
    container.wait()
    assert Path("/proc/self/mountinfo").read_text() == before
    container.delete()
    assert output.text() == "mounted\n"


def test_null_under_a_mask_cannot_be_changed(host: Host) -> None:
    (host.lower / "hidden").write_text("x")
    before = os.stat("/dev/null").st_mode
    data = script("chmod 000 /hidden; chown 5 /hidden; cat /hidden; echo $?")
    data["linux"]["maskedPaths"].append("/hidden")
    for name in ("bounding", "effective", "permitted"):
        data["process"]["capabilities"][name] += ["CAP_CHOWN", "CAP_FOWNER"]
    ran = host.run(data)
    assert ran.output.count("Read-only file system") == 2
    assert os.stat("/dev/null").st_mode == before
