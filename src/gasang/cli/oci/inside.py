"""Commands about what is in a container: exec, ps, pause, resume."""

from __future__ import annotations

import json
import os
import pwd
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from gasang.cli.oci.command import CONSOLE_SOCKET, ID, PID_FILE, PRESERVE_FDS, Command, path_of, write_pid_file
from gasang.cli.oci.foreground import Terminal, relay, signals_passed_to
from gasang.cli.oci.lifecycle import DETACH, FORM, console, preserved, tell, wait_for
from gasang.cli.options import Argument, Example, Parsed, Syntax, plain_text, switch, value, values
from gasang.cli.output import Column, render
from gasang.core.errors import UsageError
from gasang.kinds.container.bundle import Bundles
from gasang.kinds.container.config.node import Node, parse
from gasang.kinds.container.config.process import SETS, Capabilities, Process, User, read_capabilities, read_process
from gasang.kinds.container.container import Streams

CWD = value("cwd", "FOLDER", "where it starts", plain_text)
ENV = values("env", "NAME=VALUE", "a variable of its environment", plain_text, short="e")
TTY = switch("tty", "give it a terminal", short="t")
USER = value("user", "UID[:GID]", "who it runs as", plain_text, short="u")
GROUPS = values("additional-gids", "GID", "one more group", plain_text, short="g")
PROCESS = value("process", "FILE", "all of it as JSON, as in config.json", path_of, short="p", files=True)
PROCESS_LABEL = value("process-label", "LABEL", "accepted; labels are not applied", plain_text)
APPARMOR = value("apparmor", "PROFILE", "accepted; profiles are not applied", plain_text)
NO_NEW_PRIVS = switch("no-new-privs", "it can gain no privileges")
CAPABILITY = values("cap", "NAME", "one more capability", plain_text, short="c")
CGROUP = value("cgroup", "PATH", "accepted if it is the container's own: /", plain_text)
IGNORE_PAUSED = switch("ignore-paused", "also where the container is paused: it runs when that ends")
_MOST_ID: Final = (1 << 32) - 2


def exec_(parsed: Parsed, bundles: Bundles) -> int:
    """Run a process in a container, and unless detached wait for it."""
    identity = parsed.arguments[0]
    record = bundles.record(identity)
    process = process_of(parsed, bundles.config(record).process)
    streams = Streams(preserved=preserved(parsed.get(PRESERVE_FDS)))
    if process.terminal and parsed.get(CONSOLE_SOCKET) is None:
        if parsed.get(DETACH):
            raise UsageError("--tty with --detach", "the terminal's other end goes nowhere", "add --console-socket")
        return _on_terminal(parsed, bundles, process, streams)
    with console(parsed.get(CONSOLE_SOCKET)) as connection:
        child, warnings = bundles.execute(identity, process, replace(streams, console_socket=connection))
    tell(warnings)
    try:
        write_pid_file(parsed.get(PID_FILE), child.pid)
        if parsed.get(DETACH):
            return 0
        with signals_passed_to(child.pidfd):
            return wait_for(child.pidfd)
    finally:
        child.close()


def _on_terminal(parsed: Parsed, bundles: Bundles, process: Process, streams: Streams) -> int:
    terminal = Terminal()
    try:
        child, warnings = bundles.execute(parsed.arguments[0], process, replace(streams, console_socket=terminal.socket))
        tell(warnings)
        try:
            write_pid_file(parsed.get(PID_FILE), child.pid)
            master = terminal.receive()
            with signals_passed_to(child.pidfd, master):
                relay(master, child.pidfd)
                return wait_for(child.pidfd)
        finally:
            child.close()
    finally:
        terminal.close()


def process_of(parsed: Parsed, first: Process | None) -> Process:
    """The process that the words describe: as the container's first one, but for what they say."""
    path = parsed.get(PROCESS)
    if path is not None:
        return read_process(parse(Path(path).read_bytes(), str(path)))
    if not parsed.command:
        raise UsageError("gasang oci exec", "the command is missing", "write it after the container's name")
    process = first or Process(parsed.command)
    user = process.user
    if parsed.get(USER) is not None:
        uid, _, gid = str(parsed.get(USER)).partition(":")
        user = User(_id(uid, "--user"), _id(gid, "--user") if gid else 0)
    if parsed.get(GROUPS):
        user = replace(user, groups=(*user.groups, *(_id(text, "--additional-gids") for text in parsed.get(GROUPS))))
    return replace(
        process,
        args=parsed.command,
        cwd=parsed.get(CWD) or process.cwd,
        env=(*process.env, *parsed.get(ENV)),
        user=user,
        terminal=parsed.get(TTY),
        console_size=None,
        no_new_privileges=process.no_new_privileges or parsed.get(NO_NEW_PRIVS),
        capabilities=_with(process.capabilities, parsed.get(CAPABILITY)),
    )


def _id(text: str, subject: str) -> int:
    if not text.isdigit() or int(text) > _MOST_ID:
        raise UsageError(subject, f"{text!r} is no number of a user or group", "names are not looked up: write numbers")
    return int(text)


def _with(capabilities: Capabilities, names: tuple[str, ...]) -> Capabilities:
    """More capabilities, in every set but the ambient one."""
    if not names:
        return capabilities
    full = [name if name.startswith("CAP_") else f"CAP_{name}" for name in names]
    more = read_capabilities(Node(dict.fromkeys(SETS, full), "--cap", "command line"))
    if more.unknown:
        raise UsageError("--cap", f"there is no capability {more.unknown[0]}", "man 7 capabilities lists them")
    sets = {name: getattr(capabilities, name) | getattr(more, name) for name in ("bounding", "effective", "permitted")}
    return replace(capabilities, **sets)


PS_COLUMNS: Final = (
    Column("uid", "UID"), Column("pid", "PID"), Column("ppid", "PPID"), Column("stat", "STAT"), Column("time", "TIME"),
    Column("command", "CMD"),
)  # fmt: skip


def ps(parsed: Parsed, bundles: Bundles) -> int:
    """Print the processes of a container, as the host numbers them."""
    processes = bundles.running_group(parsed.arguments[0]).processes()
    if parsed.get(FORM) == "json":
        print(json.dumps(processes))
        return 0
    rows = [row for row in map(_row, processes) if row is not None]
    print(render(None, PS_COLUMNS, rows), end="")
    return 0


def _row(pid: int) -> dict[str, Any] | None:
    """One process, from its files in /proc; None if it has ended meanwhile."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        owner = os.stat(f"/proc/{pid}").st_uid
    except (FileNotFoundError, ProcessLookupError):
        return None
    name, fields = text[text.index("(") + 1 : text.rindex(")")], text[text.rindex(")") + 2 :].split()
    seconds = (int(fields[11]) + int(fields[12])) // os.sysconf("SC_CLK_TCK")
    time = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    try:
        user = pwd.getpwuid(owner).pw_name
    except KeyError:
        user = str(owner)
    return {"uid": user, "pid": pid, "ppid": int(fields[1]), "stat": fields[0], "time": time, "command": arguments or f"[{name}]"}


def pause(parsed: Parsed, bundles: Bundles) -> int:
    """Stop every process in its tracks."""
    bundles.running_group(parsed.arguments[0]).freeze()
    return 0


def resume(parsed: Parsed, bundles: Bundles) -> int:
    """Let them run on."""
    bundles.running_group(parsed.arguments[0]).thaw()
    return 0


def _example(words: str, meaning: str) -> tuple[Example, ...]:
    return (Example(f"gasang oci {words}", meaning),)


_EXEC_OPTIONS: Final = (
    CONSOLE_SOCKET, CWD, ENV, TTY, USER, GROUPS, PROCESS, DETACH, PID_FILE, PROCESS_LABEL, APPARMOR, NO_NEW_PRIVS, CAPABILITY, PRESERVE_FDS,
    CGROUP, IGNORE_PAUSED,
)  # fmt: skip

COMMANDS: Final = {
    "exec": Command(
        Syntax("Run one more process in a container.", _EXEC_OPTIONS, (ID,), "the process", examples=_example("exec web ls /", "its root")),
        exec_,
    ),
    "ps": Command(
        Syntax(
            "List the processes of a container.",
            (FORM,),
            (ID, Argument("OPTIONS", "accepted and passed over", required=False, repeated=True)),
            examples=_example("ps web", "as a table"),
        ),
        ps,
    ),
    "pause": Command(Syntax("Stop a container's processes in their tracks.", (), (ID,), examples=_example("pause web", "pause it")), pause),
    "resume": Command(Syntax("Let a paused container run on.", (), (ID,), examples=_example("resume web", "let it run")), resume),
}
