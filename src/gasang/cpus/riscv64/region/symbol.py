"""What a compiled region's function is called."""

from __future__ import annotations

SYMBOL = "region"
