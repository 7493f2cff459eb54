"""Crosses of columns: interactions of the second and of higher order, found by counting."""
