"""The cascade: one graph in which a closed form shortlists the catalogue and a trained block puts the shortlist in order."""
