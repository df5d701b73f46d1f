"""``gasang oci``: the command line that engines speak to an OCI runtime, one file for each group of commands."""
