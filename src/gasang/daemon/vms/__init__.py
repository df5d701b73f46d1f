"""Virtual machines of the daemon: records beside the containers', a process each (kinds/vm/process), snapshots, restores and twins."""
