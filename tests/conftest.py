"""Settings of all tests: a generated example may take its time on a busy machine."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("gasang", deadline=None)
settings.load_profile("gasang")
