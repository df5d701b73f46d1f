"""The life of a machine, whatever its kind, as one table of transitions.

Pure: nothing here starts or stops anything. Whoever does a thing to a machine asks this table first and keeps the state it
answers. An action that the table does not have from a state is refused with a sentence that lists those it has.

*Running* means that the guest executes; *ready* means that it said it is up: a machine that never says so stays running.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from gasang.core.errors import StateError


class MachineState(Enum):
    """Where a machine is in its life."""

    CREATED = "created"
    STARTING = "starting"
    RUNNING = "running"
    READY = "ready"
    PAUSED = "paused"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"
    REMOVED = "removed"


class Action(Enum):
    """What a user asks for, and what a machine reports about itself."""

    START = "start"
    PAUSE = "pause"
    RESUME = "resume"
    STOP = "stop"
    KILL = "kill"
    REMOVE = "remove"
    STARTED = "has started"
    BECAME_READY = "has become ready"
    ENDED = "has ended"
    BROKE = "has failed"


ASKED: Final = (Action.START, Action.PAUSE, Action.RESUME, Action.STOP, Action.KILL, Action.REMOVE)
"""The actions that a user asks for; the others are reports."""

_S = MachineState
_ALIVE: Final = (_S.STARTING, _S.RUNNING, _S.READY, _S.PAUSED, _S.STOPPING)
_AT_REST: Final = (_S.CREATED, _S.STOPPED, _S.FAILED)

TRANSITIONS: Final[dict[tuple[MachineState, Action], MachineState]] = {
    **{(state, Action.START): _S.STARTING for state in _AT_REST},
    **{(state, Action.REMOVE): _S.REMOVED for state in _AT_REST},
    **{(state, Action.KILL): _S.STOPPED for state in _ALIVE},
    **{(state, Action.ENDED): _S.STOPPED for state in _ALIVE},
    **{(state, Action.BROKE): _S.FAILED for state in _ALIVE},
    (_S.STARTING, Action.STARTED): _S.RUNNING,
    (_S.STARTING, Action.STOP): _S.STOPPING,
    (_S.RUNNING, Action.BECAME_READY): _S.READY,
    (_S.RUNNING, Action.STOP): _S.STOPPING,
    (_S.RUNNING, Action.PAUSE): _S.PAUSED,
    (_S.READY, Action.STOP): _S.STOPPING,
    (_S.READY, Action.PAUSE): _S.PAUSED,
    (_S.PAUSED, Action.RESUME): _S.RUNNING,
    (_S.PAUSED, Action.STOP): _S.STOPPING,
}
"""(state, action) → the state that follows. What is not here is not allowed."""


def allowed(state: MachineState) -> tuple[Action, ...]:
    """What a user may ask of a machine in `state`."""
    return tuple(action for action in ASKED if (state, action) in TRANSITIONS)


def after(subject: str, state: MachineState, action: Action) -> MachineState:
    """The state that follows `action` in `state`; raise StateError, about `subject`, where the table has none."""
    following = TRANSITIONS.get((state, action))
    if following is None:
        choices = ", ".join(choice.value for choice in allowed(state))
        hint = f"it can {choices}" if choices else "it is gone"
        raise StateError(subject, f"it is {state.value}, which does not allow '{action.value}'", hint)
    return following


def diagram() -> str:
    """The table as a Mermaid state diagram, one line a transition."""
    lines = [f"    {state.value} --> {following.value}: {action.value}" for (state, action), following in TRANSITIONS.items()]
    return "\n".join(["stateDiagram-v2", "    [*] --> created", *lines, "    removed --> [*]", ""])
