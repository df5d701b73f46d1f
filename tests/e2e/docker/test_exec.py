"""`docker exec`: streams, codes, users, and its own life."""

from __future__ import annotations

import pytest

from support.engines.client import until


@pytest.fixture
def running(docker, image, name):
    """A container that only waits."""
    docker("run", "-d", "--name", name, "-e", "GIVEN=1", "-w", "/tmp", image, "sleep", "300")
    return name


def test_output_and_code(docker, running):
    done = docker("exec", running, "sh", "-c", "echo out; echo err >&2; exit 9", code=9)
    assert (done.out, done.err) == (b"out\n", b"err\n")


def test_input(docker, running):
    data = bytes(range(256)) * 4096
    assert docker("exec", "-i", running, "cat", typed=data).out == data


def test_without_i_there_is_no_input(docker, running):
    assert docker("exec", running, "cat", typed=b"x").out == b""


def test_its_surroundings(docker, running):
    script = "pwd; echo $GIVEN $MORE; id -u; hostname"
    done = docker("exec", "-e", "MORE=2", "-u", "1000", "-w", "/etc", running, "sh", "-c", script)
    assert done.lines == ["/etc", "1 2", "1000", docker.format(running, "{{.Config.Hostname}}")]
    assert docker("exec", running, "pwd").text == "/tmp"


def test_privileged(docker, running):
    assert docker("exec", running, "grep", "CapEff", "/proc/self/status").text.split()[1] == "00000000a80425fb"
    own = next(line for line in docker("exec", "--privileged", running, "grep", "Cap", "/proc/self/status").lines if "Eff" in line)
    assert int(own.split()[1], 16) > 0xA80425FB


@pytest.mark.parametrize(("command", "code"), [("no-such-command", 127), ("/etc/passwd", 126)])
def test_what_cannot_run(docker, engine, running, command, code):
    """Docker before version 28 says 126 of both."""
    done = docker("exec", running, command, code=None)
    assert done.code == (126 if engine.name == "dockerd" else code)
    assert command in done.said + done.text


def test_detached(docker, running):
    assert docker("exec", "-d", running, "sh", "-c", "echo done > /tmp/mark").text == ""
    until(lambda: docker("exec", running, "cat", "/tmp/mark", code=None).text == "done")


def test_it_sees_the_containers_processes(docker, running):
    assert "sleep 300" in docker("exec", running, "ps").text


def test_it_ends_with_the_container(docker, running):
    client = docker.open("exec", running, "sh", "-c", "echo in; sleep 60")
    assert client.stdout.readline() == b"in\n"
    docker("kill", running)
    client.communicate(timeout=20)
    assert client.returncode == 137


def test_not_in_what_does_not_run(docker, image, name):
    docker("create", "--name", name, image)
    assert "is not running" in docker("exec", name, "true", code=1).said
    assert "No such container: nobody" in docker("exec", "nobody", "true", code=1).said


def test_many_at_once(docker, running):
    clients = [docker.open("exec", running, "sh", "-c", f"echo {number}; exit {number}") for number in range(10)]
    answers = [(client.communicate(timeout=60)[0], client.returncode) for client in clients]
    assert answers == [(b"%d\n" % number, number) for number in range(10)]


@pytest.mark.parametrize(
    "options",
    [("-w", "/not/there", "pwd"), ("-w", "not/absolute", "pwd"), ("-u", "nobody-here", "true"), ("/etc",)],
    ids=" ".join,
)
def test_what_cannot_be_executed(docker, running, options):
    docker("exec", *options[:-1], running, options[-1], code=126)


def test_a_bare_name_takes_a_variable_away(docker, running):
    shown = docker("exec", "-e", "NOT_SET_HERE", "-e", "GIVEN", running, "env").lines
    assert not [line for line in shown if line.startswith(("GIVEN", "NOT_SET_HERE"))]


def test_an_environment_file(docker, running, tmp_path):
    (tmp_path / "file").write_text("# a comment\nONE=two words\n\nEMPTY=\n")
    lines = docker("exec", "--env-file", tmp_path / "file", running, "env").lines
    assert {"ONE=two words", "EMPTY=", "GIVEN=1"} <= set(lines)
