"""Free text: words that occur together point in one direction, rare ones weigh more, and an unseen text is read by its known words."""

from __future__ import annotations

import numpy as np
import pytest

from autorec_features.words import Words
from autorec_kernel.contracts.features import RejectColumn
from autorec_kernel.records.program import ReadContext, run_program
from autorec_kernel.records.table import Table
from autorec_kernel.testing.data import coded

SPACE = ["Rocket to the Moon moon", "The moon and the rocket", "A Moon-Rocket, again", "rocket on the moon", "MOON rocket now"]
BREAD = ["Bread of the baker", "The baker and the bread", "baker; bread, again", "bread on the table, baker", "Baker bread now"]


def values(texts: list[str | None], **options: object) -> tuple[np.ndarray, object]:
    column = coded([*SPACE, *BREAD])
    fitted = Words(Words.Config(column="title", **options)).fit(  # type: ignore[arg-type]
        Table(), {"users": Table(), "items": Table({"title": column}, len(column))}, np.random.default_rng(0)
    )
    given = coded(texts)
    return np.asarray(run_program(fitted.program(), {"items.title": given}, ReadContext(len(given)))[".out"]), fitted


def test_texts_about_one_thing_are_near_and_others_are_far() -> None:
    found, _ = values([*SPACE, *BREAD], width=2)
    centred = found - found.mean(axis=0)
    near = [centred[i] @ centred[j] for part in (range(5), range(5, 10)) for i in part for j in part if i != j]
    far = [centred[i] @ centred[j] for i in range(5) for j in range(5, 10)]
    assert min(near) > max(far)
    assert found.std(axis=0) == pytest.approx(np.ones(found.shape[1]), rel=1e-5)


def test_the_directions_are_singular_vectors_of_the_weighted_words() -> None:
    found, fitted = values([*SPACE, *BREAD], width=2, min_count=3)
    words = fitted.program().arrays  # type: ignore[attr-defined]
    vectors = words["vectors"][1:]  # in units that scale and shift take away
    texts = [[word for word in text.lower().replace("-", " ").replace(";", " ").replace(",", " ").split()] for text in [*SPACE, *BREAD]]
    kept = [w for w in sorted({w for t in texts for w in t}) if 3 <= sum(w in t for t in texts) <= 5]
    rarity = np.array([np.log(10 / sum(w in t for t in texts)) + 1 for w in kept])
    matrix = np.array([[t.count(w) / sum(t.count(k) for k in kept) if any(k in t for k in kept) else 0.0 for w in kept] for t in texts])
    _, _, directions = np.linalg.svd((matrix * rarity), full_matrices=False)
    expected = directions[:2].T * rarity[:, None]
    for own, other in zip(vectors.T, expected.T, strict=True):
        assert abs(own @ other) / np.linalg.norm(own) / np.linalg.norm(other) == pytest.approx(1.0, abs=0.02)
    assert len(found) == 10


def test_unseen_texts_read_their_known_words_and_nothing_else() -> None:
    found, _ = values(["zebra rocket", "rocket", "zebra", "", None], width=2)
    assert np.array_equal(found[0], found[1])
    assert found[0].any()
    assert not found[2:].any()


def test_texts_without_common_words_are_rejected() -> None:
    table = Table({"title": coded(["one", "two", "three"])}, 3)
    with pytest.raises(RejectColumn, match="0 words"):
        Words(Words.Config(column="title")).fit(Table(), {"users": Table(), "items": table}, np.random.default_rng(0))
