"""A folder of the host, served to a guest in the FUSE protocol."""
