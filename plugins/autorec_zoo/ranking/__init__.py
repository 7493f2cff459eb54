"""Rankers over the features of one row: linear, factorised, crossed, attentive."""
