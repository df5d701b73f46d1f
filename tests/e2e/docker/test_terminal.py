"""At a terminal: run -it, attach and detach, sizes, exec -it."""

from __future__ import annotations


def test_a_shell(docker, image, name):
    with docker.terminal("run", "-it", "--rm", "--name", name, image) as terminal:
        terminal.expect(rb"# ")
        terminal.type(b"tty; echo a$((6*7))b\n")
        terminal.expect(rb"/dev/pts/0\r\na42b\r\n")
        terminal.type(b"exit 5\n")
        assert terminal.end() == 5


def test_its_size_and_changes_of_it(docker, image, name):
    with docker.terminal("run", "-it", "--rm", "--name", name, image, size=(33, 101)) as terminal:
        terminal.expect(rb"# ")
        terminal.type(b"sleep 0.3; stty size\n")
        terminal.expect(rb"33 101\r\n")
        terminal.resize(44, 102)
        terminal.type(b"sleep 0.3; stty size\n")
        terminal.expect(rb"44 102\r\n")
        terminal.type(b"exit\n")
        assert terminal.end() == 0


def test_control_c_interrupts_the_command(docker, image, name):
    with docker.terminal("run", "-it", "--rm", "--name", name, image) as terminal:
        terminal.expect(rb"# ")
        terminal.type(b"echo in; cat\n")
        terminal.expect(rb"in\r\n")
        terminal.type(b"echoed\n")
        terminal.expect(rb"echoed\r\nechoed\r\n")
        terminal.type(b"\x03")
        terminal.expect(rb"\^C\r\n.*# ")
        terminal.type(b"echo code $?\n")
        terminal.expect(rb"code 130\r\n.*# ")  # what is typed before may be taken for a line that has ended
        terminal.type(b"\x04")
        assert terminal.end() == 0


def test_detach_and_attach(docker, image, name):
    with docker.terminal("run", "-it", "--name", name, image) as terminal:
        terminal.expect(rb"# ")
        terminal.type(b"mark=$((40+2))\n")
        terminal.expect(rb"# ")
        terminal.type(b"\x10\x11")
        assert terminal.end() == 0
    assert docker.format(name, "{{.State.Running}}") == "true"
    with docker.terminal("attach", name) as terminal:
        terminal.type(b"echo mark=$mark\n")
        terminal.expect(rb"mark=42\r\n")
        terminal.type(b"exit 3\n")
        assert terminal.end() == 3


def test_other_keys_to_detach(docker, image, name):
    with docker.terminal("run", "-it", "--name", name, "--detach-keys", "ctrl-x,q", image) as terminal:
        terminal.expect(rb"# ")
        terminal.type(b"\x18q")
        assert terminal.end() == 0
    docker("kill", name)


def test_start_attached(docker, image, name):
    docker("create", "-it", "--name", name, image)
    with docker.terminal("start", "-ai", name) as terminal:
        terminal.expect(rb"# ")
        terminal.type(b"exit 6\n")
        assert terminal.end() == 6


def test_exec(docker, image, name):
    docker("run", "-d", "--name", name, image, "sleep", "60")
    with docker.terminal("exec", "-it", name, "sh", size=(20, 70)) as terminal:
        terminal.expect(rb"# ")
        terminal.type(b"tty; sleep 0.3; stty size; exit 4\n")
        terminal.expect(rb"/dev/pts/\d+\r\n20 70\r\n")
        assert terminal.end() == 4


def test_a_terminal_without_input_is_refused_by_the_client(docker, image):
    done = docker("run", "--rm", "-it", image, "true", code=1)
    assert "input device is not a TTY" in done.said


def test_a_terminal_without_a_client_at_one(docker, image):
    """-t alone: both streams in one, with the terminal's line ends."""
    done = docker("run", "--rm", "-t", image, "sh", "-c", "echo out; echo err >&2")
    assert (done.out, done.err) == (b"out\r\nerr\r\n", b"")


def test_the_environment_has_term(docker, image):
    assert "TERM=xterm" in docker("run", "--rm", "-t", image, "env").text
    assert "TERM" not in docker("run", "--rm", image, "env").text
