"""Bare machines for all tests here."""

from support.bare import make_bare

__all__ = ["make_bare"]
