from __future__ import annotations

import re
from pathlib import Path

ZOO = Path(__file__).parents[4] / "docs" / "reference" / "zoo.md"


def test_the_cascade_is_in_the_reference_with_its_options(kernel) -> None:
    rows = dict(re.findall(r"^\| `(cascade/[\w-]+)` \|.*\| (.*?) \|$", ZOO.read_text(encoding="utf-8"), re.MULTILINE))
    options = {row.id: set(kernel.load("blueprint", row.id).Config.model_fields) for row in kernel.components("blueprint")}
    assert {name: set(re.findall(r"`(\w+)`", listed)) for name, listed in rows.items()} == {
        name: fields for name, fields in options.items() if name.startswith("cascade/")
    }
