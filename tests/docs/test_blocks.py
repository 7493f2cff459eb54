from __future__ import annotations

from pathlib import Path

from tests.docs.blocks import Step, commands, missing_line, read_blocks

PAGE = """# Title

```python title="a.py"
x = 1
```

1. indented:

    ```console exit=5
    $ autorec bundle verify 'my bundle'  # why
    refused ... digest
    $ autorec doctor
    ```
"""


def test_fences_are_read_with_language_options_and_line(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(PAGE)
    first, second = read_blocks(tmp_path / "page.md")
    assert (first.language, first.options, first.text, first.line) == ("python", {"title": "a.py"}, "x = 1\n", 3)
    assert (second.language, second.options, second.line) == ("console", {"exit": "5"}, 9)


def test_a_console_block_becomes_commands_with_expected_output(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(PAGE)
    *_, console = read_blocks(tmp_path / "page.md")
    assert commands(console) == [
        Step(("autorec", "bundle", "verify", "my bundle"), ("refused ... digest",)),
        Step(("autorec", "doctor"), ()),
    ]


def test_expected_lines_may_leave_things_out_but_not_change_order() -> None:
    output = "one 1\ntwo   2 of 3\nthree"
    assert missing_line(("one", "two ... 3", "...", "three"), output) is None
    assert missing_line(("three", "one"), output) == "one"
    assert missing_line(("two ... 4",), output) == "two ... 4"
