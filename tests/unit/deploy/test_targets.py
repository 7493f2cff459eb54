"""Targets: three names, profile files, and what a recipe changes of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from autorec_kernel.deploy.targets import TARGETS, read_profile, target_named, target_of
from autorec_kernel.errors import UnknownNameError, UsageError
from autorec_kernel.recipe import Recipe, read_recipe
from autorec_kernel.stages.search import limits_of
from autorec_kernel.stages.workplace import Workplace


def test_targets_are_limits() -> None:
    assert target_named("device").max_bytes < target_named("edge").max_bytes < target_named("cloud").max_bytes
    assert target_named("device").max_drop > target_named("edge").max_drop > target_named("cloud").max_drop > 0
    for limit in ("max_bytes", "max_latency_ms", "max_memory"):
        sizes = [getattr(target_named(name), limit) for name in ("device", "edge", "cloud")]
        assert 0 < sizes[0] < sizes[1] < sizes[2]
    with pytest.raises(UnknownNameError, match="target"):
        target_named("toaster")
    with pytest.raises(UnknownNameError, match=r"clowd[\s\S]*did you mean 'cloud'"):
        read_recipe(None, {"target": "clowd"})


def test_what_a_recipe_states_takes_the_place_of_a_limit() -> None:
    stated = {"max_bytes": 5e5, "max_latency_ms": 2.5, "max_drop": 0.0, "serve_threads": 2, "serve_batch": 8}
    found = target_of(Recipe(target="edge", **stated))
    assert (found.max_bytes, found.max_latency_ms, found.max_drop, found.threads, found.batch) == (500_000, 2.5, 0.0, 2, 8)
    assert target_of(Recipe(target="edge")) == TARGETS["edge"]


def test_a_profile_file_is_read_whole_and_kept_in_the_recipe(tmp_path: Path) -> None:
    path = tmp_path / "phone.toml"
    path.write_text('base = "device"\nmax_bytes = 4_000_000\nmax_drop = 0.02\nthreads = 2\nmax_memory = 60_000_000\n')
    recipe = read_recipe(None, {"target": str(path), "serve_batch": 3})
    path.unlink()
    again = Recipe(**recipe.model_dump(mode="json"))  # as a resumed run and a replay read it
    found = target_of(again)
    assert again == recipe and recipe.target == "phone"
    assert (found.name, found.max_bytes, found.max_drop, found.threads, found.batch) == ("phone", 4_000_000, 0.02, 2, 3)
    assert (found.max_latency_ms, found.prefer, found.max_memory) == (20.0, "bytes", 60_000_000)  # the base's


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("max_byte = 4", "unknown option 'max_byte' (did you mean 'max_bytes'?)"),
        ("max_drop = 2.0", "option 'max_drop'"),
        ('base = "phone"', "option 'base'"),
        ("max_bytes =", "cannot read the profile"),
    ],
)
def test_a_wrong_profile_names_the_file_and_the_key(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "phone.toml"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        read_profile(path)
    assert told in str(caught.value) and str(path) in str(caught.value)
    with pytest.raises(UsageError, match=r"max_bytes = 4000000"):
        read_profile(tmp_path / "missing.toml")


def test_candidates_have_room_for_compression_but_no_more_than_the_target_allows_anyway() -> None:
    def limit(**stated: float) -> float | None:
        place = Workplace(Path(), Recipe(**stated), None, None, None)  # type: ignore[arg-type]
        return limits_of(place).get("max_bytes")

    assert limit() == 100_000_000
    assert limit(max_bytes=300_000) == 1_200_000
    assert limit(max_bytes=60_000_000) == 100_000_000
    assert limit(max_bytes=300_000_000) == 300_000_000
