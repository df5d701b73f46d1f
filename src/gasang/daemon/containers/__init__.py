"""Containers as the daemon keeps them: what was asked for, what it became, and its life."""
