"""Which blueprint uses which block: options, schemas and third parties count, broken blueprints do not, and the zoo shares its words."""

from __future__ import annotations

import json
import types
from typing import Annotated, Any, ClassVar, Literal

import pytest
from pydantic import Field

from autorec_kernel.cli.main import main
from autorec_kernel.config import ComponentConfig
from autorec_kernel.errors import ContractError
from autorec_kernel.kernel import Kernel
from autorec_kernel.markers import hookimpl
from autorec_kernel.records.architecture import Architecture, Node
from autorec_kernel.registry.spec import ComponentSpec
from autorec_kernel.space import Choice, Int
from autorec_kernel.testing import usage
from autorec_kernel.testing.usage import block_users, options_one_by_one, share_of_shared


class Foreign:
    """A blueprint of a third party: one option decides on a block, another schema on a further one."""

    class Config(ComponentConfig):
        """Options."""

        kind: Literal["plain", "deep"] = "plain"
        layers: Annotated[int, Int(1, 4)] = Field(1, description="Layers.")
        crossed: bool = False
        share: float = Field(0.0, ge=0, lt=1, description="No gene.")

    role: ClassVar[str] = "ranker"
    tasks: ClassVar[tuple[str, ...]] = ("click",)

    def __init__(self, config: Config) -> None:
        self.config = config

    def architecture(self, features: Any) -> Architecture:
        if not features.of("history"):
            raise ContractError("no history")
        nodes = [Node("fields", "@fields", config={"columns": ["user_id"], "width": 4})]
        nodes.append(Node("deep", "blocks/mlp" if self.config.kind == "deep" else "linear", ("fields",)))
        if self.config.kind == "deep" and self.config.share > 0:
            nodes.append(Node("gated", "blocks/product", ("deep", "deep")))
        if self.config.crossed and self.config.layers == 1:
            nodes.append(Node("more", "blocks/add", ("deep", "deep")))
        return Architecture((*nodes, Node("score", "blocks/head", (nodes[-1].id,))), {"rating": "score"})


class Broken(Foreign):
    """A blueprint that fails in a way of its own."""

    def architecture(self, features: Any) -> Architecture:
        raise ZeroDivisionError


@pytest.fixture(scope="module")
def kernel() -> Kernel:
    import autorec_blocks.plugin

    module = types.ModuleType("foreign_plugin")

    @hookimpl
    def autorec_blueprints() -> tuple[ComponentSpec, ...]:
        return (
            ComponentSpec("first", f"{__name__}:Foreign", "A blueprint."),
            ComponentSpec("second", f"{__name__}:Broken", "A broken blueprint."),
        )

    module.autorec_blueprints = autorec_blueprints  # type: ignore[attr-defined]
    return Kernel({"foreign": module, "blocks": autorec_blocks.plugin})


@pytest.fixture(scope="module")
def users() -> dict[str, tuple[str, ...]]:
    """Who uses what of all that is installed; every blueprint is decoded some thousand times."""
    return block_users(Kernel.discover())


def test_every_value_of_every_option_is_tried(kernel: Kernel) -> None:
    users = block_users(kernel)
    assert users["blocks/linear"] == users["blocks/mlp"] == users["blocks/add"] == users["blocks/head"] == ("foreign/first",)


@pytest.mark.slow
def test_pairs_of_options_are_tried_and_fractions_that_the_search_leaves_alone(users: dict[str, tuple[str, ...]]) -> None:
    assert users["blocks/popular-items"] == ("zoo/gru4rec",)  # loss = "sampled" with a sample_power above 0
    unused = [block for block, found in users.items() if block.startswith("blocks/") and not found]
    assert unused == ["blocks/mix-fields"]  # free cells with more fields than any schema of the kit has: tests/unit/plugins/cells


def test_a_pair_counts_where_its_first_option_decides_on_blocks_by_itself(kernel: Kernel) -> None:
    assert block_users(kernel)["blocks/product"] == ("foreign/first",)


def test_blocks_that_nobody_uses_are_listed_and_a_broken_blueprint_uses_none(kernel: Kernel) -> None:
    users = block_users(kernel)
    assert set(users) == {row.id for row in kernel.components("model-block")}
    assert users["blocks/gru"] == ()
    assert not any("foreign/second" in found for found in users.values())


def test_the_share_counts_blocks_with_two_users() -> None:
    assert share_of_shared({"a": ("x", "y"), "b": ("x",), "c": (), "d": ("x", "y", "z")}) == 0.5
    assert share_of_shared({}) == 0.0


def test_options_are_changed_one_at_a_time() -> None:
    class Config(ComponentConfig):
        kind: Annotated[Literal["a", "b", "c"], Choice("a", "b")] = "a"
        flag: bool | None = None

    found = [config.model_dump() for config in options_one_by_one(Config)]
    assert {"kind": "c", "flag": None} in found
    assert {"kind": "a", "flag": True} in found


@pytest.mark.slow
def test_six_of_ten_blocks_of_the_zoo_serve_two_or_more_blueprints(users: dict[str, tuple[str, ...]]) -> None:
    zoo = {block: found for block, found in users.items() if block.startswith("blocks/")}
    alone = {block: found for block, found in zoo.items() if len(found) < 2}
    assert share_of_shared(zoo) >= 0.6, f"blocks with fewer than two users: {alone}"


@pytest.mark.slow
def test_the_command_line_prints_users_as_text_and_as_json(
    users: dict[str, tuple[str, ...]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(usage, "block_users", lambda kernel: users)
    assert main(["plugins", "show", "blocks/mlp", "--used-by", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert "zoo/deepfm" in told["blocks"]["blocks/mlp"]
    assert told["shared"] == 1.0
    assert main(["plugins", "show", "mlp", "--used-by"]) == 0
    done = capsys.readouterr()
    assert "zoo/deepfm" in done.out
    assert "100% of 1 model blocks" in done.err
