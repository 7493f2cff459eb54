from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autorec_kernel.errors import UsageError
from autorec_kernel.space import Genotype

scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.text(), st.floats(allow_nan=False, allow_infinity=False))
values = st.dictionaries(st.text(min_size=1), st.one_of(scalars, st.lists(scalars, max_size=3)), max_size=5)


@given(values)
def test_json_reads_back_the_same_genotype(chosen: dict[str, object]) -> None:
    genotype = Genotype(chosen)
    again = Genotype.from_json(json.loads(json.dumps(genotype.to_json())))
    assert again == genotype
    assert (again.digest, hash(again)) == (genotype.digest, hash(genotype))


@given(values)
def test_order_does_not_matter(chosen: dict[str, object]) -> None:
    assert Genotype(dict(reversed(chosen.items()))) == Genotype(chosen)


def test_values_and_types_matter() -> None:
    kinds = [Genotype({"a": value}) for value in (1, 1.0, True, "1", None, (1,), 2)]
    assert len({genotype.digest for genotype in kinds}) == len(set(kinds)) == len(kinds)


def test_a_list_is_a_tuple_and_minus_zero_is_zero() -> None:
    assert Genotype({"a": [1, 2]}) == Genotype({"a": (1, 2)})
    assert Genotype({"a": -0.0}) == Genotype({"a": 0.0})


def test_the_digest_is_written_down() -> None:
    assert Genotype({"b": (16, 8), "a": 0.1, "c": "é"}).digest == "05e1b6f7ad61e677"


def test_the_digest_is_the_same_in_every_process() -> None:
    code = "from autorec_kernel.space import Genotype; print(Genotype({'x': 'y', 'z': [1, 2.5, None]}).digest)"
    here = Genotype({"x": "y", "z": [1, 2.5, None]}).digest
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == here


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), {"a": 1}, ((1,),), {1, 2}])
def test_values_that_are_not_plain_are_refused(value: object) -> None:
    with pytest.raises(UsageError, match="plain"):
        Genotype({"a": value})


def test_a_genotype_cannot_be_changed() -> None:
    source = {"a": 1}
    genotype = Genotype(source)
    source["a"] = 2
    assert genotype["a"] == 1
    with pytest.raises(TypeError):
        genotype["a"] = 2  # type: ignore[index]
