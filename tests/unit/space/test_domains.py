from __future__ import annotations

import json
import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autorec_kernel.errors import UnknownNameError, UsageError
from autorec_kernel.space import Bool, Choice, Domain, Float, Floats, Int, Ints, domain_from_json

small = st.integers(-20, 20)


@st.composite
def ints(draw: st.DrawFn) -> Int:
    if draw(st.booleans()):
        low = draw(st.integers(1, 50))
        return Int(low, low + draw(st.integers(0, 500)), log=True)
    low = draw(small)
    return Int(low, low + draw(st.integers(0, 40)), step=draw(st.integers(1, 7)))


@st.composite
def floats(draw: st.DrawFn) -> Float:
    low = draw(st.floats(1e-6, 10))
    return Float(low, low + draw(st.floats(0, 100)), log=draw(st.booleans()))


scalars = st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.text(max_size=3), st.floats(-2, 2))
choices = st.lists(scalars, min_size=1, max_size=5, unique_by=lambda x: (type(x), x)).map(tuple).map(Choice)
lengths = st.integers(0, 2).flatmap(lambda low: st.integers(low, 4).map(lambda high: Int(low, high)))
domains = st.one_of(ints(), floats(), choices, st.just(Bool()), st.builds(Ints, ints(), lengths), st.builds(Floats, floats(), lengths))


@settings(max_examples=200, deadline=None)
@given(domains, st.integers(0, 2**32))
def test_samples_and_mutants_are_members_of_plain_type(domain: Domain, seed: int) -> None:
    rng = np.random.default_rng(seed)
    value = domain.sample(rng)
    for _ in range(5):
        assert domain.contains(value)
        assert domain.contains(domain.cast(json.loads(json.dumps(value))))
        value = domain.mutate(value, rng)


@settings(max_examples=200, deadline=None)
@given(domains, st.integers(0, 2**32))
def test_a_mutant_differs_whenever_another_value_exists(domain: Domain, seed: int) -> None:
    rng = np.random.default_rng(seed)
    value = domain.sample(rng)
    assert all((repr(domain.mutate(value, rng)) != repr(value)) == (domain.size > 1) for _ in range(5))


@settings(max_examples=100, deadline=None)
@given(domains)
def test_json_reads_back_the_same_domain(domain: Domain) -> None:
    assert domain_from_json(json.loads(json.dumps(domain.to_json()))) == domain


@settings(max_examples=100, deadline=None)
@given(st.one_of(ints(), choices, st.just(Bool()), st.builds(Ints, st.just(Int(1, 3)), lengths)))
def test_size_counts_the_values_that_can_be_listed(domain: Domain) -> None:
    listed = list(domain.values())
    assert len(listed) == len({repr(value) for value in listed}) == domain.size
    assert all(map(domain.contains, listed))


@settings(max_examples=100, deadline=None)
@given(st.one_of(ints(), floats()))
def test_the_unit_scale_is_monotone_and_covers_the_domain(domain: Int | Float) -> None:
    marks = [domain.at(k / 50) for k in range(51)]
    assert all(a <= b for a, b in pairwise(marks))
    assert marks[0] == pytest.approx(domain.low)
    top = domain.high if isinstance(domain, Float) else list(domain.values())[-1]
    assert marks[-1] == pytest.approx(top)


@settings(max_examples=100, deadline=None)
@given(ints(), st.integers(0, 2**32))
def test_an_int_keeps_its_place_on_the_unit_scale(domain: Int, seed: int) -> None:
    value = domain.sample(np.random.default_rng(seed))
    assert domain.at(domain.unit(value)) == value


def test_draws_are_even_over_the_grid() -> None:
    rng = np.random.default_rng(0)
    for domain in (Int(3, 23, step=5), Choice("a", "b", "c", "d", "e"), Bool()):
        drawn = [domain.sample(rng) for _ in range(2000)]
        expected = 2000 / domain.size
        chi = sum((drawn.count(value) - expected) ** 2 / expected for value in domain.values())
        assert chi < 20  # 99.9 % quantile of χ²(4) is 18.5


def test_log_draws_spend_equal_shares_on_equal_ratios() -> None:
    rng = np.random.default_rng(0)
    drawn = [Float(1e-4, 1e-1, log=True).sample(rng) for _ in range(3000)]
    assert [pytest.approx(1000, abs=100)] * 3 == [sum(a <= x < 10 * a for x in drawn) for a in (1e-4, 1e-3, 1e-2)]


def test_mutations_of_numbers_stay_near_more_often_than_draws() -> None:
    rng = np.random.default_rng(0)
    domain = Int(0, 1000)
    moved = np.mean([abs(domain.mutate(100, rng) - 100) for _ in range(500)])
    drawn = np.mean([abs(domain.sample(rng) - 100) for _ in range(500)])
    assert moved < 0.6 * drawn


def test_types_tell_equal_numbers_apart() -> None:
    assert Choice(1, True, 1.0).size == 3
    assert not Int(0, 1).contains(True)
    assert not Float(0, 1).contains(1)
    assert Choice(1, 2) != Choice(1.0, 2.0)
    assert Choice(1, True, 1.0).index(True) == 1


def test_cast_makes_foreign_types_plain() -> None:
    assert type(Int(0, 9).cast(np.int64(3))) is int
    assert type(Float(0, 9).cast(np.float64(3))) is float
    assert type(Float(0, 9).cast(3)) is float
    assert math.copysign(1.0, Float(-1, 1).cast(-0.0)) == 1.0  # type: ignore[arg-type]
    assert Ints(Int(1, 9), length=Int(1, 3)).cast([np.int32(1), 2]) == (1, 2)


@pytest.mark.parametrize("value", [10, -1, 2.0, True, "3", None, (1,)])
def test_cast_refuses_strangers(value: object) -> None:
    with pytest.raises(UsageError, match="is not in Int"):
        Int(0, 9).cast(value)


@pytest.mark.parametrize("value", [math.nan, math.inf, "x", True])
def test_a_float_interval_refuses_what_is_no_finite_number(value: object) -> None:
    with pytest.raises(UsageError, match="is not in Float"):
        Float(0, 1).cast(value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Int(3, 2), "low <= high"),
        (lambda: Int(0, 9, log=True), "low >= 1"),
        (lambda: Int(1, 9, log=True, step=2), "step 1"),
        (lambda: Int(0, 9, step=0), "at least 1"),
        (lambda: Int(0.0, 9), "int bounds"),  # type: ignore[arg-type]
        (lambda: Int(0, 2**60), "2\\*\\*53"),
        (lambda: Float(1, 0), "finite low <= high"),
        (lambda: Float(0, math.inf), "finite low <= high"),
        (lambda: Float(math.nan, 1), "finite low <= high"),
        (lambda: Float(0, 1, log=True), "low > 0"),
        (lambda: Choice(), "at least one"),
        (lambda: Choice("a", "a"), "distinct"),
        (lambda: Choice(object()), "JSON"),
        (lambda: Choice(math.nan), "JSON"),
        (lambda: Ints(Float(0, 1), length=Int(1, 2)), "item domain of its kind"),  # type: ignore[arg-type]
        (lambda: Floats(Int(0, 1), length=Int(1, 2)), "item domain of its kind"),  # type: ignore[arg-type]
        (lambda: Ints(Int(0, 1), length=Int(-1, 2)), "not negative"),
        (lambda: domain_from_json({"kind": "in"}), "did you mean 'int'"),
    ],
)
def test_an_illegal_domain_cannot_be_made(make: object, message: str) -> None:
    with pytest.raises((UsageError, UnknownNameError), match=message):
        make()  # type: ignore[operator]


def test_a_choice_may_hold_lists() -> None:
    domain = Choice(((16, 8), (4,)))
    assert domain.contains((16, 8))
    assert domain.cast([4]) == (4,)
    assert Choice(("a", "b")) == Choice("a", "b")


def test_a_float_interval_cannot_be_listed() -> None:
    with pytest.raises(UsageError, match="cannot be listed"):
        Float(0, 1).values()
