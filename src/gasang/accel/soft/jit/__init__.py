"""Hot guest code as machine code: what becomes hot is compiled by a process of its own and placed while the guest runs (docs/adr/0021)."""
