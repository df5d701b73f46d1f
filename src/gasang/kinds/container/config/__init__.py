"""The OCI runtime configuration (config.json, runtime specification 1.2), from bytes to values that need no more checks."""
