"""First-party feature operations, each a program over columns and as-of tables."""
