"""Backups of machines, containers and volumes: what is read of each (taking.py), and how it is made anew (giving.py)."""
