"""Integer arithmetic and tables for exported graphs."""
