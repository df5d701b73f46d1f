"""Machines' processes for all tests here."""

from support.machine_processes import machines

__all__ = ["machines"]
