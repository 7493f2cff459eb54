"""A blueprint whose code misbehaves is left out with its reason; the run goes on with the others."""

from __future__ import annotations

import types
from typing import Any, ClassVar

import pytest

from autorec_kernel.config import ComponentConfig
from autorec_kernel.features import build_features
from autorec_kernel.kernel import Kernel
from autorec_kernel.markers import hookimpl
from autorec_kernel.records.architecture import Architecture, Node
from autorec_kernel.registry.spec import ComponentSpec
from autorec_kernel.search.genes import assemble_space, offers
from autorec_kernel.testing.data import tiny_dataset


class Raises:
    """Raises something that is no ContractError."""

    class Config(ComponentConfig):
        """No options."""

    role: ClassVar[str] = "retriever"
    tasks: ClassVar[tuple[str, ...]] = ("recommend",)

    def __init__(self, config: Config) -> None:
        self.config = config

    def architecture(self, features: Any) -> Any:
        return {}["nothing"]


class ReturnsNone(Raises):
    """Returns no architecture."""

    def architecture(self, features: Any) -> Any:
        return None


class UnknownBlock(Raises):
    """Names a block that nobody provides."""

    def architecture(self, features: Any) -> Any:
        nodes = (Node("one", "@constant", config={"columns": [features.user]}), Node("two", "nowhere/block", ("one",)))
        return Architecture(nodes, {"score": "two"}, "user")


class OddRole(Raises):
    """Plays a role that does not exist."""

    role = "zebra"


class Quits(Raises):
    """Ends the process."""

    def architecture(self, features: Any) -> Any:
        raise SystemExit(3)


@pytest.mark.parametrize("name", ["Raises", "ReturnsNone", "UnknownBlock", "OddRole", "Quits", "Missing"])
def test_a_broken_blueprint_is_named_with_its_reason_and_the_space_has_the_others(name: str) -> None:
    @hookimpl
    def autorec_blueprints() -> tuple[ComponentSpec, ...]:
        return (ComponentSpec("odd", f"{__name__}:{name}", "Misbehaves."),)

    import autorec_baselines.plugin
    import autorec_blocks.plugin
    import autorec_features.plugin
    import autorec_training.plugin

    first_party = {"baselines": autorec_baselines.plugin, "blocks": autorec_blocks.plugin, "training": autorec_training.plugin}
    bad = types.SimpleNamespace(autorec_blueprints=autorec_blueprints)
    kernel = Kernel({**first_party, "features": autorec_features.plugin, "bad": bad})
    features = build_features(tiny_dataset(), kernel)
    found = offers(kernel, "recommend", features.schema)
    (odd,) = [offer for offer in found if offer.id == "bad/odd"]
    assert odd.reason
    space = assemble_space(kernel, found, features.schema, "training/full")
    assert "baselines/popularity" in space["retriever"].domain.options  # type: ignore[attr-defined]
    assert "bad/odd" not in space["retriever"].domain.options  # type: ignore[attr-defined]
