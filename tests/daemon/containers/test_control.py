"""Control groups of containers as the daemon uses them."""

from __future__ import annotations

from pathlib import Path

from gasang.daemon.containers.control import PARENT, GroupControl
from support.privileges import needs_root


@needs_root
def test_weights_are_tried_and_nothing_is_left_of_it() -> None:
    control = GroupControl()
    kept = control.weighs_blocks
    tops = [entry.folder for entry in (*control.hierarchies.legacy, control.hierarchies.unified) if entry is not None]
    assert not [path for top in tops for path in Path(top).glob(f"**{PARENT}/weight-*")]
    holding = control.hierarchies.holding("blkio")
    if holding is not None:  # Linux tells what a group may have where there is one
        groups = [path for path in Path(holding.folder).glob("*/") if path.is_dir()]
        assert not groups or kept == any((path / "blkio.bfq.weight").exists() for path in groups)
