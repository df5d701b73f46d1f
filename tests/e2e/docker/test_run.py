"""`docker run`: output, input, exit codes, and what the options do to the process."""

from __future__ import annotations

import os
import re
import subprocess
import time
from pathlib import Path

import pytest

from support.engines.client import until

DEVICES = {"fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty", "urandom", "zero"}


def test_output_of_both_streams_comes_back_apart(docker, image):
    done = docker("run", "--rm", image, "sh", "-c", "echo out; echo err >&2")
    assert (done.out, done.err) == (b"out\n", b"err\n")


@pytest.mark.parametrize("code", [0, 1, 42, 255])
def test_exit_code_of_the_command_is_ours(docker, image, code):
    docker("run", "--rm", image, "sh", "-c", f"exit {code}", code=code)


def test_a_signal_is_128_and_its_number(docker, image):
    docker("run", "--rm", "--init", image, "sh", "-c", "kill -KILL $$", code=137)
    docker("run", "--rm", "--init", image, "sh", "-c", "kill -SEGV $$", code=139)


def test_a_command_that_does_not_exist_is_127(docker, image):
    done = docker("run", "--rm", image, "no-such-command", code=127)
    assert "no-such-command" in done.said
    assert "not found" in done.said
    assert "Error waiting" not in done.said


def test_a_path_that_does_not_exist_is_127(docker, image):
    done = docker("run", "--rm", image, "/no/such/file", code=127)
    assert "/no/such/file" in done.said
    assert re.search("no such file or directory|not found", done.said)


@pytest.mark.parametrize("command", ["/etc/passwd", "/etc"])
def test_what_may_not_run_is_126(docker, image, command):
    done = docker("run", "--rm", image, command, code=126)
    assert "permission denied" in done.said.lower()


def test_a_failed_start_leaves_a_container_that_was_created(docker, image, name):
    docker("run", "--name", name, image, "no-such-command", code=127)
    assert docker.format(name, "{{.State.Status}} {{.State.ExitCode}}") == "created 127"


def test_errors_of_the_daemon_are_125(docker, image, name):
    docker("create", "--name", name, image)
    done = docker("run", "--name", name, image, code=125)
    assert f'The container name "/{name}" is already in use by container' in done.said


def test_wrong_options_are_125(docker, image):
    docker("run", "--no-such-option", image, code=125)
    docker("run", "--rm", "-v", "relative/path:/x:nonsense", image, "true", code=125)


def test_an_image_that_is_nowhere_is_125(docker, registry):
    done = docker("run", "--rm", f"{registry.host}/nothing:here", "true", code=125)
    assert f"Unable to find image '{registry.host}/nothing:here' locally" in done.said
    assert "manifest unknown" in done.said or "not found" in done.said


def test_pull_never_says_no_such_image(docker):
    done = docker("run", "--rm", "--pull", "never", "nowhere:at-all", "true", code=125)
    assert "No such image: nowhere:at-all" in done.said


def test_rm_removes_and_otherwise_it_stays(docker, image, box):
    kept, gone = box(), box()
    docker("run", "--name", kept, image, "true")
    docker("run", "--rm", "--name", gone, image, "true")
    assert docker.format(kept, "{{.State.Status}}") == "exited"
    done = docker("inspect", gone, code=1)
    assert f"No such object: {gone}" in done.said


def test_detached_prints_the_id_and_goes_on(docker, image, name):
    key = docker("run", "-d", "--name", name, image, "sleep", "60").text
    assert len(key) == 64
    assert set(key) <= set("0123456789abcdef")
    assert docker.format(name, "{{.Id}} {{.State.Running}}") == f"{key} true"
    docker("kill", name)


def test_detached_with_rm_removes_itself(docker, image, name):
    docker("run", "-d", "--rm", "--name", name, image, "sleep", "60")
    waiting = docker.open("wait", name)
    docker("stop", "-t", "0", name)
    assert waiting.communicate(timeout=30)[0] == b"137\n"
    until(lambda: docker("inspect", name, code=None).code == 1)


def test_cidfile_and_label_file(docker, image, name, tmp_path):
    (tmp_path / "labels").write_text("one=1\ntwo=\n")
    docker("run", "--name", name, "--cidfile", tmp_path / "id", "--label-file", tmp_path / "labels", image, "true")
    shown = docker.inspect(name)
    assert (tmp_path / "id").read_text() == shown["Id"]
    assert shown["Config"]["Labels"] == {"one": "1", "two": ""}


def test_input_reaches_the_command_and_its_end_too(docker, image):
    done = docker("run", "--rm", "-i", image, "sh", "-c", "sort; echo end", typed=b"b\na\n")
    assert done.out == b"a\nb\nend\n"


def test_much_input_comes_back_whole(docker, image):
    data = os.urandom(1 << 16) * 64
    assert docker("run", "--rm", "-i", image, "cat", typed=data).out == data


def test_output_goes_on_after_input_has_ended(docker, image):
    done = docker("run", "--rm", "-i", image, "sh", "-c", "cat; sleep 0.3; echo later", typed=b"first\n")
    assert done.out == b"first\nlater\n"


def test_without_i_there_is_no_input(docker, image):
    assert docker("run", "--rm", image, "cat", typed=b"never seen").out == b""


def test_only_what_is_attached_comes(docker, image):
    done = docker("run", "--rm", "-a", "stderr", image, "sh", "-c", "echo out; echo err >&2")
    assert (done.out, done.err) == (b"", b"err\n")


def test_environment(docker, image, tmp_path):
    (tmp_path / "env").write_text("# comment\nFROM_FILE=x y\nHOST_ONE\n")
    docker.environment["HOST_ONE"] = "from the host"
    try:
        done = docker("run", "--rm", "-e", "A=1", "-e", "HOST_ONE", "-e", "UNSET_ONE", "--env-file", tmp_path / "env", image, "env")
    finally:
        del docker.environment["HOST_ONE"]
    assert {"A=1", "FROM_FILE=x y", "HOST_ONE=from the host", "PATH=/bin", "HOME=/root"} <= set(done.lines)
    assert not any(line.startswith("UNSET_ONE") for line in done.lines)


def test_host_name_and_hosts(docker, image):
    done = docker(
        "run", "--rm", "--hostname", "box.example.org", "--add-host", "other:10.9.8.7", image, "sh", "-c", "hostname; cat /etc/hosts"
    )
    assert done.lines[0] == "box.example.org"
    assert "10.9.8.7\tother" in done.lines
    assert any(line.endswith("\tbox.example.org box") for line in done.lines)


def test_host_name_is_the_short_id_by_default(docker, image, name):
    done = docker("run", "--name", name, image, "hostname")
    assert done.text == docker.format(name, "{{.Id}}")[:12]


def test_dns_settings(docker, image):
    done = docker(
        "run", "--rm", "--dns", "192.0.2.1", "--dns-search", "example.org", "--dns-option", "ndots:3", image, "cat", "/etc/resolv.conf"
    )
    lines = [line for line in done.lines if not line.startswith("#") and line]
    assert sorted(lines) == ["nameserver 192.0.2.1", "options ndots:3", "search example.org"]


def test_working_folder_is_made(docker, image):
    assert docker("run", "--rm", "-w", "/new/folder", image, "pwd").text == "/new/folder"


def test_entrypoint(docker, image):
    assert docker("run", "--rm", "--entrypoint", "echo", image, "a", "b").text == "a b"
    assert docker("run", "--rm", "--entrypoint", "", image, "echo", "c").text == "c"


@pytest.mark.parametrize(
    ("user", "shown"),
    [
        ("worker", "uid=1000(worker) gid=1000(worker) groups=1000(worker),2000(crew)"),
        ("1000:2000", "uid=1000(worker) gid=2000(crew) groups=2000(crew)"),
        ("worker:crew", "uid=1000(worker) gid=2000(crew) groups=2000(crew)"),
        ("1234", "uid=1234 gid=0(root) groups=0(root)"),
        ("1234:5678", "uid=1234 gid=5678 groups=5678"),
    ],
)
def test_user(docker, image, user, shown):
    assert docker("run", "--rm", "--user", user, image, "id").text == shown


def test_supplementary_groups(docker, image):
    assert (
        docker("run", "--rm", "--user", "1000:1000", "--group-add", "crew", "--group-add", "3000", image, "id", "-G").text
        == "1000 2000 3000"
    )


def test_a_user_that_does_not_exist(docker, image):
    done = docker("run", "--rm", "--user", "nobody-here", image, "true", code=125)
    assert "nobody-here" in done.said
    assert "no matching entries in passwd file" in done.said


def test_capabilities(docker, image):
    def effective(*options: str) -> int:
        return int(docker("run", "--rm", *options, image, "sh", "-c", "grep CapEff /proc/self/status").text.split()[1], 16)

    assert effective() == 0xA80425FB
    assert effective("--cap-drop", "ALL") == 0
    assert effective("--cap-drop", "ALL", "--cap-add", "NET_ADMIN") == 1 << 12
    assert effective("--cap-add", "SYS_ADMIN", "--cap-drop", "CAP_CHOWN") == (0xA80425FB | 1 << 21) & ~1
    assert effective("--user", "worker") == 0


def test_privileged(docker, image):
    script = "grep -E 'CapEff|Seccomp:' /proc/self/status; ls /dev | wc -l; mount -t tmpfs none /tmp && echo mounted"
    lines = docker("run", "--rm", "--privileged", image, "sh", "-c", script).lines
    own = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapBnd")).split()[1]
    assert lines[0].split()[1] == own
    assert lines[1].split()[1] == "0"
    assert int(lines[2]) > 20
    assert "mounted" in lines


def test_default_confinement(docker, image):
    script = """
        grep -E '^(Seccomp|NoNewPrivs):' /proc/self/status
        mount -t tmpfs none /tmp 2>/dev/null || echo no mount
        echo x > /proc/sys/kernel/hostname 2>/dev/null || echo no sysctl
        echo x > /proc/sysrq-trigger 2>/dev/null || echo no sysrq
        cat /proc/kcore | wc -c; ls /sys/firmware | wc -l
        ls /dev | sort | tr '\\n' ' '
    """
    lines = docker("run", "--rm", image, "sh", "-c", script).lines
    assert [line.split()[-1] for line in lines[:2]] == ["0", "2"]
    assert lines[2:7] == ["no mount", "no sysctl", "no sysrq", "0", "0"]
    assert set(lines[7].split()) - {"core"} == DEVICES


def test_no_new_privileges_and_seccomp_off(docker, image):
    options = ("--security-opt", "no-new-privileges", "--security-opt", "seccomp=unconfined")
    lines = docker("run", "--rm", *options, image, "grep", "-E", "^(Seccomp|NoNewPrivs):", "/proc/self/status").lines
    assert [line.split()[-1] for line in lines] == ["1", "0"]


def test_a_seccomp_profile_from_a_file(docker, image, tmp_path):
    profile = (
        '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}]}'
    )
    (tmp_path / "profile.json").write_text(profile)
    done = docker("run", "--rm", "--security-opt", f"seccomp={tmp_path}/profile.json", image, "mkdir", "/x", code=1)
    assert "Function not implemented" in done.said


def test_read_only_root_with_tmpfs(docker, image):
    script = "touch /x 2>&1; touch /run/y && echo fine; grep ' /run ' /proc/mounts"
    lines = docker("run", "--rm", "--read-only", "--tmpfs", "/run:size=1m,mode=1777", image, "sh", "-c", script).lines
    assert "Read-only file system" in lines[0]
    assert lines[1] == "fine"
    assert lines[2].split()[2] == "tmpfs"
    assert {"nosuid", "nodev", "noexec", "size=1024k"} <= set(lines[2].split()[3].split(","))


def test_init_reaps_and_forwards(docker, image, name):
    docker("run", "-d", "--init", "--name", name, image, "sh", "-c", 'trap "exit 7" TERM; (sleep 0.1 &) ; while :; do sleep 0.1; done')
    assert "init" in docker("exec", name, "cat", "/proc/1/cmdline").text.split("\0")[0]
    time.sleep(0.5)
    assert " Z " not in docker("exec", name, "ps", "-o", "stat,comm").text
    docker("stop", name)
    assert docker.format(name, "{{.State.ExitCode}}") == "7"


def test_signals_of_the_client_reach_the_container(docker, image):
    script = 'trap "echo got it; exit 9" INT; echo ready; while :; do sleep 0.1; done'
    client = docker.open("run", "--rm", image, "sh", "-c", script)
    assert client.stdout.readline() == b"ready\n"
    client.send_signal(2)
    out, _ = client.communicate(timeout=30)
    assert (out, client.returncode) == (b"got it\n", 9)


def test_namespaces_are_its_own(docker, image):
    script = "for n in cgroup ipc mnt net pid uts; do readlink /proc/self/ns/$n; done; echo $$"
    lines = docker("run", "--rm", image, "sh", "-c", script).lines
    ours = [os.readlink(f"/proc/self/ns/{name}") for name in ("cgroup", "ipc", "mnt", "net", "pid", "uts")]
    assert not set(lines[1:6]) & set(ours[1:])
    assert lines[6] == "1"


def test_namespaces_shared_on_demand(docker, image, box):
    first = box()
    docker("run", "-d", "--name", first, "--ipc", "shareable", image, "sleep", "60")
    shown = "readlink /proc/self/ns/pid; readlink /proc/self/ns/ipc; readlink /proc/self/ns/uts"
    pid, ipc, _ = docker("exec", first, "sh", "-c", shown).lines
    lines = docker("run", "--rm", "--pid", f"container:{first}", "--ipc", f"container:{first}", image, "sh", "-c", shown).lines
    assert lines[:2] == [pid, ipc]
    lines = docker("run", "--rm", "--pid", "host", "--ipc", "host", "--uts", "host", image, "sh", "-c", shown).lines
    assert lines == [os.readlink(f"/proc/self/ns/{name}") for name in ("pid", "ipc", "uts")]


def test_sysctl_ulimit_and_shm(docker, image):
    options = ("--sysctl", "net.ipv4.ip_forward=0", "--ulimit", "nofile=100:200", "--shm-size", "8m")
    script = "cat /proc/sys/net/ipv4/ip_forward; ulimit -n; ulimit -Hn; df -m /dev/shm | tail -1"
    lines = docker("run", "--rm", *options, image, "sh", "-c", script).lines
    assert lines[:3] == ["0", "100", "200"]
    assert lines[3].split()[1] == "8"


def test_devices(docker, image):
    done = docker("run", "--rm", "--device", "/dev/null:/dev/other:r", image, "sh", "-c", "ls -l /dev/other; echo x 2>&1 > /dev/other")
    assert done.lines[0].startswith("crw")
    assert "1,   3" in done.lines[0]


def test_many_at_once(docker, image):
    clients = [docker.open("run", "--rm", image, "echo", str(number)) for number in range(8)]
    answers = [client.communicate(timeout=60) for client in clients]
    assert [out for out, _ in answers] == [b"%d\n" % number for number in range(8)], answers
    assert not any(client.returncode for client in clients)


def test_a_client_that_vanishes_leaves_the_container(docker, image, name):
    client = docker.open("run", "--name", name, image, "sh", "-c", "echo ready; sleep 60")
    assert client.stdout.readline() == b"ready\n"
    client.kill()
    client.communicate()
    assert docker.format(name, "{{.State.Running}}") == "true"


def test_a_long_line_and_no_last_newline(docker, image):
    done = docker("run", "--rm", image, "sh", "-c", "head -c 100000 /dev/zero | tr '\\0' x; printf end")
    assert done.out == b"x" * 100_000 + b"end"


def test_a_slow_reader_gets_everything(docker, image):
    client = docker.open("run", "--rm", image, "sh", "-c", "head -c 30000000 /dev/zero", stderr=subprocess.DEVNULL)
    time.sleep(0.5)
    assert len(client.stdout.read()) == 30_000_000
    assert client.wait(30) == 0
    client.communicate()
