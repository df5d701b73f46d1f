"""File systems and partitions of disks that came from elsewhere, read and never written: bytes to values, no I/O of their own."""
