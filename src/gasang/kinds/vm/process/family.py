"""Where a machine's folder lies: with those of its twins in the folder of their family, which is all that they see of the others'."""

from __future__ import annotations

from typing import Final

FAMILY: Final = "family-"
"""What the name of such a folder begins with."""
