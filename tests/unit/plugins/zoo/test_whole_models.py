"""Whole models from inputs to score, against the papers' equations put together by hand from the parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from autorec_kernel.kernel import Kernel
from autorec_kernel.models import BlankEntities, Network, build_network
from autorec_kernel.testing.model_cases import schemas

Tensor = torch.Tensor
Model = Callable[..., Network]

SCHEMAS = schemas()
THREE_LABELS = "recommend, three labels"
HISTORY = torch.tensor([[1, 2, 3, 4], [5, 6, 0, 0], [9, 0, 0, 0]])
STEPS = [[1, 2, 3, 4], [5, 6], [9]]
ROWS: dict[str, Tensor] = {
    "user_id": torch.tensor([1, 2, 3]),
    "item_id": torch.tensor([7, 7, 8]),
    "device": torch.tensor([1, 2, 3]),
    "history": HISTORY,
    "@label:rating": torch.tensor([1.0, 0.0, 1.0]),
    "@label:like": torch.tensor([1.0, 0.0, 0.0]),
    "@label:minutes": torch.tensor([5.0, 7.0, 12.0]),
    "@negatives": torch.tensor([11, 12, 13]),
    "@target": torch.tensor([7, 7, 8]),  # a row's own item
}


@pytest.fixture
def model(kernel: Kernel) -> Model:
    """Build a blueprint on one of the schemas, with parameters far from their first values, in eval mode."""

    def build(name: str, schema: str, **options: Any) -> Network:
        known = SCHEMAS[schema]
        graph = kernel.create("blueprint", f"zoo/{name}", **options).architecture(known)
        network = build_network(graph, known, kernel, seed=1)
        source = torch.Generator().manual_seed(5)
        with torch.no_grad():
            for weight in network.parameters():
                weight.copy_(torch.randn(weight.shape, generator=source) * 0.6)
        return network.eval()

    return build


def served(network: Network, **changed: Tensor) -> tuple[Tensor, ...]:
    with torch.no_grad():
        return network.serve(*({**ROWS, **changed}[name] for name in network.inputs))


def values_of(network: Network, **changed: Tensor) -> dict[str, Any]:
    with torch.no_grad():
        return network({**ROWS, **changed})


def items(network: Network, width: int) -> Tensor:
    return network.stores[str(width)].table("item").detach()


def layers(network: Network, part: str) -> list[tuple[Tensor, Tensor]]:
    """Return weight and offset of each affine layer of a node."""
    found = [one for one in network.part(part).modules() if isinstance(one, torch.nn.Linear)]
    return [(one.weight.detach(), torch.zeros(len(one.weight)) if one.bias is None else one.bias.detach()) for one in found]


def dense(network: Network, part: str, value: Tensor, *, last: bool = True) -> Tensor:
    """Return ReLU layers applied to one vector; the last one is plain with `last` False."""
    stack = layers(network, part)
    for place, (weight, offset) in enumerate(stack):
        value = weight @ value + offset
        value = value.clamp(min=0) if last or place + 1 < len(stack) else value
    return value


def answer(network: Network, *parts: Tensor) -> Tensor:
    """Return the logit of a ranker's network over device, candidate and interest, as far as it reads them."""
    ((weight, _),) = layers(network, "score")
    return weight[0] @ dense(network, "deep", torch.cat(parts)) + network.part("score").offset[0].detach()


def device(network: Network, row: int, width: int) -> Tensor:
    return network.stores[str(width)].table("device")[ROWS["device"][row]].detach()


def gru(network: Network, part: str, steps: Iterable[Tensor]) -> list[Tensor]:
    """Return the states of a gated recurrent unit (Cho et al. 2014), gates in torch's order: reset, keep, new."""
    own = {name.rpartition(".")[2]: value for name, value in network.part(part).state_dict().items()}
    state, found = torch.zeros(len(own["weight_hh_l0"]) // 3), []
    for step in steps:
        a = (own["weight_ih_l0"] @ step + own["bias_ih_l0"]).chunk(3)
        b = (own["weight_hh_l0"] @ state + own["bias_hh_l0"]).chunk(3)
        keep = torch.sigmoid(a[1] + b[1])
        state = keep * state + (1 - keep) * torch.tanh(a[2] + torch.sigmoid(a[0] + b[0]) * b[2])
        found.append(state)
    return found


def encoder(network: Network, part: str, steps: Tensor, heads: int, *, causal: bool) -> Tensor:
    """Return pre-norm self-attention over one history [L, E] without padding, head by head and step by step."""
    own, width = network.part(part).state_dict(), steps.shape[1]

    def norm(name: str, value: Tensor) -> Tensor:
        centred = value - value.mean(1, keepdim=True)
        return centred / (centred.square().mean(1, keepdim=True) + 1e-5).sqrt() * own[f"{name}.weight"] + own[f"{name}.bias"]

    def affine(name: str, value: Tensor) -> Tensor:
        return value @ own[f"{name}.weight"].T + own[f"{name}.bias"]

    for layer in [f"layers.{number}" for number in range(len({name.split(".")[1] for name in own if name.startswith("layers.")}))]:
        query, key, value = affine(f"{layer}.project", norm(f"{layer}.before", steps)).chunk(3, 1)
        mixed = torch.zeros_like(steps)
        for head in torch.arange(width).chunk(heads):
            for t in range(len(steps)):
                seen = slice(0, t + 1) if causal else slice(None)
                share = torch.softmax(key[seen][:, head] @ query[t, head] / len(head) ** 0.5, 0)
                mixed[t, head] = share @ value[seen][:, head]
        steps = steps + affine(f"{layer}.merge", mixed)
        inner = functional.gelu(affine(f"{layer}.forward_net.0", norm(f"{layer}.between", steps)))
        steps = steps + affine(f"{layer}.forward_net.3", inner)
    return norm("norm", steps)


def placed(network: Network, steps: Tensor) -> Tensor:
    """Return steps [L, E] with the vector of each one's age added, 0 = the newest."""
    table = network.part("placed").weight.detach()
    return torch.stack([step + table[len(steps) - 1 - place] for place, step in enumerate(steps)])


# --- rankers that read behaviour ----------------------------------------------------------------------------------------------


def test_din_sums_the_history_by_unnormalised_weights_and_asks_a_network(model: Model) -> None:
    options = {"attention_units": (5, 3), "hidden_units": (6, 4), "activation": "relu", "embedding_dim": 4}
    network = model("din", "click, everything", features=("device",), **options)
    table, found = items(network, 4), served(network)[0]
    for row, history in enumerate(STEPS):
        wanted = table[ROWS["item_id"][row]]
        interest = torch.zeros(4)
        for step in table[history]:
            interest += dense(network, "weights", torch.cat([step, wanted, step - wanted, step * wanted]), last=False) * step
        read = device(network, row, 4), items(network, 4)[ROWS["item_id"][row]], interest
        assert found[row].item() == pytest.approx(torch.sigmoid(answer(network, *read)).item(), abs=1e-5)


def dien(model: Model, **options: Any) -> Network:
    small = {"interest_units": (5, 4), "hidden_units": (6,), "activation": "relu", "embedding_dim": 4, "max_length": 4}
    return model("dien", "click, everything", features=("device",), **small, **options)


def extracted(network: Network, history: list[int]) -> list[Tensor]:
    return gru(network, "extracted_1", gru(network, "extracted_0", items(network, 4)[history]))


def test_dien_evolves_the_interests_that_it_extracted_by_their_fit_to_the_candidate(model: Model) -> None:
    network = dien(model)
    ((matrix, _),), own = layers(network, "weights"), network.part("evolved").state_dict()
    found = served(network)[0]
    for row, history in enumerate(STEPS):
        states = extracted(network, history)
        share = torch.softmax(torch.stack([state @ matrix @ items(network, 4)[ROWS["item_id"][row]] for state in states]), 0)
        interest = torch.zeros(4)
        for weight, state in zip(share, states, strict=True):
            a = (own["inputs.weight"] @ state + own["inputs.bias"]).chunk(3)
            b = (own["states.weight"] @ interest).chunk(3)
            new = torch.tanh(a[2] + torch.sigmoid(a[0] + b[0]) * b[2])
            update = weight * torch.sigmoid(a[1] + b[1])
            interest = (1 - update) * interest + update * new
        read = device(network, row, 4), items(network, 4)[ROWS["item_id"][row]], interest
        assert found[row].item() == pytest.approx(torch.sigmoid(answer(network, *read)).item(), abs=1e-5)


def test_the_auxiliary_loss_of_dien_asks_the_interest_states_for_the_next_step(model: Model) -> None:
    network, losses = dien(model, auxiliary_weight=0.3, auxiliary_negatives=3), []
    ((matrix, _),), table = layers(network, "foreseen"), items(network, 4)
    for history in STEPS:
        for state, following in zip(extracted(network, history), history[1:], strict=False):
            told = table @ (matrix @ state)
            losses.append((functional.softplus(-told[following]) + functional.softplus(told[[11, 12, 13]]).sum()) / 4)
    with torch.no_grad():
        total = network.loss(ROWS)
    own = functional.binary_cross_entropy(served(network)[0], ROWS["@label:rating"])
    assert total.item() == pytest.approx((own + 0.3 * torch.stack(losses).mean()).item(), rel=1e-4)


def test_bst_attends_both_ways_and_tells_the_candidate_from_the_oldest_of_a_full_history(model: Model) -> None:
    options = {"num_layers": 2, "num_heads": 2, "hidden_size": 8, "hidden_units": (6,), "embedding_dim": 4, "max_length": 4}
    network = model("bst", "click, everything", features=("device",), **options)
    table, found = items(network, 4), served(network)[0]
    ((matrix, offset),) = layers(network, "wide")
    for row, history in enumerate(STEPS):
        joined = table[[*history, int(ROWS["item_id"][row])]] @ matrix.T + offset
        interest = encoder(network, "states", placed(network, joined), 2, causal=False)[-1]
        assert found[row].item() == pytest.approx(torch.sigmoid(answer(network, device(network, row, 4), interest)).item(), abs=1e-5)


# --- retrievers ---------------------------------------------------------------------------------------------------------------


def test_sasrec_counts_positions_from_the_newest_step_and_sees_no_later_one(model: Model) -> None:
    network = model("sasrec", "recommend, everything", num_layers=2, num_heads=2, hidden_size=8, max_len=4)
    found, states = served(network)[0], values_of(network, **{"@target": HISTORY})["states"][0]
    for row, history in enumerate(STEPS):
        expected = encoder(network, "states", placed(network, items(network, 8)[history]), 2, causal=True)
        assert torch.allclose(states[row, : len(history)], expected, atol=1e-4)
        assert torch.allclose(found[row], expected[-1], atol=1e-4)


def test_histories_that_end_alike_have_the_same_positions_at_the_end(model: Model) -> None:
    network = model("sasrec", "recommend, everything", hidden_size=8, max_len=4)
    history = torch.tensor([[1, 2, 3, 4], [3, 4, 0, 0]])
    steps = values_of(network, history=history, **{"@target": history})["placed"][0]
    assert torch.allclose(steps[0, 2:], steps[1, :2])


@pytest.mark.parametrize("power", [1.0, 2.0, 3.0])
def test_mind_mixes_the_interests_by_a_power_of_their_fit_that_keeps_its_sign(model: Model, power: float) -> None:
    network = model("mind", "recommend, everything", num_interests=3, hidden_size=4, embedding_dim=4, label_power=power)
    targets = torch.tensor([10, 14, 15])
    values = values_of(network, **{"@target": targets})
    mixed = values["suited"][0] if isinstance(values["suited"], tuple) else values["suited"]
    fits = []
    for row, wanted in enumerate(items(network, 4)[targets]):
        fit = (values["user"][row] @ wanted).numpy()
        share = np.exp(np.copysign(np.abs(fit) ** power, fit))
        expected = (share / share.sum()) @ values["user"][row].numpy()
        assert mixed[row].flatten().numpy() == pytest.approx(expected, abs=1e-4)
        fits += fit.tolist()
    assert min(fits) < -0.1, "some fits are negative, or the sign would not show"


def test_the_label_heads_of_youtube_dnn_read_user_times_item_and_have_their_weight(model: Model) -> None:
    options = {"user_features": ("user_id", "history"), "item_features": ("item_id",), "embedding_dim": 8, "hidden_units": (6,)}
    network = model("youtube-dnn", THREE_LABELS, task_weight=0.3, **options).attach(BlankEntities(SCHEMAS[THREE_LABELS]))
    batch = {**ROWS, "@item:item_id": torch.arange(31)}
    with torch.no_grad():
        values, total = network(batch), network.loss(batch)
    joint, expected = values["user"] * items(network, 8)[ROWS["@target"]], values["loss"].clone()
    for place, label in enumerate(("rating", "like", "minutes")):
        ((weight, _),) = layers(network, f"task_{place}")
        score = joint @ weight[0] + network.part(f"task_{place}").offset.detach()
        loss = functional.mse_loss if label == "minutes" else functional.binary_cross_entropy_with_logits
        expected += 0.3 * loss(score, ROWS[f"@label:{label}"])
    assert total.item() == pytest.approx(expected.item(), rel=1e-4)


# --- several labels -----------------------------------------------------------------------------------------------------------


def test_esmm_answers_click_and_click_times_conversion(model: Model) -> None:
    network = model("esmm", "click, three labels", features=("device",), embedding_dim=4, hidden_units=(), tower_units=(5,))
    click, both = served(network)
    chances = {}
    for name in ("ctr", "cvr"):
        ((weight, _),) = layers(network, name)
        rows = [weight[0] @ dense(network, f"{name}_tower", device(network, row, 4)) for row in range(3)]
        chances[name] = torch.sigmoid(torch.stack(rows) + network.part(name).offset.detach())
    assert network.serving_outputs == ("rating", "like"), "who likes has rated: the click label is `rating`"
    assert torch.allclose(click, chances["ctr"], atol=1e-5)
    assert torch.allclose(both, chances["ctr"] * chances["cvr"], atol=1e-5)
    with torch.no_grad():
        total = network.loss(ROWS)
    cross = functional.binary_cross_entropy
    assert total.item() == pytest.approx((cross(click, ROWS["@label:rating"]) + cross(both, ROWS["@label:like"])).item(), rel=1e-4)


@pytest.mark.parametrize("shared_gate", ["all", "shared"])
def test_a_gate_of_ple_mixes_its_task_s_experts_and_the_shared_ones(model: Model, shared_gate: str) -> None:
    options = {"expert_units": (8,), "num_experts": 2, "num_shared_experts": 1, "num_layers": 3, "tower_units": (), "embedding_dim": 4}
    network = model("ple", "click, three labels", features=("device",), shared_gate=shared_gate, **options)
    found = served(network)

    def mixed(gate: str, reader: Tensor, experts: list[Tensor]) -> Tensor:
        ((weight, _),) = layers(network, gate)
        return torch.softmax(weight @ reader, 0) @ torch.cat(experts)

    for row in range(3):
        shared, states = device(network, row, 4), [device(network, row, 4)] * 3
        for layer in range(3):  # from the second one on, the shared state is another than any task's
            own = [dense(network, f"experts_{layer}_{task}", state).view(2, 8) for task, state in enumerate(states)]
            common = dense(network, f"experts_{layer}_shared", shared).view(1, 8)
            states = [mixed(f"state_{layer}_{task}", state, [own[task], common]) for task, state in enumerate(states)]
            if layer < 2:
                shared = mixed(f"state_{layer}_shared", shared, [*own, common] if shared_gate == "all" else [common])
        for task, state in enumerate(states):
            ((weight, _),) = layers(network, f"score_{task}")
            score = weight[0] @ state + network.part(f"score_{task}").offset[0].detach()
            expected = score if task == 2 else torch.sigmoid(score)
            assert found[task][row].item() == pytest.approx(expected.item(), abs=1e-5)


# --- what is kept beside the weights --------------------------------------------------------------------------------------------


def test_vectors_of_items_follow_a_weight_that_changes_in_place(model: Model) -> None:
    options = {"user_features": ("user_id",), "item_features": ("item_id",), "hidden_units": (6,), "embedding_dim": 16}
    network = model("dssm", "recommend, ids only", cosine=False, **options).attach(BlankEntities(SCHEMAS["recommend, ids only"]))
    before = network.item_vectors().clone()
    assert torch.equal(before, network.item_vectors())
    with torch.no_grad():
        for weight, _ in layers(network, "items"):
            weight.mul_(2)
        network.part("items").bias.mul_(2)
    assert torch.allclose(network.item_vectors(), 2 * before, atol=1e-5)
    with torch.no_grad():
        network.stores["64"].weight.mul_(-1)
    assert not torch.allclose(network.item_vectors(), 2 * before, atol=1e-3)


def test_an_unknown_row_that_training_read_keeps_its_vector_and_another_takes_the_mean(model: Model) -> None:
    network = model("din", "click, everything", features=("device", "user_id"), embedding_dim=4, hidden_units=(6,), dropout_rates=())
    store = network.stores["4"]
    network.train().loss({**ROWS, "device": torch.tensor([0, 1, 2])}).backward()
    network.note_met()
    kept = {name: store.table(name).detach().clone() for name in ("device", "user")}
    network.settle()
    assert torch.equal(store.table("device")[0], kept["device"][0])
    assert torch.allclose(store.table("user")[0], kept["user"][1:].mean(0), atol=1e-6)
