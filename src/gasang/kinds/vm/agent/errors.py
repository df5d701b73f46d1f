"""What can go wrong with a guest's agent, as errors a user understands."""

from __future__ import annotations

import os
from typing import ClassVar

from gasang.core.errors import BadInputError, GasangError, NotFoundError, PermissionDeniedError, StateError, TimedOutError
from gasang.kinds.vm.agent import protocol

CONSOLE_HINT = "its serial console still works (gasang attach); an image of an earlier gasang has no agent until gasang pull --again"


class NoAgentError(StateError):
    """Nobody answers in the guest."""


class CommandNotFoundError(NotFoundError):
    """The guest has no such program, directory or user; the exit code is docker's."""

    exit_code: ClassVar[int] = 127


class CommandRefusedError(PermissionDeniedError):
    """The guest does not let the program be started; the exit code is docker's."""

    exit_code: ClassVar[int] = 126


def no_agent(subject: str, why: str) -> NoAgentError:
    """Nobody answers, and `why` as a sentence's part."""
    return NoAgentError(subject, why, CONSOLE_HINT)


def gone(subject: str) -> StateError:
    """The connection has ended in the middle of something."""
    return StateError(subject, "its agent has ended the connection", "see whether the machine still runs; its serial console tells more")


def silent(subject: str, seconds: float) -> TimedOutError:
    """No answer came in time."""
    return TimedOutError(subject, f"its agent has not answered for {seconds:g} s", "the guest may be stuck: look at its serial console")


def odd(subject: str, what: str) -> BadInputError:
    """The guest says what no agent of ours does."""
    return BadInputError(subject, f"its agent does not keep the protocol ({what})", "restart the machine; trust nothing in it")


def refused(subject: str, what: str, number: int) -> GasangError:
    """The agent was asked for something that the guest's kernel refuses with an error's number."""
    return GasangError(subject, f"{what}: {os.strerror(number)}", "see the guest's own log (its serial console)")


_MISSING = (2, 20)  # ENOENT, ENOTDIR
_STAGES = {
    protocol.STREAMS: "its terminal or pipes cannot be made",
    protocol.PROCESS: "no process can be made",
    protocol.USER: "the user cannot be taken",
    protocol.DIRECTORY: "the directory cannot be entered",
    protocol.EXECUTE: "it cannot be executed",
}


def not_started(command: str, user: str, directory: str, stage: int, number: int) -> GasangError:
    """A command was not started: at which stage, and with which of the guest's errors."""
    subject = f"command {command!r}"
    cause = f"{_STAGES.get(stage, 'it cannot be started')} in the guest ({os.strerror(number)})"
    if stage == protocol.USER and number in _MISSING:
        hint = "see /etc/passwd and /etc/group there, or give numbers"
        return CommandNotFoundError(subject, f"the guest has no user or group {user!r}", hint)
    if stage == protocol.DIRECTORY and number in _MISSING:
        return CommandNotFoundError(subject, f"the guest has no directory {directory!r}", "name one that is there")
    if number in _MISSING:
        return CommandNotFoundError(subject, "the guest has no such program", "check its name, and PATH in the guest")
    return CommandRefusedError(subject, cause, "check the rights and the kind of the file")
