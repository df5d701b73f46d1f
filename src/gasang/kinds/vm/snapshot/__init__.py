"""Snapshots of virtual machines: kept, verified, restored in another process; and forks."""
