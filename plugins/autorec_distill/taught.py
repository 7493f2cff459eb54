"""`Taught`: a network whose training loss has one part more, how far it is from what a teacher would list."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from autorec_distill.agreement import Agreement, agreement, alike
from autorec_distill.contexts import Batch, Keys
from autorec_distill.ranked import WHOLE, Ranked
from autorec_kernel.models import Network
from autorec_kernel.models.histories import stepped
from autorec_kernel.records.architecture import Node

__all__ = ["Lesson", "Taught", "counts_back", "every_step"]

_SAMPLED = 128  # items of a batch that stand for all that are not in a list, where these are many
_NEAR = 10  # items of a list whose vectors are compared
_CLOSE = 1e-4


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """What a student is taught.

    Args:
        keys: Names whom a batch is about.
        states: The node whose steps answer them; "" = the output answers the rows.
        ranked: The teacher's lists.
        unit: Spread of scores like the student's.
        weight: Of this part of the loss.
        most: Lists that a batch is compared with.
        vectors: float32 [N, T], the teacher's items, whose angles the student's shall have; None = scores alone.
        likeness: Weight of that.
    """

    keys: Keys
    states: str
    ranked: Ranked
    unit: float
    kind: Agreement
    temperature: float
    weight: float
    most: int
    vectors: torch.Tensor | None = None
    likeness: float = 0.0


class Taught(Network):
    """A retriever that is trained on its own losses and on a lesson; it serves as any other does."""

    lesson: Lesson | None = None

    def loss(self, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return float32 [], the sum of its LOSS nodes and the lesson's part."""
        values = self.forward(batch)
        parts = [values[name] for name in self.loss_nodes]
        parts += [] if self.lesson is None else _taught(self, self.lesson, values, batch)
        return torch.stack(parts).sum()


def _taught(network: Network, lesson: Lesson, values: dict[str, Any], batch: Batch) -> list[torch.Tensor]:
    """Return the lesson's part of a loss; none where it has no list for anybody in the batch.

    It counts by the share of the batch's steps or rows that have a list: the data's loss is a mean over all of them.
    """
    found, real = lesson.keys.of(batch)
    keys = found.flatten().cpu().numpy()
    at = np.searchsorted(lesson.ranked.keys, keys).clip(max=len(lesson.ranked.keys) - 1)
    rows = np.flatnonzero((lesson.ranked.keys[at] == keys) & real.flatten().cpu().numpy())
    if not len(rows):
        return []
    share = len(rows) / max(1, int((batch[lesson.keys.history] != 0 if lesson.states else real).sum()))
    if len(rows) > lesson.most:
        rows = rows[torch.randperm(len(rows))[: lesson.most].numpy()]
    lists, device = at[rows], found.device
    items = torch.from_numpy(lesson.ranked.items[lists].astype(np.int64)).to(device)
    taught = torch.from_numpy(lesson.ranked.scores[lists].astype(np.float32)).to(device) / lesson.temperature
    rest = torch.from_numpy(lesson.ranked.rest[lists]).to(device)
    places = torch.from_numpy(rows).to(device)
    score = _scorer(network, lesson.states, values, batch, places)
    others = _others(lesson, score, items, batch, places)
    scale = lesson.unit * lesson.temperature
    lost = agreement(lesson.kind, score(items) / scale, others / scale, taught, rest, items != 0, lesson.ranked.others)
    parts = [lesson.weight * share * lesson.temperature**2 * lost]  # so gradients are as large at every temperature (Hinton et al. 2015)
    if lesson.vectors is not None:
        table, near = _value(network, network.architecture.outputs["item"], values, batch), items[:, :_NEAR]
        parts.append(lesson.likeness * share * alike(table[near], lesson.vectors.to(device)[near], near != 0))
    return parts


def _others(
    lesson: Lesson, score: Callable[[torch.Tensor], torch.Tensor], items: torch.Tensor, batch: Batch, places: torch.Tensor
) -> torch.Tensor:
    """Return scores [R, S] of what stands for all items outside the lists int64 [R, k]; -inf where one is in its list."""
    catalogue = lesson.ranked.catalogue
    if lesson.kind == "listwise" and catalogue <= WHOLE:  # all of them: of a few draws the sum of shares comes out too small
        scores = score(torch.arange(1, catalogue, device=items.device).expand(len(items), -1))
        return functional.pad(scores, (1, 0)).scatter(1, items, -torch.inf)[:, 1:]
    drawn = torch.randint(1, catalogue, (_SAMPLED,), device=items.device)
    out = items
    if lesson.kind == "pairwise" and lesson.keys.history:  # nothing is said of what was chosen before: no list has it
        shown = batch[lesson.keys.history]
        out = torch.cat([out, shown.index_select(0, places // shown.shape[1] if lesson.states else places)], 1)
    return score(drawn.expand(len(items), -1)).masked_fill((out.unsqueeze(2) == drawn).any(1), -torch.inf)


def _scorer(
    network: Network, states: str, values: dict[str, Any], batch: Batch, rows: torch.Tensor
) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return what gives scores [R, m] of items int64 [R, m] to the contexts int64 [R] among a batch's."""
    if network.serving_outputs == ("score",):
        whole = _value(network, network.architecture.outputs["score"], values, batch).index_select(0, rows)
        return lambda items: whole.gather(1, items)
    table = _value(network, network.architecture.outputs["item"], values, batch)
    users = _value(network, network.architecture.outputs["user"], values, batch) if not states else values[states][0].flatten(0, 1)
    users = users.index_select(0, rows)
    parts = users.unbind(1) if users.dim() == 3 else (users,)  # of several vectors a user, the best one scores an item

    if len(table) <= WHOLE:  # a product is quicker than many look-ups
        all_of = torch.stack([part @ table.T for part in parts]).amax(0)
        return lambda items: all_of.gather(1, items)

    def looked_up(items: torch.Tensor) -> torch.Tensor:
        vectors = table.index_select(0, items.reshape(-1)).view(*items.shape, table.shape[1])
        return torch.stack([(vectors * part.unsqueeze(1)).sum(2) for part in parts]).amax(0)

    return looked_up


def _value(network: Network, name: str, values: dict[str, Any], batch: Batch) -> torch.Tensor:
    """Return a node's value in training; what the losses do not read is computed, for the whole catalogue where it is a tower of items."""
    missing = [node for node in _above(network, name) if node.id not in values]
    whole = {entity: network.tables.all_of(network, entity) for entity in network.entity_names(missing) if entity not in batch}
    network.run(missing, {**batch, **whole}, values)
    found: torch.Tensor = values[name]
    return found


def _above(network: Network, name: str) -> list[Node]:
    """Return a node and what it reads, in topological order."""
    reached, found = {name}, list[Node]()
    for node in reversed(network.architecture.nodes):
        if node.id in reached:
            found.append(node)
            reached.update(one for one in node.inputs if not one.startswith("~"))
    return found[::-1]


@torch.no_grad()
def every_step(network: Network, histories: torch.Tensor) -> str:
    """Return the node whose steps each answer the history up to them, "" where there is none.

    It is tried: the last step is the user vector, and other items behind a step do not change it.

    Args:
        network: In eval mode.
        histories: int64 [A, L], padded on the right.
    """
    user = network.architecture.outputs.get("user", "")
    batchings = ("sequence", "session")
    if network.architecture.batching not in batchings or not user or network.specs[user].port != "vector" or not len(histories):
        return ""
    half, place = histories.shape[1] // 2, torch.arange(histories.shape[1])
    others = torch.where((histories != 0) & (place >= half), histories % histories.max() + 1, histories)
    last, answers = (histories != 0).sum(1) - 1, _served(network, user, histories)
    for name in _steps(network, network.specs[user].width):
        (steps, _), (changed, _) = (_served(network, name, one) for one in (histories, others))
        ends = steps[torch.arange(len(steps)), last]
        if torch.allclose(ends, answers, atol=_CLOSE) and torch.allclose(steps[:, :half], changed[:, :half], atol=_CLOSE):
            return name
    return ""


@torch.no_grad()
def counts_back(network: Network, name: str, histories: torch.Tensor) -> bool:
    """Return whether a step's answer depends on how many steps are behind it: whoever stops there is then answered in another way.

    So it is where positions are counted from the newest step. Where no history is long enough to tell, it is taken to be so.

    Args:
        network: In eval mode.
        name: What `every_step` returned.
        histories: As there.
    """
    half = histories.shape[1] // 2
    long = histories[(histories != 0).sum(1) > half]
    if not half or not len(long):
        return True
    (whole, _), (alone, _) = (_served(network, name, one) for one in (long, long[:, :half]))
    return not torch.allclose(whole[:, half - 1], alone[:, half - 1], atol=_CLOSE)


def _steps(network: Network, width: int) -> Iterator[str]:
    """Yield the nodes of training with steps of a width, the last ones first."""
    for node in reversed(network.reach.training):
        spec = network.specs[node.id]
        if spec.port == "sequence" and spec.width == width and not (spec.index or node.is_source):
            yield node.id


def _served(network: Network, name: str, histories: torch.Tensor) -> Any:
    nodes = _above(network, name)
    return network.run(nodes, {next(iter(network.lengths)): stepped(histories)}, {})[name]
