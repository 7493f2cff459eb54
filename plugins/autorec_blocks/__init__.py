"""First-party model blocks and losses: the words of the block language."""
