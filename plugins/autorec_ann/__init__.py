"""Approximate retrieval with faiss: an inverted file proposes items of a large catalogue, exact scores choose among them."""
