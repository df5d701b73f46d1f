"""The guest agent: a small native program in the guest, and its client on the host. See docs/reference/agent.md."""
