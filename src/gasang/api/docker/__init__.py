"""The Docker Engine API (api/swagger.yaml of moby, versions 1.24 to 1.50), spoken to unmodified clients."""
