"""A container's life, and what a program sees from inside."""

from __future__ import annotations

import errno
import os
import signal
import stat
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from gasang.core.errors import BadInputError, NotFoundError, StateError, UnsupportedError
from gasang.kinds.container.config.process import SETS, Process
from gasang.kinds.container.container import Streams
from gasang.kinds.container.launching import LaunchError, ProgramMissingError, ProgramRefusedError
from gasang.kinds.container.planning.order import FolderRoot
from gasang.kinds.container.privileges import has_capability
from support.containers import Host, Output, children_of_ours, configuration, groups_of_tests, mounts_of_host, needs_containers, script

pytestmark = needs_containers


def test_exit_codes_and_signals_are_told(host: Host) -> None:
    assert host.sh("exit 0").exit.code == 0
    assert host.sh("exit 77").exit.code == 77
    killed = host.sh("kill -USR1 1; trap - USR1; kill -9 $$; (kill -9 -1); sleep 5").exit
    assert killed.code in (0, 137)


def test_a_signal_from_outside_ends_the_program(host: Host) -> None:
    output = Output()
    container = host.create(script("exec sleep 100"), output.write)
    container.start()
    container.kill(signal.SIGKILL)
    ended = container.wait()
    assert (ended.code, ended.signal, ended.out_of_memory) == (137, signal.SIGKILL, False)
    with pytest.raises(StateError, match="stopped"):
        container.kill(signal.SIGTERM)
    container.delete()
    output.text()


def test_each_step_is_refused_where_it_does_not_fit(host: Host) -> None:
    output = Output()
    container = host.create(script("exec sleep 100"), output.write)
    assert container.status == "created"
    container.start()
    with pytest.raises(StateError, match="running"):
        container.start()
    with pytest.raises(StateError, match="running"):
        container.delete()
    container.delete(force=True)
    output.text()


def test_namespaces_are_its_own(host: Host) -> None:
    ran = host.sh("for n in pid net ipc uts mnt cgroup; do readlink /proc/self/ns/$n; done; echo $$; hostname; cat /proc/self/cgroup")
    own = [os.readlink(f"/proc/self/ns/{name}") for name in ("pid", "net", "ipc", "uts", "mnt", "cgroup")]
    assert not set(own) & set(ran.lines[:6])
    assert ran.lines[6:8] == ["1", "gasang"]
    assert all(line.endswith(":/") for line in ran.lines[8:])


def test_only_its_processes_and_its_loopback_are_seen(host: Host) -> None:
    ran = host.sh("ls -d /proc/[0-9]* | wc -l; ip link; ping -c1 -W1 127.0.0.1 >/dev/null && echo up")
    assert int(ran.lines[0]) <= 4
    assert sum(": <" in line for line in ran.lines) == 1
    assert "LOOPBACK,UP" in ran.output


def test_devices_links_and_mounts(host: Host) -> None:
    stats = "stat -c '%n %F %t:%T %a' /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty"
    ran = host.sh(f"{stats}; for link in /dev/fd /dev/ptmx /dev/stdin; do readlink $link; done")
    numbers = {"null": "1:3", "zero": "1:5", "full": "1:7", "random": "1:8", "urandom": "1:9", "tty": "5:0"}
    assert ran.lines[:6] == [f"/dev/{name} character special file {number} 666" for name, number in numbers.items()]
    assert ran.lines[6:] == ["/proc/self/fd", "pts/ptmx", "/proc/self/fd/0"]
    mounts = {line.split()[1]: line.split()[3].split(",") for line in host.sh("cat /proc/mounts").lines}
    for path, options in {
        "/proc": {"rw"}, "/dev": {"nosuid"}, "/dev/pts": {"nosuid", "noexec"}, "/dev/shm": {"nosuid", "noexec", "nodev"},
        "/dev/mqueue": {"nodev"}, "/sys": {"ro"}, "/sys/fs/cgroup": {"ro"}, "/proc/sys": {"ro"}, "/proc/bus": {"ro"},
    }.items():  # fmt: skip
        assert options <= set(mounts[path]), path


def test_nothing_of_the_host_is_mounted(host: Host) -> None:
    inside = host.sh("cat /proc/self/mountinfo").lines
    known = {line.split(" - ")[1].split()[0] for line in inside}
    assert known <= {"overlay", "proc", "sysfs", "tmpfs", "devpts", "mqueue", "cgroup", "cgroup2", "devtmpfs"}
    assert [line for line in inside if " / / " in line and "overlay" not in line] == []


def test_masked_and_read_only_paths(host: Host) -> None:
    (host.lower / "secret").write_text("told")
    (host.lower / "secrets").mkdir(exist_ok=True)
    (host.lower / "secrets/one").write_text("told")
    text = "cat /secret; ls -A /secrets; echo x > /secrets/two; cat /proc/kcore | head -c 9; echo 1 > /proc/sys/kernel/domainname"
    data = script(f"{text}; echo done")
    data["linux"]["maskedPaths"] += ["/secret", "/secrets", "/not/there"]
    ran = host.run(data)
    assert "told" not in ran.output
    assert ran.output.count("Read-only file system") == 2
    assert ran.lines[-1] == "done"


def test_a_read_only_root_is_read_only(host: Host) -> None:
    data = script("echo x > /file; echo y > /dev/shm/file; cat /dev/shm/file")
    data["root"]["readonly"] = True
    ran = host.run(data)
    assert "Read-only file system" in ran.output
    assert ran.lines[-1] == "y"


def test_changes_go_to_the_upper_layer_only(host: Host) -> None:
    root = host.overlay()
    assert host.run(script("echo mine > /file; rm /etc/passwd"), root).exit.code == 0
    assert (Path(root.upper) / "file").read_text() == "mine\n"
    assert (host.lower / "etc/passwd").exists()
    assert not (host.lower / "file").exists()


def test_a_folder_can_be_the_root(host: Host) -> None:
    root = host.plain()
    assert host.run(script("echo mine > /file; cat /etc/passwd"), root).lines == ["root:x:0:0:root:/root:/bin/sh"]
    assert (Path(root.path) / "file").read_text() == "mine\n"


def test_without_pivot_root_it_works_too(host: Host) -> None:
    ran = host.run(script("ls /; ls / | grep -c proc"), host.plain(), may_pivot=False)
    assert "bin" in ran.lines
    assert "work" not in ran.lines


def test_many_layers_and_upper_ones_win(host: Host, tmp_path: Path) -> None:
    layers = []
    for number in range(30):
        layer = tmp_path / f"layer-with-a-rather-long-name-{number}"
        (layer / "etc").mkdir(parents=True)
        (layer / "etc/number").write_text(f"{number}\n")
        (layer / f"etc/only{number}").write_text("")
        layers.append(layer)
    ran = host.run(script("cat /etc/number; ls /etc | grep -c only"), host.overlay(*layers))
    assert ran.lines == ["0", "30"]


def test_user_groups_umask_and_folder(host: Host) -> None:
    data = script("id -u; id -g; id -G; umask; pwd; stat -c %U:%a /made/here", cwd="/made/here")
    data["process"]["user"] = {"uid": 1000, "gid": 1001, "additionalGids": [7, 8], "umask": 0o27}
    assert host.run(data).lines == ["1000", "1001", "1001 7 8", "0027", "/made/here", "root:755"]


def test_environment_is_what_was_given(host: Host) -> None:
    ran = host.run(configuration("env", env=["PATH=/bin", "EMPTY=", "A=b c"]))
    assert sorted(ran.lines) == ["A=b c", "EMPTY=", "HOME=/root", "PATH=/bin"]


def test_home_is_given_or_looked_up(host: Host) -> None:
    (host.lower / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nother:x:55:1::/home/other:/bin/sh\nlast:x:56:1::/last:")
    try:
        for user, home in ((0, "/root"), (55, "/home/other"), (5, "/"), (56, "/last")):
            data = script("echo $HOME", env=["PATH=/bin"])
            data["process"]["user"] = {"uid": user, "gid": 0}
            assert host.run(data).lines == [home]
        assert host.run(script("echo $HOME", env=["PATH=/bin", "HOME=/mine"])).lines == ["/mine"]
    finally:
        (host.lower / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")


def test_without_overlayfs_the_layers_are_copied(host: Host, tmp_path: Path) -> None:
    layer = tmp_path / "layer"
    (layer / "etc").mkdir(parents=True)
    (layer / "new").write_text("new")
    (layer / "new").chmod(0o4755)
    os.mknod(layer / "etc/passwd", 0o20000, 0)
    root = replace(host.overlay(layer), options=("nosuchoption",))
    ran = host.run(script("ls /etc; cat /new; stat -c %a /new; echo x > /made"), root)
    assert ran.lines == ["new4755"]
    assert any("overlayfs" in warning for warning in ran.warnings)
    assert (Path(root.target) / "made").exists()
    assert (host.lower / "etc/passwd").exists()


@pytest.mark.parametrize(
    ("program", "kind", "code"),
    [
        ("nothing", ProgramMissingError, 127),
        ("/nothing", ProgramMissingError, 127),
        ("/etc/passwd/x", ProgramMissingError, 127),
        ("/etc/passwd", ProgramRefusedError, 126),
        ("/etc", ProgramRefusedError, 126),
    ],
)
def test_a_program_that_cannot_run_is_told_when_it_is_created(host: Host, program: str, kind: type[LaunchError], code: int) -> None:
    with pytest.raises(kind) as caught:
        host.run(configuration(program))
    assert caught.value.guest_code == code
    assert program in str(caught.value)


def test_a_file_that_is_no_program_is_told_at_the_start(host: Host) -> None:
    (host.lower / "bin/noise").write_bytes(b"\x7fELF nothing")
    (host.lower / "bin/noise").chmod(0o755)
    with pytest.raises(ProgramRefusedError) as caught:
        host.run(configuration("noise"))
    assert caught.value.error == errno.ENOEXEC


def test_sysctls_rlimits_and_scores(host: Host) -> None:
    data = script("cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax; ulimit -n; ulimit -Hn; cat /proc/self/oom_score_adj")
    data["linux"]["sysctl"] = {"net.ipv4.ip_forward": "1", "kernel.msgmax": "4096"}
    data["process"]["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 33, "hard": 44}]
    data["process"]["oomScoreAdj"] = 500
    assert host.run(data).lines == ["1", "4096", "33", "44", "500"]
    assert Path("/proc/sys/kernel/msgmax").read_text() != "4096\n"


def test_limits_beyond_the_hosts_are_clamped_with_a_warning(host: Host) -> None:
    data = script("ulimit -Hn")
    data["process"]["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 1 << 40, "hard": 1 << 40}]
    if has_capability("SYS_RESOURCE"):
        with pytest.raises(LaunchError, match="RLIMIT_NOFILE"):  # the kernel's own ceiling refuses
            host.run(data)
        return
    ran = host.run(data)
    assert int(ran.lines[0]) < 1 << 40
    assert any("RLIMIT_NOFILE" in warning for warning in ran.warnings)


def test_capabilities_are_those_given(host: Host) -> None:
    data = script("grep Cap /proc/self/status; grep NoNewPrivs /proc/self/status")
    chosen = ["CAP_KILL", "CAP_CHOWN"]
    data["process"]["capabilities"] = dict.fromkeys(SETS, chosen)
    shown = {line.split(":")[0]: line.split()[1] for line in host.run(data).lines}
    assert {shown[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {f"{1 << 5 | 1:016x}"}
    assert shown["NoNewPrivs"] == "1"


def test_a_user_who_is_not_root_has_ambient_capabilities_only(host: Host) -> None:
    data = script("grep CapEff /proc/self/status")
    data["process"]["user"] = {"uid": 1000, "gid": 1000}
    data["process"]["capabilities"] = {name: ["CAP_KILL"] for name in SETS if name != "ambient"}
    assert host.run(data).lines[0].split()[1] == f"{0:016x}"
    data["process"]["capabilities"]["ambient"] = ["CAP_KILL"]
    assert host.run(data).lines[0].split()[1] == f"{1 << 5:016x}"


def test_unknown_capabilities_and_profiles_are_told_not_fatal(host: Host) -> None:
    data = configuration("true", apparmorProfile="docker-default")
    data["process"]["capabilities"]["bounding"] += ["CAP_OF_TOMORROW"]
    warnings = host.run(data).warnings
    assert any("CAP_OF_TOMORROW" in warning for warning in warnings)
    assert any("docker-default" in warning for warning in warnings)


def test_binds_files_and_tmpfs(host: Host, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("from outside\n")
    (tmp_path / "folder").mkdir()
    text = "cat /mnt/file; echo more > /mnt/folder/new; echo no > /mnt/ro/new; stat -f -c %T /scratch; stat -c %a /scratch"
    data = script(f"{text}; cat /deep/er/file")
    data["mounts"] += [
        {"destination": "/mnt/file", "type": "bind", "source": str(tmp_path / "in"), "options": ["rbind"]},
        {"destination": "/mnt/folder", "type": "none", "source": str(tmp_path / "folder"), "options": ["bind", "rprivate"]},
        {"destination": "/mnt/ro", "type": "bind", "source": str(tmp_path / "folder"), "options": ["rbind", "ro"]},
        {"destination": "/scratch", "type": "tmpfs", "source": "tmpfs", "options": ["mode=1770", "size=1m", "nosuid"]},
        {"destination": "/deep/er/file", "type": "bind", "source": str(tmp_path / "in"), "options": ["bind", "ro"]},
    ]
    ran = host.run(data)
    assert ran.lines[0] == ran.lines[-1] == "from outside"
    assert "Read-only file system" in ran.output
    assert ran.lines[-3:-1] == ["tmpfs", "1770"]
    assert (tmp_path / "folder/new").read_text() == "more\n"


def test_owners_of_a_mount_are_shifted(host: Host, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/file").write_text("x")
    os.chown(tmp_path / "folder/file", 3000, 4000)
    data = script("stat -c %u:%g /mnt/file; echo y > /mnt/made; stat -c %u /mnt/made")
    mount = {"destination": "/mnt", "type": "bind", "source": str(tmp_path / "folder"), "options": ["bind"]}
    mount["uidMappings"] = [{"containerID": 3000, "hostID": 7, "size": 1}, {"containerID": 0, "hostID": 0, "size": 1}]
    mount["gidMappings"] = [{"containerID": 4000, "hostID": 8, "size": 1}, {"containerID": 0, "hostID": 0, "size": 1}]
    data["mounts"].append(mount)
    assert host.run(data).lines == ["7:8", "0"]
    data["mounts"][-1] = {**mount, "options": ["bind", "idmap"], "uidMappings": None, "gidMappings": None}
    with pytest.raises(BadInputError, match="nothing says which"):
        host.run(data)


def test_recursive_read_only_reaches_mounts_below(host: Host) -> None:
    data = script("touch /again/sub/file; touch /sub/file && echo written")
    data["mounts"] += [
        {"destination": "/sub", "type": "tmpfs", "source": "tmpfs"},
        {"destination": "/again", "type": "bind", "source": "/proc/self/fd", "options": ["bind"]},
    ]
    data["mounts"][-1] = {"destination": "/again", "type": "bind", "source": "/sys", "options": ["rbind", "rro"]}
    ran = host.run(data)
    assert "written" in ran.output
    data = script("touch /again/fs/cgroup/file")
    data["mounts"] += [{"destination": "/again", "type": "bind", "source": "/sys", "options": ["rbind", "rro"]}]
    assert "Read-only file system" in host.run(data).output


def test_a_source_that_is_missing_is_told(host: Host) -> None:
    data = configuration("true")
    data["mounts"] += [{"destination": "/mnt", "type": "bind", "source": "/nothing/there", "options": ["bind"]}]
    with pytest.raises(NotFoundError, match="/nothing/there"):
        host.run(data)


def test_a_refused_mount_is_told_in_one_sentence(host: Host) -> None:
    data = configuration("true")
    data["mounts"] += [{"destination": "/mnt", "type": "nosuchfs", "source": "none"}]
    with pytest.raises(LaunchError, match="cannot mount nosuchfs on /mnt: no such device"):
        host.run(data)


def test_devices_of_the_configuration(host: Host) -> None:
    data = script("stat -c '%F %t:%T %a %u:%g' /dev/mine /dev/sub/pipe")
    data["linux"]["devices"] = [
        {"path": "/dev/mine", "type": "c", "major": 10, "minor": 229, "fileMode": 0o640, "uid": 5, "gid": 6},
        {"path": "/dev/sub/pipe", "type": "p", "fileMode": 0o600},
    ]
    assert host.run(data).lines == ["character special file a:e5 640 5:6", "fifo 0:0 600 0:0"]


def test_descriptors_are_handed_over_from_three_on(host: Host) -> None:
    ends = [os.pipe() for _ in range(2)]
    output = Output()
    streams = Streams((host.null, output.write, output.write), [write for _, write in ends])
    container = host.create(script("echo three >&3; echo four >&4; ls /proc/self/fd | wc -l"), output.write, streams=streams)
    container.start()
    assert container.wait().code == 0
    container.delete()
    for (read, write), wanted in zip(ends, (b"three\n", b"four\n"), strict=True):
        os.close(write)
        assert os.read(read, 10) == wanted
        os.close(read)
    assert output.text().strip() == "6"  # 0 to 4, and the folder that ls reads


def test_execute_joins_everything(host: Host) -> None:
    output = Output()
    container = host.create(script("exec sleep 100"), output.write)
    container.start()
    inside = Output()
    command = "for n in pid net mnt; do readlink /proc/self/ns/$n; done; cat /proc/1/cmdline; echo; cat /proc/self/cgroup; id -u; pwd"
    process = Process(("sh", "-c", command), cwd="/tmp", env=("PATH=/bin",))
    child = container.execute(process, Streams((host.null, inside.write, inside.write)))
    assert child.wait() == 0
    child.close()
    lines = inside.text().splitlines()
    expected = [os.readlink(f"/proc/{container.pid}/ns/{name}") for name in ("pid", "net", "mnt")]
    assert lines[:3] == expected
    assert lines[3].startswith("sleep")
    assert all(line.endswith(":/") for line in lines[4:-2])
    assert lines[-2:] == ["0", "/tmp"]
    with pytest.raises(ProgramMissingError):
        container.execute(Process(("nothing",)))
    container.delete(force=True)
    output.text()


def test_deleting_ends_what_was_executed_and_nobody_waited_for(host: Host) -> None:
    output = Output()
    container = host.create(script("exec sleep 100"), output.write)
    container.start()
    running, ended = container.execute(Process(("sleep", "100"))), container.execute(Process(("true",)))
    os.waitid(os.P_PIDFD, ended.pidfd, os.WEXITED | os.WNOWAIT)  # it has ended by itself
    container.delete(force=True)
    assert (running.wait(), ended.wait(), ended.wait()) == (-signal.SIGKILL, 0, 0)
    running.close()
    ended.close()
    output.text()


def test_waiting_reaps_what_was_executed_before_and_meanwhile(host: Host) -> None:
    output = Output()
    root = host.overlay()
    os.mkfifo(Path(root.upper) / "gate")
    container = host.create(script("read line < /gate; exit 8"), output.write, root)
    container.start()
    before = container.execute(Process(("sleep", "100")))
    waiting = threading.Thread(target=container.wait)
    waiting.start()
    meanwhile = container.execute(Process(("sleep", "100")))
    opening = container.execute(Process(("sh", "-c", "echo go > /gate")))
    waiting.join()
    assert container.exit is not None
    assert container.exit.code == 8
    assert (before.wait(), meanwhile.wait()) == (-signal.SIGKILL, -signal.SIGKILL)
    for child in (before, meanwhile, opening):
        child.wait()
        child.close()
    container.delete()
    output.text()


def test_pause_and_resume(host: Host) -> None:
    output = Output()
    container = host.create(script("exec sleep 100"), output.write)
    container.start()
    container.pause()
    assert container.cgroup is not None
    assert container.cgroup.frozen()
    with pytest.raises(StateError, match="paused"):
        container.execute(Process(("true",)))
    container.resume()
    assert not container.cgroup.frozen()
    container.pause()
    container.delete(force=True)
    output.text()


def root_of_others(host: Host) -> FolderRoot:
    """A root file system of user 100000, who can get there."""
    root = host.plain()
    for path in [Path(root.path), *Path(root.path).rglob("*")]:
        os.chown(path, 100000, 100000, follow_symlinks=False)
    for path in [Path(root.path), *Path(root.path).parents]:
        path.chmod(stat.S_IMODE(path.stat().st_mode) | 0o111)
    return root


def test_user_namespaces_map_root_to_nobody_of_the_host(host: Host) -> None:
    root = root_of_others(host)
    text = "id -u; cat /proc/self/uid_map /proc/self/gid_map; echo x > /made; stat -c %u /made; echo y > /dev/null && echo null"
    data = script(f"{text}; id -G")
    data["linux"]["namespaces"].append({"type": "user"})
    mapping = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    data["linux"]["uidMappings"] = data["linux"]["gidMappings"] = mapping
    ran = host.run(data, root)
    assert [" ".join(line.split()) for line in ran.lines] == ["0", "0 100000 65536", "0 100000 65536", "0", "null", "0"]
    assert (Path(root.path) / "made").stat().st_uid == 100000


def test_user_namespaces_are_joined_by_path(host: Host) -> None:
    output = Output()
    data = script("exec sleep 100")
    data["linux"]["namespaces"].append({"type": "user"})
    mapping = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    data["linux"]["uidMappings"] = data["linux"]["gidMappings"] = mapping
    first = host.create(data, output.write, root_of_others(host))
    first.start()
    data = script("readlink /proc/self/ns/user; readlink /proc/self/ns/pid; id -u; echo $$; touch /dev/shm/x && stat -c %u /dev/shm/x")
    namespaces = data["linux"]["namespaces"]
    namespaces.append({"type": "user", "path": f"/proc/{first.pid}/ns/user"})
    next(entry for entry in namespaces if entry["type"] == "pid")["path"] = f"/proc/{first.pid}/ns/pid"
    lines = host.run(data, root_of_others(host)).lines
    assert lines[:2] == [os.readlink(f"/proc/{first.pid}/ns/{name}") for name in ("user", "pid")]
    assert (lines[2], lines[4]) == ("0", "0")
    assert int(lines[3]) > 1
    first.delete(force=True)
    output.text()


def test_time_namespaces_shift_clocks(host: Host) -> None:
    data = script("cut -d. -f1 /proc/uptime")
    data["linux"]["namespaces"].append({"type": "time"})
    data["linux"]["timeOffsets"] = {"boottime": {"secs": 1_000_000}}
    assert int(host.run(data).lines[0]) > 1_000_000


def test_namespaces_are_joined_by_path(host: Host) -> None:
    output = Output()
    first = host.create(script("exec sleep 100"), output.write)
    first.start()
    data = script("for n in net pid ipc; do readlink /proc/self/ns/$n; done; echo $$")
    paths = {"network": "net", "pid": "pid", "ipc": "ipc"}
    for entry in data["linux"]["namespaces"]:
        if entry["type"] in paths:
            entry["path"] = f"/proc/{first.pid}/ns/{paths[entry['type']]}"
    ran = host.run(data)
    assert ran.lines[:3] == [os.readlink(f"/proc/{first.pid}/ns/{name}") for name in ("net", "pid", "ipc")]
    assert int(ran.lines[3]) > 1
    first.delete(force=True)
    output.text()


def test_without_a_mount_namespace_it_is_refused(host: Host) -> None:
    data = configuration("true")
    data["linux"]["namespaces"] = [entry for entry in data["linux"]["namespaces"] if entry["type"] != "mount"]
    with pytest.raises(UnsupportedError, match="mount namespace"):
        host.run(data)


def test_nothing_may_be_mounted_inside_proc(host: Host, tmp_path: Path) -> None:
    data = configuration("true")
    data["mounts"] += [{"destination": "/proc/../proc/sys/kernel", "type": "bind", "source": str(tmp_path), "options": ["bind"]}]
    with pytest.raises(BadInputError, match="inside /proc"):
        host.run(data)
    (tmp_path / "cpuinfo").write_text("one\n")
    data = configuration("cat", "/proc/cpuinfo")
    data["mounts"] += [{"destination": "/proc/cpuinfo", "type": "bind", "source": str(tmp_path / "cpuinfo"), "options": ["bind", "ro"]}]
    assert host.run(data).lines == ["one"]


def test_nothing_leaks(host: Host) -> None:
    host.sh("true")
    before = (sorted(os.listdir("/proc/self/fd")), mounts_of_host(host.folder), groups_of_tests(), children_of_ours())
    for _ in range(3):
        host.sh("sleep 100 & sleep 100 & exit 0")
        with pytest.raises(LaunchError):
            host.run(configuration("/nothing"))
        data = configuration("true")
        data["mounts"] += [{"destination": "/mnt", "type": "nosuchfs"}]
        with pytest.raises(LaunchError):
            host.run(data)
        output = Output()
        container = host.create(script("exec sleep 100"), output.write)
        container.delete(force=True)
        output.text()
    after = (sorted(os.listdir("/proc/self/fd")), mounts_of_host(host.folder), groups_of_tests(), children_of_ours())
    assert after == before
