"""The region compiler: hot guest code becomes one function of the host, from the same descriptions as the interpreter (docs/adr/0021)."""
