"""From a configuration to a plan: each file adds the operations of one part."""
