"""Laws of blueprints: a graph of known blocks, kept as data, that builds, trains and serves (torch where networks are built)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from autorec_kernel.errors import AutoRecError, ContractError
from autorec_kernel.records.architecture import Architecture
from autorec_kernel.records.features import FeatureSchema
from autorec_kernel.testing.fresh import in_fresh_process
from autorec_kernel.testing.host import host
from autorec_kernel.testing.snapshots import digest
from autorec_kernel.testing.surroundings import another_world, globals_kept
from autorec_kernel.testing.violation import demand, violated

__all__ = [
    "check_architecture_is_data",
    "check_blocks_are_known_and_build",
    "check_blueprint_declares_role_and_tasks",
    "check_digest_repeats_in_another_process",
    "check_network_trains_and_serves",
    "check_outputs_fit_the_role",
    "recorded_digests",
]


def check_blueprint_declares_role_and_tasks(component: Any, config: Any, kernel: Any = None) -> None:
    """`role` is retriever or ranker, `tasks` names tasks, and some data of each of them suits the blueprint."""
    demand(component.role in ("retriever", "ranker"), f"role is {component.role!r}, expected retriever or ranker")
    good = isinstance(component.tasks, tuple) and component.tasks and set(component.tasks) <= {"recommend", "rate", "click"}
    demand(good, f"tasks is {component.tasks!r}, expected a tuple of recommend, rate, click")
    suited = {name.split(",")[0] for name, _, _ in _graphs(component, config)}
    missing = [task for task in component.tasks if task not in suited]
    demand(not missing, f"no example data of {missing} suits the blueprint, though it declares that task")


def check_architecture_is_data(component: Any, config: Any, kernel: Any = None) -> None:
    """The graph is the same when asked again, survives JSON, has a digest and a readable form, and leaves the schema alone."""
    for name, schema, graph in _graphs(component, config):
        before = digest(schema)
        with globals_kept("architecture"), another_world(4):
            again = component(config).architecture(schema)
        demand(digest(schema) == before, f"{name}: architecture changed the schema")
        demand(again.to_json() == graph.to_json(), f"{name}: architecture gives another graph when asked again")
        try:
            back = Architecture.from_json(json.loads(json.dumps(graph.to_json(), allow_nan=False)))
        except (TypeError, ValueError) as error:
            violated(f"{name}: the graph is not JSON: {error}")
        demand(
            back.to_json() == graph.to_json() and back.digest() == graph.digest(),
            f"{name}: the graph is another one after a trip through JSON",
        )
        demand(len(graph.readable()) > 2, f"{name}: the graph has no readable form")


def check_outputs_fit_the_role(component: Any, config: Any, kernel: Any = None) -> None:
    """A retriever gives catalogue scores or user and item vectors, a ranker predicts the data's tasks; serving reads no training data."""
    for name, schema, graph in _graphs(component, config):
        outputs = set(graph.outputs)
        if component.role == "retriever":
            demand(
                outputs in ({"score"}, {"user", "item"}),
                f"{name}: a retriever's outputs are score, or user and item; got {sorted(outputs)}",
            )
        else:
            demand(outputs and outputs <= set(schema.tasks), f"{name}: a ranker predicts {sorted(schema.tasks)}; got {sorted(outputs)}")
        reading = [n.id for n in graph.serving() if n.block in ("@target", "@negatives", "@labels")]
        demand(not reading, f"{name}: the serving graph reads training-only sources: {reading}")


def check_blocks_are_known_and_build(component: Any, config: Any, kernel: Any = None) -> None:
    """Every block is an installed one that takes its options, shapes fit, and no node is left without a use."""
    from autorec_kernel.models import infer_specs, make_blocks

    for name, schema, graph in _graphs(component, config):
        try:
            specs = infer_specs(graph, schema, make_blocks(graph, host(kernel)))
        except AutoRecError as error:
            violated(f"{name}: the graph cannot be built: {error}")
        used = {n.lstrip("~") for node in graph.nodes for n in (*node.inputs, *([node.shares] if node.shares else []))} | set(
            graph.outputs.values()
        )
        idle = [node.id for node in graph.nodes if node.id not in used and specs[node.id].port != "loss"]
        demand(not idle, f"{name}: nodes {idle} feed nothing")


def check_digest_repeats_in_another_process(component: Any, config: Any, kernel: Any = None) -> None:
    """A fresh process with another hash seed decodes the same graphs."""
    found = in_fresh_process("autorec_kernel.testing.checks.blueprints:recorded_digests", component, config, 2)
    demand(found == recorded_digests(component, config), "a process with another hash seed gives other graphs: order of sets")


def recorded_digests(component: Any, config: Any) -> list[Any]:
    """Return the JSON of every graph."""
    return [[name, graph.digest(), graph.to_json()] for name, _, graph in _graphs(component, config)]


def check_network_trains_and_serves(component: Any, config: Any, kernel: Any = None) -> None:
    """On tiny data of every declared task, one batch gives a finite loss whose gradient reaches every parameter, and answers are finite."""
    from autorec_kernel.models import Entities, build_network, solve_blocks
    from autorec_kernel.testing.model_cases import features_for

    able = host(kernel)
    for task in component.tasks:
        features = features_for(able, task)
        graph = _graph_or_none(component(config), features.schema)
        if graph is None:  # several labels may be what it asks for
            features = features_for(able, task, further=True)
            graph = _graph_or_none(component(config), features.schema)
        if graph is None:
            continue
        try:
            arrays = solve_blocks(graph, features, able, seed=np.random.SeedSequence(0))
            network = build_network(graph, features.schema, able, arrays, 1).attach(Entities(features))
            _demand_learns(network, features, task)
            _demand_serves(network.eval(), features, task)
        except AutoRecError as error:
            violated(f"on tiny data of task {task!r}: {error}")


def _graph_or_none(blueprint: Any, schema: FeatureSchema) -> Architecture | None:
    try:
        return blueprint.architecture(schema)  # type: ignore[no-any-return]
    except ContractError:
        return None


def _graphs(component: Any, config: Any) -> Iterator[tuple[str, FeatureSchema, Architecture]]:
    from autorec_kernel.testing.model_cases import schemas

    for name, schema in schemas().items():
        if name.split(",")[0] not in component.tasks:
            continue
        try:
            graph = component(config).architecture(schema)
        except ContractError:
            continue  # an infeasible trial, not a defect
        except Exception as error:
            violated(f"{name}: architecture raised {type(error).__name__}: {error}; data that does not suit it = ContractError")
        demand(isinstance(graph, Architecture), f"{name}: architecture returned a {type(graph).__name__}")
        yield name, schema, graph


def _demand_learns(network: Any, features: Any, task: str) -> None:
    import torch

    from autorec_kernel.models.batching import batches_for

    learned = {name: p for name, p in network.named_parameters() if p.requires_grad}
    if not learned:
        return
    network.train()
    reached = set()
    for batch, _ in zip(batches_for(network, features, 64).epoch(np.random.default_rng(0)), range(3), strict=False):
        loss = network.loss(batch)
        demand(bool(torch.isfinite(loss)), f"the loss is {float(loss.detach())} on tiny data of task {task!r}")
        grads = torch.autograd.grad(loss, list(learned.values()), allow_unused=True)
        reached |= {name for name, grad in zip(learned, grads, strict=True) if grad is not None and bool(grad.any())}
    dead = sorted(set(learned) - reached)
    demand(not dead, f"no gradient reaches {dead} on tiny data of task {task!r}: dead parameters")


def _demand_serves(network: Any, features: Any, task: str) -> None:
    import torch

    from autorec_kernel.models.batches import to_tensors
    from autorec_kernel.testing.model_cases import sample_of

    tensors = to_tensors(sample_of(network, features), "cpu")
    with torch.no_grad():
        answers = network.serve(*[tensors[name] for name in network.inputs])
    for name, answer in zip(network.serving_outputs, answers, strict=True):
        demand(
            answer.shape[0] == 16 and bool(torch.isfinite(answer).all()), f"output {name!r} is {tuple(answer.shape)} or not finite ({task})"
        )
