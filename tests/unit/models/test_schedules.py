from __future__ import annotations

import math

import pytest
import torch

from autorec_kernel.models.schedules import Schedule


def rates(schedule, steps):
    return [schedule.rate(step, 1) for step in range(steps)]


def test_without_a_schedule_the_rate_stays():
    assert rates(Schedule("none", 0.1, 10), 20) == [0.1] * 20


@pytest.mark.parametrize("kind", ["none", "plateau", "cosine", "linear"])
def test_the_rate_rises_to_its_base_over_the_warmup(kind):
    found = rates(Schedule(kind, 1.0, 100, warmup=0.1), 12)
    assert found[:10] == pytest.approx([(step + 1) / 11 for step in range(10)])
    assert found[10] == pytest.approx(1.0)
    assert found == sorted(found[:11]) + found[11:]


def test_a_cosine_falls_from_the_base_to_zero():
    schedule = Schedule("cosine", 2.0, 120, warmup=1 / 6)
    found = [schedule.rate(20 + step, 1) for step in range(101)]
    assert found == pytest.approx([1 + math.cos(math.pi * step / 100) for step in range(101)])
    assert schedule.rate(500, 1) == pytest.approx(0.0)


def test_a_line_falls_from_the_base_to_zero():
    assert rates(Schedule("linear", 1.0, 4), 6) == pytest.approx([1.0, 0.75, 0.5, 0.25, 0.0, 0.0])


def test_a_scripted_plateau_halves_the_rate_as_torchs_scheduler_does():
    script = [0.1, 0.2, 0.3, *[0.3] * 6, 0.29, 0.31, *[0.1] * 13, 0.4]
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="max", factor=0.5, patience=5, threshold=0.0)
    ours, found = Schedule("plateau", 1.0, 100, patience=5, factor=0.5), []
    for epoch, value in enumerate(script, 1):
        ours.judged(value)
        theirs.step(value)
        found.append(ours.rate(epoch * 4, epoch + 1))
        assert found[-1] == optimizer.param_groups[0]["lr"], epoch
    assert found[2] == 1.0
    assert found[8] == 0.5  # the sixth epoch in a row without anything better
    assert found[-1] == 0.125


def test_progress_below_the_threshold_is_none():
    schedule = Schedule("plateau", 1.0, 100, patience=1, threshold=0.1)
    for value in (0.5, 0.55, 0.59):
        schedule.judged(value)
    assert schedule.rate(0, 4) == 0.5


def test_the_factors_of_an_earlier_training_are_followed_again():
    schedule = Schedule("plateau", 2.0, 100, factors=(1.0, 0.5, 0.25))
    assert [schedule.rate(0, epoch) for epoch in range(1, 6)] == [2.0, 1.0, 0.5, 0.5, 0.5]
