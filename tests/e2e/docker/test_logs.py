"""`docker logs`: what a container said, from when, how much, and what follows."""

from __future__ import annotations

import json
import re
import select

import pytest

from support.engines.client import until

STAMP = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z (.*)$")


def test_both_streams(docker, image, name):
    docker("run", "-d", "--name", name, image, "sh", "-c", "echo out; echo err >&2; printf end")
    docker("wait", name)
    done = docker("logs", name)
    assert (done.out, done.err) == (b"out\nend", b"err\n")


def test_of_a_terminal(docker, image, name):
    docker("run", "-d", "-t", "--name", name, image, "echo", "hi")
    docker("wait", name)
    assert docker("logs", name).out == b"hi\r\n"


@pytest.mark.parametrize(
    ("tail", "lines"), [("0", []), ("2", ["4", "5"]), ("9", ["1", "2", "3", "4", "5"]), ("all", ["1", "2", "3", "4", "5"])]
)
def test_tail(docker, image, name, tail, lines):
    docker("run", "--name", name, image, "seq", "5")
    assert docker("logs", "--tail", tail, name).lines == lines


def test_stamps_since_and_until(docker, image, name):
    docker("run", "--name", name, image, "sh", "-c", "echo one; sleep 0.3; echo two; sleep 0.3; echo three")
    lines = docker("logs", "-t", name).lines
    assert [STAMP.match(line)[1] for line in lines] == ["one", "two", "three"]
    second = lines[1].split()[0]
    assert docker("logs", "--since", second, name).lines == ["two", "three"]
    assert docker("logs", "--until", second, name).lines == ["one", "two"]
    assert docker("logs", "--since", "10m", name).lines == ["one", "two", "three"]
    assert docker("logs", "--until", "10m", name).lines == []
    assert docker("logs", "--since", second, "--tail", "1", name).lines == ["three"]


def test_follow_until_it_ends(docker, image, name):
    docker("run", "-d", "--name", name, image, "sh", "-c", "echo 1; sleep 0.5; echo 2; sleep 0.5; echo 3 >&2")
    done = docker("logs", "-f", name)
    assert (done.lines, done.err) == (["1", "2"], b"3\n")


def test_follow_tells_a_line_at_once(docker, image, name):
    docker("run", "-d", "-i", "--name", name, image, "cat")
    client = docker.open("attach", name)
    follower = docker.open("logs", "-f", "--tail", "0", name)

    def heard():
        # The follower says nothing once it listens: repeat until it has seen a line.
        client.stdin.write(b"line\n")
        client.stdin.flush()
        assert client.stdout.readline() == b"line\n"
        return select.select([follower.stdout], [], [], 0.3)[0]

    until(heard)
    assert follower.stdout.readline() == b"line\n"
    docker("kill", name)
    client.communicate(timeout=20)
    follower.communicate(timeout=20)
    assert follower.returncode == 0


def test_details(docker, image, name):
    docker("run", "--name", name, "--label", "color=red", "--log-opt", "labels=color", image, "echo", "hi")
    assert docker("logs", "--details", name).text == "color=red hi"


def test_long_lines_come_whole(docker, image, name):
    docker("run", "--name", name, image, "sh", "-c", "head -c 100000 /dev/zero | tr '\\0' x; echo; echo y")
    assert docker("logs", name).lines == ["x" * 100_000, "y"]
    assert docker("logs", "--tail", "1", name).lines == ["y"]


def test_bytes_that_are_no_text(docker, image, name):
    docker("run", "--name", name, image, "sh", "-c", "printf 'a\\000b\\037\"\\\\\\t\\302\\265\\n'")
    assert docker("logs", name).out == b'a\0b\x1f"\\\t\xc2\xb5\n'


def test_rotation_keeps_what_it_is_told_to(docker, image, name):
    docker("run", "--name", name, "--log-opt", "max-size=20k", "--log-opt", "max-file=2", image, "seq", "5000")
    lines = docker("logs", name).lines
    assert lines[-1] == "5000"
    assert 100 < len(lines) < 1000
    assert lines == [str(number) for number in range(int(lines[0]), 5001)]


def test_no_log(docker, image, name):
    docker("run", "--name", name, "--log-driver", "none", image, "echo", "hi")
    assert "configured logging driver does not support reading" in docker("logs", name, code=1).said


def test_a_driver_that_is_not_there(docker, image):
    docker("run", "--rm", "--log-driver", "no-such-driver", image, "true", code=125)


def test_of_nobody(docker):
    assert "No such container: nobody" in docker("logs", "nobody", code=1).said


def test_before_the_start(docker, image, name):
    docker("create", "--name", name, image)
    assert docker("logs", name).out == b""


def test_bounded_unless_told_otherwise(docker, engine, image, name):
    """Docker differs: there a log grows without end by default."""
    docker("create", "--name", name, image)
    settings = json.loads(docker.format(name, "{{json .HostConfig.LogConfig}}"))
    assert settings["Type"] == "json-file"
    assert bool(settings["Config"].get("max-size")) == (engine.name == "gasang")
