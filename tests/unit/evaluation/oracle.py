"""Metrics by double loop, in plain Python: written for reading, shared with nothing in the package."""

from __future__ import annotations

import math
from fractions import Fraction


def order(scores, excluded=(), unknown_row=True):
    """Return the item rows of one user, best first, by insertion of each candidate."""
    listed = []
    for item, score in enumerate(scores):
        if item in excluded or (unknown_row and item == 0):
            continue
        place = len(listed)
        while place and better(score, item, scores[listed[place - 1]], listed[place - 1]):
            place -= 1
        listed.insert(place, item)
    return listed


def better(score, item, other_score, other_item):
    if math.isnan(score) or math.isnan(other_score):
        if math.isnan(score) and math.isnan(other_score):
            return item < other_item
        return math.isnan(other_score)
    return score > other_score or (score == other_score and item < other_item)


def metric(name, ranked, relevant, unknown, k):
    """Return one user's metric; `relevant` is a set of item rows, `unknown` the number of relevant items outside the catalogue."""
    total = len(relevant) + unknown
    hits = [place for place, item in enumerate(ranked[:k], start=1) if item in relevant]
    if name == "hr":
        return 1.0 if hits else 0.0
    if name == "recall":
        return float(Fraction(len(hits), total))
    if name == "precision":
        return float(Fraction(len(hits), k))
    if name == "mrr":
        return float(Fraction(1, hits[0])) if hits else 0.0
    if name == "map":
        found = sum((Fraction(count, place) for count, place in enumerate(hits, start=1)), Fraction(0))
        return float(found / min(k, total))
    if name == "ndcg":
        ideal = math.fsum(1 / math.log2(place + 1) for place in range(1, min(k, total) + 1))
        return math.fsum(1 / math.log2(place + 1) for place in hits) / ideal
    raise AssertionError(name)


def auc(labels, scores):
    won, pairs = Fraction(0), 0
    for label, score in zip(labels, scores, strict=True):
        for other, below in zip(labels, scores, strict=True):
            if label == 1 and other == 0:
                pairs += 1
                won += Fraction(1) if score > below else Fraction(1, 2) if score == below else Fraction(0)
    return float(won / pairs) if pairs else None
