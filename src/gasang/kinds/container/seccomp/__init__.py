"""System call filters: a compiler from the configuration's rules to BPF, and the default rules."""
