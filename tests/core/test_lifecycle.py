from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gasang.core.errors import StateError
from gasang.core.lifecycle import ASKED, TRANSITIONS, Action, MachineState, after, allowed, diagram


def reachable() -> set[MachineState]:
    found = {MachineState.CREATED}
    while True:
        more = {following for (state, _), following in TRANSITIONS.items() if state in found}
        if more <= found:
            return found
        found |= more


def test_every_state_is_reached_and_only_removed_is_final() -> None:
    assert reachable() == set(MachineState)
    assert {state for state in MachineState if not any(source is state for source, _ in TRANSITIONS)} == {MachineState.REMOVED}


def test_every_action_is_used() -> None:
    assert {action for _, action in TRANSITIONS} == set(Action)


def test_the_usual_life() -> None:
    state = MachineState.CREATED
    steps = [Action.START, Action.STARTED, Action.BECAME_READY, Action.PAUSE, Action.RESUME, Action.STOP, Action.ENDED, Action.REMOVE]
    for action in steps:
        state = after("machine a", state, action)
    assert state is MachineState.REMOVED


def test_a_refusal_names_machine_state_and_choices() -> None:
    with pytest.raises(StateError) as caught:
        after("machine a", MachineState.CREATED, Action.PAUSE)
    assert str(caught.value) == "machine a: it is created, which does not allow 'pause'; it can start, remove"


@given(st.lists(st.sampled_from(Action)))
def test_a_living_machine_can_always_be_killed_and_a_dead_one_removed(actions: list[Action]) -> None:
    state = MachineState.CREATED
    for action in actions:
        if (state, action) in TRANSITIONS:
            state = after("machine", state, action)
        else:
            with pytest.raises(StateError):
                after("machine", state, action)
        assert state is MachineState.REMOVED or (Action.KILL in allowed(state)) != (Action.REMOVE in allowed(state))


def test_reports_are_not_offered_to_users() -> None:
    assert all(action in ASKED for state in MachineState for action in allowed(state))


def test_the_diagram_has_every_transition() -> None:
    lines = diagram().splitlines()
    assert lines[0] == "stateDiagram-v2"
    assert sum("-->" in line for line in lines) == len(TRANSITIONS) + 2
