"""Feature selectors: which features carry information on the label, told from noise."""
