"""Commands in guests as the daemon sees processes: streams, frames, keys that detach, signals, ends. The agent is one of this host."""

from __future__ import annotations

import asyncio
import signal
import socket
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gasang.core.errors import StateError
from gasang.daemon.containers.process import CANNOT_EXECUTE, NOT_FOUND, Exit, StartError
from gasang.daemon.containers.streams import CODE, Ends
from gasang.daemon.vms.exec import LAST_WORDS, LOST, Console, GuestProcess, Keys
from gasang.kinds.vm.agent.client import Agent
from gasang.kinds.vm.agent.errors import no_agent
from gasang.kinds.vm.serial_shell.shell import SerialShell
from support.agents import HostAgent, host_agent
from support.seats import Console as Seat
from support.seats import console

CONFIG: dict[str, Any] = {
    "AttachStdin": True, "AttachStdout": True, "AttachStderr": True, "Tty": False, "Env": None, "User": "", "WorkingDir": "",
}  # fmt: skip
DETACH = b"\x10\x11"


@pytest.fixture(scope="module")
def agent() -> Iterator[HostAgent]:
    with tempfile.TemporaryDirectory(prefix="agent-") as folder, host_agent(Path(folder)) as made:
        yield made


def frames(raw: bytes) -> list[tuple[int, bytes]]:
    found = []
    while raw:
        stream, zeroes, size = struct.unpack_from(">B3sI", raw)
        assert zeroes == b"\0\0\0"
        found.append((stream, raw[8 : 8 + size]))
        raw = raw[8 + size :]
    return found


async def rest(client: socket.socket) -> bytes:
    """Everything up to the end."""
    client.settimeout(20)
    return await asyncio.to_thread(lambda: b"".join(iter(lambda: client.recv(1 << 16), b"")))


async def started(
    agent: HostAgent, *words: str, early: bytes = b"", stdin: bool = True, tells_code: bool = False, **config: Any
) -> tuple[GuestProcess, socket.socket]:
    process = GuestProcess(agent.client(), {**CONFIG, "Cmd": list(words), "AttachStdin": stdin, **config}, (30, 90))
    ours, theirs = socket.socketpair()
    tty = bool(config.get("Tty"))
    await process.attach(theirs, early, Ends(stdin, True, True, True, False, not tty, DETACH if tty else b"", True, tells_code))
    theirs.close()
    try:
        assert await process.start() > 0
    except StartError:
        process.close()
        ours.close()
        raise
    return process, ours


async def end(process: GuestProcess) -> Exit:
    found = await asyncio.wait_for(process.ended(), 20)
    assert await process.ending()
    process.close()
    return found


def test_its_streams_come_in_frames_and_its_code_last(agent: HostAgent) -> None:
    async def run() -> None:
        process, client = await started(agent, "sh", "-c", "cat; echo err >&2; exit 3", early=b"first ")
        with client:
            client.sendall(b"second")
            client.shutdown(socket.SHUT_WR)
            said = frames(await rest(client))
        assert b"".join(data for stream, data in said if stream == 1) == b"first second"
        assert [data for stream, data in said if stream == 2] == [b"err\n"]
        assert (await end(process)).code == 3

    asyncio.run(run())


@pytest.mark.parametrize("code", [0, 3, 143])
def test_its_code_is_the_last_frame_for_who_asked(agent: HostAgent, code: int) -> None:
    script = "echo out; kill $$; sleep 9" if code > 128 else f"echo out; exit {code}"

    async def run() -> None:
        process, client = await started(agent, "sh", "-c", script, tells_code=True)
        with client:
            assert frames(await rest(client)) == [(1, b"out\n"), (CODE, code.to_bytes(4, "big"))]
        assert (await end(process)).code == code

    asyncio.run(run())


def test_without_input_there_is_none(agent: HostAgent) -> None:
    async def run() -> None:
        process, client = await started(agent, "sh", "-c", "wc -c", stdin=False)
        with client:
            assert frames(await rest(client)) == [(1, b"0\n")]
        assert (await end(process)).code == 0

    asyncio.run(run())


@pytest.mark.parametrize("tty", [False, True])
def test_the_daemons_end_is_told(agent: HostAgent, tty: bool) -> None:
    async def run() -> None:
        process, client = await started(agent, "sh", "-c", "echo on; exec sleep 60", Tty=tty)
        with client:
            said = b""
            client.settimeout(20)
            while b"on" not in said:
                said += await asyncio.to_thread(client.recv, 4096)
            process.forsake()
            told = await rest(client)
        assert LAST_WORDS in told
        assert tty or frames(told) == [(2, LAST_WORDS)]
        assert (await end(process)).code == LOST
        process.forsake()

    asyncio.run(run())


def test_a_client_that_does_not_read_holds_up_no_end(agent: HostAgent) -> None:
    async def run() -> None:
        process, client = await started(agent, "sh", "-c", "cat /dev/zero")
        with client:
            await asyncio.sleep(0)
            process.forsake()
            await rest(client)
        assert (await end(process)).code in (LOST, 137)

    asyncio.run(run())


def test_a_terminal_its_size_and_the_keys_that_leave_it(agent: HostAgent) -> None:
    async def run() -> None:
        process, client = await started(agent, "sh", "-c", "stty size; echo $TERM; read line; stty size; sleep 60", Tty=True)
        with client:
            client.settimeout(20)
            said = b""
            while b"xterm" not in said:
                said += await asyncio.to_thread(client.recv, 4096)
            assert b"30 90" in said
            await process.resize(40, 100)
            client.sendall(b"\n")
            while b"40 100" not in said:
                said += await asyncio.to_thread(client.recv, 4096)
            client.sendall(DETACH)
            await rest(client)
        assert not await process.ending()
        await process.signal(signal.SIGKILL)
        assert (await end(process)).code == 137

    asyncio.run(run())


def test_who_goes_away_does_not_end_it(agent: HostAgent, tmp_path: Path) -> None:
    async def run() -> None:
        process, client = await started(agent, "sh", "-c", f"cat > /dev/null; seq 100000; echo done > {tmp_path}/done; exit 5")
        client.close()
        assert (await end(process)).code == 5
        assert (tmp_path / "done").read_text() == "done\n"

    asyncio.run(run())


class Lost:
    """A guest that goes away under a command."""

    pid, outcome = 5, None

    def exec(self, arguments: list[str], **_: object) -> Lost:
        return self

    def run(self, output: object, source: object) -> None:
        raise StateError("guest", "its agent has ended the connection", "see whether the machine still runs")

    def close(self) -> None:
        """Nothing is held."""


def test_a_guest_that_goes_away_is_an_end() -> None:
    async def run() -> None:
        process = GuestProcess(Lost(), {**CONFIG, "Cmd": ["sleep"]}, (0, 0))  # type: ignore[arg-type]
        assert await process.start() == 5
        found = await end(process)
        assert (found.code, "its agent has ended the connection" in found.error) == (LOST, True)

    asyncio.run(run())


@pytest.mark.parametrize(("words", "code"), [(("no-such-program",), NOT_FOUND), (("/etc/passwd",), CANNOT_EXECUTE)])
def test_what_cannot_be_started(agent: HostAgent, words: tuple[str, ...], code: int) -> None:
    async def run() -> None:
        with pytest.raises(StartError) as caught:
            await started(agent, *words)
        assert caught.value.guest_code == code

    asyncio.run(run())


def test_what_it_is_given(agent: HostAgent) -> None:
    async def run() -> None:
        process, client = await started(agent, "sh", "-c", "echo $A; pwd; id -u", Env=["A=b", "HALF"], WorkingDir="/usr", User="65534")
        with client:
            assert b"".join(data for _, data in frames(await rest(client))) == b"b\n/usr\n65534\n"
        await end(process)

    asyncio.run(run())


# keys


@given(pieces=st.lists(st.binary(max_size=4), max_size=8), keys=st.binary(min_size=1, max_size=3))
def test_keys_are_found_wherever_the_pieces_end(pieces: list[bytes], keys: bytes) -> None:
    whole = b"".join(pieces)
    finder, typed, left = Keys(keys), b"", False
    for piece in pieces:
        part, left = finder.split(piece)
        typed += part
        if left:
            break
    before, found, _ = whole.partition(keys)
    assert left == bool(found)
    assert typed == before if found else whole.startswith(typed) and len(whole) - len(typed) < len(keys)


def test_without_keys_everything_is_typed() -> None:
    assert Keys(b"").split(b"\x10\x11") == (b"\x10\x11", False)


def silent(first: bytes, patience: float) -> socket.socket:
    """Nobody answers, as in a guest whose image is of an earlier gasang."""
    raise no_agent("machine web", "nothing in the guest answers")


def typed(agent: Agent | None, at: Seat | None, *words: str, why: str = "") -> tuple[list[tuple[int, bytes]], int]:
    """What a command says, and how it ends, by an agent or at a console."""

    async def run() -> tuple[list[tuple[int, bytes]], int]:
        place = None if at is None else Console(SerialShell(at.connect, "machine web"), why)
        process = GuestProcess(agent, {**CONFIG, "Cmd": list(words), "AttachStdin": False}, (30, 90), console=place)
        ours, theirs = socket.socketpair()
        with ours:
            await process.attach(theirs, b"", Ends(False, True, True, True, False, True, b"", True))
            theirs.close()
            try:
                await process.start()
            except StartError:
                process.close()
                raise
            said = frames(await rest(ours))
        return said, (await end(process)).code

    return asyncio.run(run())


@pytest.mark.parametrize(("has_one", "why"), [(True, ""), (False, "its kernel was given by hand")])
def test_without_an_agent_a_command_is_typed(has_one: bool, why: str) -> None:
    with console("sh", "-i") as seat:
        said, code = typed(Agent(silent, "machine web") if has_one else None, seat, "sh", "-c", "echo out; exit 3", why=why)
    cause = why or "nothing in the guest answers"
    assert (2, f"gasang: {cause}: the command runs at its serial console\n".encode()) in said
    assert (b"".join(data for stream, data in said if stream == 1), code) == (b"out\n", 3)


def test_neither_an_agent_nor_a_shell() -> None:
    with console("sh", "-c", "while :; do printf 'web login: '; read -r name; done") as seat, pytest.raises(StartError) as told:
        typed(Agent(silent, "machine web"), seat, "true")
    assert "nothing in the guest answers; and its serial console asks for a login" in str(told.value)
    assert told.value.guest_code == CANNOT_EXECUTE
    with pytest.raises(StartError, match="nothing in the guest answers"):
        typed(Agent(silent, "machine web"), None, "true")
