"""Retrievers that read a history in its order: recurrent, attentive, convolutional and multi-interest ones."""
