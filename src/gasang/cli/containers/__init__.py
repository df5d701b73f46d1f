"""What the verbs about containers share: the way to the daemon, options, streams, lists. One file a verb is in gasang.cli.verbs."""
