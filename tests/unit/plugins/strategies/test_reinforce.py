from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from planted import SPACE, search, wins_against_random

from autorec_kernel.records.trial import Trial
from autorec_kernel.space import Bool, Choice, Float, Floats, Gene, Genotype, Int, Ints, SearchSpace
from autorec_reinforce.controller import Controller
from autorec_reinforce.policy import Draw, Policy, reinforce_loss
from autorec_reinforce.reward import MovingBaseline, Places
from autorec_reinforce.tokens import BINS, Slot, decode, encode, slots_of
from autorec_search.landscape import Landscape
from autorec_search.random_search import RandomSearch

SWITCH = SearchSpace([Gene("a", Bool(), False), Gene("b", Choice("x", "y"), "x", "a", (True,))])
WHOLE = (Int(0, 5), Int(1, 128, log=True), Int(-7, 300, step=3), Int(0, 10**9))
DOMAINS = (*WHOLE, Float(0, 1), Float(1e-4, 1e-1, log=True), Bool(), Choice(1, True))


@pytest.mark.parametrize("domain", DOMAINS, ids=repr)
def test_a_value_drawn_from_a_token_has_that_token(domain: Int | Float | Bool | Choice) -> None:
    slot, rng = Slot.of(domain), np.random.default_rng(0)
    for token in list(range(slot.tokens)) * 20:
        drawn = slot.value(token, rng)
        assert domain.contains(drawn)
        assert slot.token(drawn) == token


@pytest.mark.parametrize("domain", DOMAINS, ids=repr)
def test_every_member_can_be_reached(domain: Int | Float | Bool | Choice) -> None:
    slot, rng = Slot.of(domain), np.random.default_rng(0)
    member = domain.sample(rng)
    assert 0 <= slot.token(member) < slot.tokens
    assert slot.tokens <= BINS
    if domain.size <= 400:
        reached = {repr(slot.value(token, rng)) for token in range(slot.tokens) for _ in range(400)}
        assert reached == {repr(item) for item in domain.values()}


def test_a_genotype_is_tokens_in_the_order_of_its_active_genes() -> None:
    lists = Gene("w", Ints(Int(1, 4), length=Int(0, 2)), (1,)), Gene("f", Floats(Float(0, 1), length=Int(1, 1)), (0.0,))
    space = SearchSpace([lists[0], *SWITCH.genes, lists[1]])
    found = encode(space, slots_of(space), space.canonical({"w": [4, 2], "a": False}))
    assert found == (("w#length", 2), ("w#0", 3), ("w#1", 1), ("a", 0), ("f#length", 0), ("f#0", 0))


@pytest.mark.parametrize("seed", range(20))
def test_tokens_decode_to_a_genotype_with_those_tokens(seed: int) -> None:
    rng, slots = np.random.default_rng(seed), slots_of(SPACE)
    tokens = encode(SPACE, slots, SPACE.sample(rng))
    lookup = dict(tokens)
    again = decode(SPACE, slots, lookup.__getitem__, rng)
    SPACE.check(again)
    assert encode(SPACE, slots, again) == tokens


def policy(seed: int = 0, width: int = 3) -> Policy:
    return Policy(slots_of(SWITCH), width, np.random.default_rng(seed))


ARCHITECTURES = ((("a", 0),), (("a", 1), ("b", 0)), (("a", 1), ("b", 1)))


def test_the_probabilities_of_all_architectures_sum_to_one() -> None:
    assert sum(policy().log_prob(tokens).exp().item() for tokens in ARCHITECTURES) == pytest.approx(1.0, abs=1e-12)


def test_draws_follow_the_probabilities() -> None:
    chosen, rng = policy(), np.random.default_rng(0)
    slots = slots_of(SWITCH)
    drawn = [encode(SWITCH, slots, decode(SWITCH, slots, Draw(chosen, rng), rng)) for _ in range(2000)]
    expected = [2000 * chosen.log_prob(tokens).exp().item() for tokens in ARCHITECTURES]
    assert sum((drawn.count(tokens) - e) ** 2 / e for tokens, e in zip(ARCHITECTURES, expected, strict=True)) < 14


def test_the_log_probability_of_a_drawn_architecture_is_recomputed_equally() -> None:
    session = Controller(Controller.Config()).start(SPACE, ("m",))
    slots, rng = slots_of(SPACE), np.random.default_rng(0)
    for _ in range(10):
        draw = Draw(session.policy, rng)
        genotype = decode(SPACE, slots, draw, rng)
        assert session.log_prob(genotype).item() == pytest.approx(draw.log_prob, abs=1e-12)


def test_the_gradient_of_the_loss_agrees_with_finite_differences() -> None:
    chosen = policy()
    batch = [(ARCHITECTURES[0], 0.7), (ARCHITECTURES[2], -1.3)]
    torch.autograd.backward(reinforce_loss(chosen, batch, 0.05))
    for tensor in chosen.weights.values():
        flat = tensor.detach().view(-1)
        for i in range(flat.numel()):
            kept, step = flat[i].item(), 1e-6
            sides = []
            for moved in (kept + step, kept - step):
                flat[i] = moved
                sides.append(reinforce_loss(chosen, batch, 0.05).item())
            flat[i] = kept
            slope = 0.0 if tensor.grad is None else tensor.grad.view(-1)[i].item()
            assert slope == pytest.approx((sides[0] - sides[1]) / (2 * step), abs=1e-7)


def gradient(batch: Sequence[tuple[tuple[tuple[str, int], ...], float]], scale: Sequence[float]) -> torch.Tensor:
    """Return the weighted sum of the loss gradients of single architectures, flat."""
    chosen = policy()
    total = sum(factor * reinforce_loss(chosen, [pair], 0.0) for factor, pair in zip(scale, batch, strict=True))
    torch.autograd.backward(total)
    return torch.cat([t.grad.view(-1) if t.grad is not None else torch.zeros(t.numel(), dtype=t.dtype) for t in chosen.weights.values()])


def test_the_expected_update_is_the_gradient_of_the_expected_reward() -> None:
    rewards = (0.2, 1.0, -0.5)
    odds = [policy().log_prob(tokens).exp().item() for tokens in ARCHITECTURES]
    found = gradient(list(zip(ARCHITECTURES, rewards, strict=True)), odds)
    chosen = policy()
    torch.autograd.backward(-sum(r * chosen.log_prob(tokens).exp() for r, tokens in zip(rewards, ARCHITECTURES, strict=True)))
    exact = torch.cat([t.grad.view(-1) if t.grad is not None else torch.zeros(t.numel(), dtype=t.dtype) for t in chosen.weights.values()])
    assert torch.allclose(found, exact, atol=1e-12)


def test_a_baseline_leaves_the_expected_update_unchanged() -> None:
    odds = [policy().log_prob(tokens).exp().item() for tokens in ARCHITECTURES]
    plain = gradient([(tokens, r) for tokens, r in zip(ARCHITECTURES, (0.2, 1.0, -0.5), strict=True)], odds)
    shifted = gradient([(tokens, r - 3.7) for tokens, r in zip(ARCHITECTURES, (0.2, 1.0, -0.5), strict=True)], odds)
    assert torch.allclose(plain, shifted, atol=1e-12)


def test_the_baseline_of_a_batch_does_not_depend_on_that_batch() -> None:
    def second(rows: list[tuple[float]]) -> list[float]:
        moving = MovingBaseline(1, 0.8)
        moving.advantages([(0.0,), (2.0,)])  # mean 1, spread 1
        return moving.advantages(rows)

    assert second([(3.0,), (5.0,)]) == pytest.approx([2.0, 4.0])
    assert second([(3.0,), (-50.0,)])[0] == pytest.approx(2.0)


def test_objectives_of_different_scale_weigh_the_same() -> None:
    rows = [(0.1, -9000.0), (0.2, -5000.0), (0.3, -1000.0)]
    found = MovingBaseline(2, 0.8).advantages(rows)
    assert found == pytest.approx([-math.sqrt(1.5), 0.0, math.sqrt(1.5)])


def test_equal_rewards_teach_nothing() -> None:
    assert MovingBaseline(1, 0.5).advantages([(0.3,)] * 4) == [0.0] * 4


@pytest.mark.parametrize("size", [4, 10])
def test_the_best_architecture_becomes_five_times_as_likely_in_200_trials(size: int) -> None:
    space = SearchSpace(Gene(f"g{i}", Choice(*"abcd"), "a") for i in range(4))
    best = space.canonical(dict.fromkeys(space, "c"))
    for seed in range(3):
        session = Controller(Controller.Config()).start(space, ("m",))
        start = session.log_prob(best).item()
        assert start == pytest.approx(-4 * math.log(4), abs=0.3)
        number = itertools.count()
        for batch in range(200 // size):
            asked = session.ask(size, np.random.default_rng((seed, batch)))
            values = [sum(v == "c" for v in p.genotype.values()) / 4 for p in asked]
            session.tell([Trial(next(number), p.genotype, "complete", (v,), reason=p.reason) for p, v in zip(asked, values, strict=True)])
        assert session.log_prob(best).item() > math.log(5) + start


def test_small_batches_are_gathered_until_they_make_a_gradient() -> None:
    def weights(size: int) -> dict[str, torch.Tensor]:
        session = Controller(Controller.Config(block=12)).start(SWITCH, ("m",))
        trials = [
            Trial(n, point, "complete", (float(n % 5),), reason="controller draw") for n, point in enumerate(list(SWITCH.points()) * 8)
        ]
        for begin in range(0, 24, size):
            session.tell(trials[begin : begin + size])
        return session.policy.weights

    small, whole = weights(4), weights(12)
    assert all(torch.equal(small[name], whole[name]) for name in small)
    fresh = Controller(Controller.Config()).start(SWITCH, ("m",)).policy.weights
    assert not torch.equal(fresh["start"], small["start"])


def test_the_entropy_bonus_keeps_the_policy_open() -> None:
    def spread(entropy: float) -> float:
        session = Controller(Controller.Config(entropy=entropy, block=4, learning_rate=0.1)).start(SWITCH, ("m",))
        point = SWITCH.canonical({"a": False})
        rows = [Trial(n, point, "complete", (float(n),), reason="controller draw") for n in range(40)]
        for begin in range(0, 40, 4):
            session.tell(rows[begin : begin + 4])
        odds = [session.log_prob(each).exp().item() for each in SWITCH.points()]
        return -sum(p * math.log(p) for p in odds)

    assert spread(3.0) > spread(0.0) + 0.3


@pytest.mark.slow
def test_it_beats_random_search_at_equal_budget() -> None:
    strategy = Controller(Controller.Config())
    assert wins_against_random(strategy, RandomSearch(RandomSearch.Config()), budget=100) >= 15


def test_failures_make_their_architectures_less_likely() -> None:
    session = Controller(Controller.Config(entropy=0.0, block=1)).start(SWITCH, ("m",))
    bad, good = SWITCH.canonical({"a": True}), SWITCH.canonical({"a": False})
    before = session.log_prob(bad).item()
    told = Trial(0, good, "complete", (1.0,), reason="controller draw")
    session.tell([told, Trial(1, SWITCH.canonical({"a": True, "b": "y"}), "complete", (0.0,))])
    for batch in range(1, 6):
        session.tell([Trial(2 * batch, bad, "oom", reason="controller draw"), replace(told, number=2 * batch + 1)])
    assert session.log_prob(bad).item() < before


def test_foreign_trials_below_the_baseline_teach_nothing() -> None:
    session = Controller(Controller.Config(entropy=0.0, block=1)).start(SWITCH, ("m",))
    session.tell([Trial(n, Genotype({"a": False}), "complete", (float(n),)) for n in range(2)])
    before = {name: tensor.detach().clone() for name, tensor in session.policy.weights.items()}
    session.tell([Trial(2, Genotype({"a": False}), "complete", (-5.0,), reason="baseline")])
    assert all(torch.equal(before[name], tensor) for name, tensor in session.policy.weights.items())


def test_a_retold_search_has_the_same_weights() -> None:
    trials = search(Controller(Controller.Config()), 3, budget=30)
    weights = []
    for _ in range(2):
        session = Controller(Controller.Config()).start(SPACE, ("m",))
        for start in range(0, 30, 5):
            session.tell(trials[start : start + 5])
        weights.append(session.policy.weights)
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_scores_depend_on_the_order_of_values_alone() -> None:
    blocks = [[(0.5,), (0.9,), (0.1,)], [(0.95,), (0.5,), (-7.0,)]]
    plain, bent = Places(1), Places(1)
    for block in blocks:
        assert plain.scores(block) == bent.scores([(math.exp(9 * value),) for (value,) in block])


def test_a_score_is_the_normal_quantile_of_the_place_among_earlier_blocks() -> None:
    places = Places(1)
    assert places.scores([(3.0,), (1.0,), (2.0,)]) == [[pytest.approx(x)] for x in (0.67449, -0.67449, 0.0)]
    assert places.scores([(2.0,), (9.0,), (8.0,)]) == [[pytest.approx(0.0)], [pytest.approx(1.15035)], [pytest.approx(1.15035)]]


@pytest.mark.slow
def test_a_long_lower_tail_does_not_hide_the_good_points() -> None:
    """Regret in 200 trials on landscapes whose values below the mean are spread exponentially."""

    def regret(seed: int) -> float:
        land = Landscape(seed, pairs=0.45, rest=0.35)
        trials = search(
            Controller(Controller.Config()), seed, budget=200, batch=4, space=land.space, objectives=lambda g: (-math.exp(-2 * land(g)),)
        )
        return land.best - max(land(trial.genotype) for trial in trials)

    assert np.mean([regret(seed) for seed in range(10)]) < 0.15
