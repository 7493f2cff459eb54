from __future__ import annotations

from autorec_kernel.records.schema import Column, Schema

SCHEMA = Schema(
    (Column("u", "user", "id"), Column("age", "feature", "numeric", "users", "numbers", 0.5, 3), Column("u", "user", "id", "users"))
)


def test_a_role_is_looked_up_among_the_events_only() -> None:
    assert SCHEMA.role("user") == SCHEMA.columns[0]
    assert SCHEMA.role("item") is None


def test_features_are_listed_by_table() -> None:
    assert [column.name for column in SCHEMA.features("users")] == ["age"]
    assert SCHEMA.features("events") == ()


def test_a_schema_makes_a_json_round_trip() -> None:
    assert Schema.from_json(SCHEMA.to_json()) == SCHEMA
