"""The search: the trial loop, its journal, and what it chooses."""
