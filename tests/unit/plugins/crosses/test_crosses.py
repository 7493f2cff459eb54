"""What the operation promises beside the bar: safe vocabularies, caps, no redundancy, no decision taken twice."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from autorec_crosses import crosses
from autorec_crosses.crosses import Crosses
from autorec_kernel.contracts.features import DataProfile, RejectColumn
from autorec_kernel.records.program import Program, ReadContext, run_program
from autorec_kernel.records.schema import Column, Schema
from autorec_kernel.records.table import Coded, Table
from autorec_kernel.testing.snapshots import digest

NONE = {"users": Table(), "items": Table()}


def stored(fitted: Any) -> str:
    return digest([fitted.outputs, fitted.program().to_json(), fitted.program().stored(), fitted.config.model_dump_json()])


def given(events: Table, *chosen: tuple[str, ...], tables: Any = NONE, **options: Any) -> Any:
    return Crosses(Crosses.Config(chosen=chosen, **options)).fit(events, tables, np.random.default_rng(0))


def pairs(kit: Any, *rows: tuple[int, int], times: int = 5) -> Table:
    levels = np.repeat(np.array(rows), times, axis=0)
    return Table({"a": kit.texts(levels[:, 0]), "b": kit.texts(levels[:, 1])}, len(levels))


class TestVocabulary:
    def test_each_observed_combination_has_a_row_and_all_else_is_zero(self, kit: Any) -> None:
        fitted = given(pairs(kit, (0, 0), (0, 1), (2, 1)), ("a", "b"))
        assert fitted.outputs[0].name == "cross(a,b)" and fitted.outputs[0].size == 4 and fitted.outputs[0].family == "cross"
        names = np.array(["v0", "v1", "v2", "new"], dtype=object)
        a, b = (Coded(np.array(codes, np.int32), names) for codes in ([0, 0, 2, 2, 3, -1, 0, 0], [0, 1, 1, 0, 0, 0, 3, -1]))
        assert kit.read(fitted, {"a": a, "b": b}, 8)["cross(a,b)"].tolist() == [1, 2, 3, 0, 0, 0, 0, 0]
        assert kit.read(fitted, {"a": a}, 8)["cross(a,b)"].tolist() == [0] * 8
        assert kit.read(fitted, {}, 2)["cross(a,b)"].tolist() == [0, 0]

    def test_rare_combinations_of_frequent_categories_read_as_unknown(self, kit: Any) -> None:
        events = pairs(kit, *[(0, 0)] * 3, *[(1, 1)] * 3, (0, 1), times=2)
        fitted = given(events, ("a", "b"), min_count=5)
        assert kit.read(fitted, events, events.rows)["cross(a,b)"].tolist() == [1] * 6 + [2] * 6 + [0] * 2

    def test_too_many_combinations_share_buckets_and_strangers_still_read_zero(self, kit: Any) -> None:
        levels = np.stack(np.meshgrid(np.arange(40), np.arange(40)), -1).reshape(-1, 2)
        events = pairs(kit, *map(tuple, levels[levels.sum(1) % 7 > 0]))
        fitted = given(events, ("a", "b"), max_size=1000, buckets=300)
        rows = kit.read(fitted, events, events.rows)["cross(a,b)"]
        assert fitted.outputs[0].size == 301 and rows.min() >= 1 and rows.max() <= 300
        assert np.bincount(rows // 1, minlength=301)[1:].max() < 8 * len(rows) / 300  # no bucket takes much more than its share
        left_out = pairs(kit, *map(tuple, levels[levels.sum(1) % 7 == 0]), times=1)
        assert not kit.read(fitted, left_out, left_out.rows)["cross(a,b)"].any()

    def test_ids_of_combinations_beyond_64_bits_are_no_cross(self, kit: Any) -> None:
        wide = {f"c{k}": kit.texts(np.arange(5000) % 1000) for k in range(7)}
        with pytest.raises(RejectColumn):
            given(Table(wide, 5000), tuple(wide), min_count=1)
        assert given(Table(wide, 5000), ("c0", "c1", "c2"), min_count=1).outputs[0].size == 1001

    def test_bytes_and_gain_of_each_cross_are_told(self, kit: Any) -> None:
        fitted = kit.search(kit.xor(1, [2, 5], 4000, noise=3).events)
        (told,) = fitted.config.told
        size = sum(array.nbytes for array in fitted.program().stored().values())
        assert told.startswith(f"{fitted.outputs[0].name}: 11 rows, {size:,} bytes, gain 0.")


class TestColumns:
    def test_few_numbers_are_categories_and_many_are_bins(self, kit: Any) -> None:
        rng = np.random.default_rng(0)
        few, many = rng.integers(0, 50, 5000).astype(float), rng.normal(size=5000)
        events = Table({"few": few, "many": many}, 5000)
        fitted = given(events, ("few", "many"), min_count=1)
        assert fitted.outputs[0].size == 50 * 10 + 1
        assert [name for name, _ in fitted.config.edges] == ["many"]
        assert dict(fitted.config.edges)["many"] == pytest.approx(np.quantile(many, np.arange(1, 10) / 10))
        strange = {"few": np.array([0.0, 0.5, np.nan, 0.0]), "many": np.array([np.nan, 0.0, 0.0, 99.0])}
        assert (kit.read(fitted, strange, 4)["cross(few,many)"] > 0).tolist() == [False, False, False, True]

    def test_parts_of_times_and_columns_of_entities_are_crossed(self, kit: Any) -> None:
        rng = np.random.default_rng(0)
        when = rng.integers(0, 10**6, 3000) * 10**9 * 60
        events = Table({"when": when, "@user": rng.integers(0, 3, 3000), "@item": rng.integers(1, 3, 3000)}, 3000)
        tables = {"users": Table({"age": np.array([20.0, 30.0])}, 2), "items": Table({"brand": kit.texts(np.arange(2))}, 2)}
        chosen = ("items.brand", "when.hour"), ("users.age", "when.weekday"), ("items.brand", "users.age")
        fitted = given(events, *chosen, tables=tables, min_count=1)
        assert [feature.depends for feature in fitted.outputs] == ["pair", "row", "pair"]
        assert [feature.size for feature in fitted.outputs] == [2 * 24 + 1, 2 * 7 + 1, 2 * 2 + 1]

    def test_crosses_depend_on_what_their_columns_depend_on(self, kit: Any) -> None:
        rng = np.random.default_rng(0)
        rows = rng.integers(1, 201, (2, 2000))
        columns = {name: kit.texts(rng.integers(0, 4, 200)) for name in "ab"}
        events = Table({"@user": rows[0], "@item": rows[1], "user_id": kit.texts(rows[0] % 9)}, 2000)
        tables = {"users": Table(columns, 200), "items": Table(columns, 200)}
        chosen = ("users.a", "users.b"), ("items.a", "items.b"), ("items.a", "users.a"), ("user_id", "users.a"), ("items.a", "user_id")
        fitted = given(events, *chosen, tables=tables, user="user_id")
        assert [feature.depends for feature in fitted.outputs] == ["user", "item", "pair", "user", "pair"]

    def test_columns_that_do_not_vary_or_are_not_there_are_passed_over(self, kit: Any) -> None:
        planted = kit.xor(0, [2, 2], 2000, noise=2)
        odd = {"same": kit.texts(np.zeros(2000, int)), "gaps": np.full(2000, np.nan), "wide": np.zeros((2000, 3), np.float32)}
        found = kit.search(planted.events.with_columns(odd), columns=(*planted.columns, *odd, "nowhere", "users.nothing"))
        assert found.config.chosen == (planted.truth,)


class TestSearch:
    def test_the_cap_keeps_the_strongest(self, kit: Any) -> None:
        strong, weak = kit.xor(1, [2, 5], 6000, noise=2), kit.xor(2, [2, 5], 6000, noise=2, flipped=0.3)
        mixed = np.where(np.arange(6000) % 3 > 0, np.asarray(strong.events["label"]), np.asarray(weak.events["label"]))
        events = Table({**strong.events, **weak.events, "label": mixed}, 6000)
        both, one = kit.search(events), kit.search(events, limit=1)
        assert both.config.chosen == (strong.truth, weak.truth) and one.config.chosen == (strong.truth,)

    def test_the_same_data_give_the_same_crosses_and_halves_do_not_matter(self, kit: Any) -> None:
        planted = kit.xor(3, [5, 2, 2], 6000, noise=6, flipped=0.05)
        first, second = kit.search(planted.events), kit.search(planted.events)
        assert stored(first) == stored(second)
        assert kit.search(planted.events, seed=9).config.chosen == first.config.chosen == (planted.truth,)

    def test_a_copy_of_a_column_makes_no_second_cross(self, kit: Any) -> None:
        planted = kit.xor(4, [5, 5], 5000, noise=3)
        copied = planted.events.with_columns({"copy": planted.events[planted.truth[0]]})
        assert len(kit.search(copied).config.chosen) == 1

    def test_a_triple_leaves_no_pair_that_it_already_says(self, kit: Any) -> None:
        planted = kit.xor(5, [5, 5, 5], 10_000, noise=4)  # parities of five levels are uneven, so that each pair tells something alone
        assert kit.search(planted.events, max_order=2).config.chosen is not None
        assert kit.search(planted.events).config.chosen == (planted.truth,)

    def test_main_effects_are_no_crosses(self, kit: Any) -> None:
        rng = np.random.default_rng(6)
        levels = np.minimum(rng.pareto(1.0, (8, 12_000)).astype(int), np.array([[3], [300], [20], [7], [50], [2], [1000], [9]]) - 1)
        effect = sum(rng.normal(0, 0.8, level.max() + 1)[level] for level in levels)
        chance = 1 / (1 + np.exp(-np.asarray(effect)))
        columns = {f"c{k}": kit.texts(level) for k, level in enumerate(levels)}
        for label in ((rng.random(12_000) < chance).astype(float), effect + rng.standard_t(3, 12_000)):
            with pytest.raises(RejectColumn):
                kit.search(Table({**columns, "label": np.asarray(label)}, 12_000), task="rate")

    def test_who_the_users_are_is_no_cross_of_their_columns(self, kit: Any) -> None:
        rng = np.random.default_rng(7)
        user = rng.integers(1, 401, 12_000)
        chance = 1 / (1 + np.exp(-rng.normal(0, 1.5, 401)))
        table = Table({f"c{k}": kit.texts(rng.integers(0, size, 400)) for k, size in enumerate((2, 7, 21, 5))}, 400)
        events = Table({"@user": user, "label": (rng.random(12_000) < chance[user]).astype(float)}, 12_000)
        names = tuple(f"users.c{k}" for k in range(4))
        with pytest.raises(RejectColumn):
            kit.search(events, columns=names, tables={"users": table, "items": Table()})

    def test_moods_of_sessions_are_no_cross_of_hour_and_town(self, kit: Any) -> None:
        """A user's town and the hour of a session together tell the session, and nothing of the sessions of other users."""
        rng = np.random.default_rng(11)
        user, session = rng.integers(1, 301, 12_000), rng.integers(0, 4, 12_000)
        hour, town, mood = rng.integers(0, 24, (301, 4)), rng.integers(0, 40, 301), rng.normal(0, 1.5, (301, 4))
        label = (rng.random(12_000) < 1 / (1 + np.exp(-mood[user, session]))).astype(float)
        columns = {"hour": kit.texts(hour[user, session]), "town": kit.texts(town[user]), "label": label}
        assert kit.search(Table(columns, 12_000)).outputs  # rows apart, the halves share sessions
        with pytest.raises(RejectColumn):
            kit.search(Table({**columns, "@user": user}, 12_000))

    def test_numbers_are_explained_as_well_as_clicks(self, kit: Any) -> None:
        rng = np.random.default_rng(8)
        x = rng.normal(size=(6, 8000))
        events = Table({**{f"x{k}": row for k, row in enumerate(x)}, "label": np.sign(x[1] * x[4]) + rng.normal(size=8000)}, 8000)
        fitted = kit.search(events, task="rate")
        assert fitted.config.chosen[0] == ("x1", "x4")
        values = kit.read(fitted, events, 8000)["cross(x1,x4)"]
        means = np.bincount(values, np.asarray(events["label"])) / np.maximum(np.bincount(values), 1)
        assert np.var(means[values]) > 0.8

    def test_order_four_is_found_where_it_is_asked_for(self, kit: Any) -> None:
        planted = kit.xor(9, [2, 2, 2, 2], 4000, noise=5)
        assert kit.search(planted.events, max_order=4).config.chosen == (planted.truth,)
        with pytest.raises(RejectColumn):
            kit.search(planted.events, max_order=3)

    def test_beyond_the_budget_the_best_pairs_grow(self, kit: Any) -> None:
        rng = np.random.default_rng(10)
        levels = rng.integers(0, 6, (30, 6000))
        both = (levels[3] > 2) & (levels[17] > 2)
        label = np.where(both, levels[25] % 2, 0.3) > rng.random(6000)
        events = Table({**{f"c{k:02d}": kit.texts(row) for k, row in enumerate(levels)}, "label": label.astype(float)}, 6000)
        fitted = kit.search(events, seconds=0.4)  # 800 combinations: all 435 pairs, 800 of 4,060 triples
        assert ("c03", "c17", "c25") in fitted.config.chosen

    def test_a_budget_bounds_what_is_counted(self) -> None:
        from autorec_crosses.contingency import Term
        from autorec_crosses.search import Limits, _Search, count_budget

        rng = np.random.default_rng(11)
        columns = [Term.of(rng.integers(1, 3, 500), 3) for _ in range(20)]
        limits = Limits(3, 4, 5, 0.1, 8, 0.01)
        search = _Search(columns, [], rng.integers(0, 2, 500).astype(float), True, limits, rng.random(500) < 0.5, np.arange(500))
        for order in (2, 3):
            search.extend(order)
            assert len(list(search._candidates(order))) <= count_budget(500, 0.1) == 200

    def test_a_sample_decides_and_all_rows_make_the_vocabulary(self, kit: Any) -> None:
        planted = kit.xor(12, [5, 50], 12_000, noise=3)
        fitted = kit.search(planted.events, sample=3000, min_count=10)
        counts = np.unique(kit.read(fitted, planted.events, 12_000)[fitted.outputs[0].name], return_counts=True)[1]
        assert fitted.config.chosen == (planted.truth,) and len(counts) >= 250 and counts.sum() == 12_000

    @pytest.mark.parametrize("label", [np.zeros(1000), np.full(1000, np.nan), np.arange(200) % 2.0])
    def test_labels_that_confirm_nothing_are_turned_down(self, kit: Any, label: np.ndarray) -> None:
        events = Table({"a": kit.texts(np.arange(len(label)) % 3), "b": kit.texts(np.arange(len(label)) % 5), "label": label}, len(label))
        with pytest.raises(RejectColumn, match="confirm no cross"):
            kit.search(events)


class TestWrittenDown:
    def test_what_was_chosen_is_made_again_without_deciding(self, kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        planted = kit.xor(13, [5, 2], 5000, noise=4)
        number = np.random.default_rng(0).normal(size=5000)
        label = np.where(number > 0, np.asarray(planted.events["label"]), 1 - np.asarray(planted.events["label"]))
        events = planted.events.with_columns({"number": number, "label": label})
        found = kit.search(events, columns=(*planted.columns, "number"))
        monkeypatch.setattr(crosses, "find_crosses", None)
        config = Crosses.Config.model_validate_json(found.config.model_dump_json())
        again = Crosses(config).fit(events, NONE, np.random.default_rng(99))
        assert stored(again) == stored(found) and found.config.edges[0][0] == "number"
        without = Table({name: column for name, column in events.items() if name != "label"}, 5000)
        assert stored(Crosses(config).fit(without, NONE, np.random.default_rng(1))) == stored(found)

    def test_given_edges_are_kept_on_other_rows(self, kit: Any) -> None:
        events = Table({"x": np.linspace(0, 1, 400), "y": np.linspace(5, 6, 400)}, 400)
        fitted = given(events, ("x", "y"), edges=(("x", (0.5,)), ("y", (5.5,))))
        assert fitted.outputs[0].size == 3 and fitted.config.edges == (("x", (0.5,)), ("y", (5.5,)))

    def test_the_program_is_json_and_arrays(self, kit: Any) -> None:
        planted = kit.xor(14, [2, 5, 2], 4000, noise=2)
        fitted = kit.search(planted.events)
        program = fitted.program()
        back = Program.load(json.loads(json.dumps(program.to_json())), program.stored())
        found = run_program(back, dict(planted.events), ReadContext(4000))
        assert [np.asarray(v).tobytes() for v in found.values()] == [
            v.astype(np.int64).tobytes() for v in kit.read(fitted, planted.events, 4000).values()
        ]


def profile(*columns: Column, rows: int = 50_000, task: str = "click", **facts: float) -> DataProfile:
    return DataProfile(Schema(columns), rows, 6000, 80, "time", task, facts)


class TestProposals:
    COLUMNS = (
        Column("user_id", "user", "id"),
        Column("item_id", "item", "id"),
        Column("at", "time", "time"),
        Column("device", "feature", "categorical"),
        Column("tags", "feature", "multi"),
        Column("text", "feature", "text"),
        Column("age", "feature", "numeric", "users"),
        Column("born", "feature", "time", "items"),
    )
    LABEL = Column("label", "label", "categorical")

    def test_columns_of_all_tables_are_candidates_and_ids_only_where_they_are_few(self) -> None:
        (proposal,) = Crosses.propose(profile(*self.COLUMNS, self.LABEL, label_std=0.5))
        times = ("items.born", "items.born.hour", "items.born.weekday", "at.hour", "at.weekday")
        assert proposal.config.columns == ("device", "users.age", *times, "item_id")
        assert proposal.config.label == "label" and proposal.bytes > 0

    @pytest.mark.parametrize("task", ["recommend", "click", "rate"])
    def test_without_a_label_that_varies_nothing_is_proposed(self, task: str) -> None:
        assert not list(Crosses.propose(profile(*self.COLUMNS, task=task)))
        assert not list(Crosses.propose(profile(*self.COLUMNS, self.LABEL, task=task, label_std=0.0)))
        assert list(Crosses.propose(profile(*self.COLUMNS, self.LABEL, task=task, label_std=0.5)))

    def test_one_column_has_no_partner(self) -> None:
        assert not list(Crosses.propose(profile(Column("device", "feature", "categorical"), self.LABEL, label_std=0.5)))

    def test_time_is_estimated_from_what_is_counted(self) -> None:
        many = [Column(f"c{k}", "feature", "categorical") for k in range(33)]
        (small,), (large,), (huge,) = (
            list(Crosses.propose(profile(*columns, self.LABEL, rows=rows, label_std=0.5)))
            for columns, rows in ((many[:5], 50_000), (many, 50_000), (many * 40, 50_000))
        )
        assert "5,456 of order 3" in large.reason
        assert 10 * small.seconds < large.seconds < 30 and huge.seconds < 3 * 20 * 1.5 + 30
