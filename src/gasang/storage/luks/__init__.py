"""Disks encrypted with LUKS, versions 1 and 2."""
