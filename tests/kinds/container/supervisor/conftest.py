"""Supervisors for all tests here."""

from support.supervised import folder

__all__ = ["folder"]
