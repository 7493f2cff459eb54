"""Feature ops that leak."""
