"""What travels between the stages: frozen records, one module each. Kept empty: serving imports single modules of this room alone."""
