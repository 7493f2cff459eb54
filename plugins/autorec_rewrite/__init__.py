"""Exact rewrites of exported graphs: the same answers from less work."""
