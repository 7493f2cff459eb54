"""First-party executor: worker processes on this machine."""
