"""The table of kinds: each has a folder, and its verbs are verbs of the command."""

from __future__ import annotations

from pathlib import Path

import gasang.kinds
from gasang.cli.table import VERBS
from gasang.core.protocols import Forkable, Pausable, Snapshottable
from gasang.kinds import CAPABILITIES, KINDS
from gasang.kinds.vm.base import Machine


def test_every_kind_has_a_folder_and_every_folder_a_kind() -> None:
    folders = {path.parent.name for path in Path(gasang.kinds.__file__).parent.glob("*/__init__.py")}
    assert {kind.name for kind in KINDS} == folders


def test_what_a_kind_can_do_is_a_verb() -> None:
    for kind in KINDS:
        assert kind.verbs <= set(CAPABILITIES) & set(VERBS)


def test_what_only_python_can_do_is_what_the_class_has() -> None:
    seams = {"pause": Pausable, "snapshot": Snapshottable, "fork": Forkable}
    classes = {"vm": Machine}
    for kind in KINDS:
        assert not kind.python & kind.verbs
        assert all(issubclass(classes[kind.name], seams[verb]) for verb in kind.python)
