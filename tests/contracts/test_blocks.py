"""First-party blocks keep the laws of their kind with settings that the corners of their domains do not reach."""

from __future__ import annotations

from autorec_blocks.counts import BiasTable
from autorec_blocks.ease import Ease
from autorec_blocks.interact import FactorizationMachine
from autorec_blocks.neighbours import ItemSimilarity
from autorec_blocks.pool import AttentionWeights, Pool
from autorec_blocks.sequence import Encoder, Gru, Positions
from autorec_blocks.softmax_losses import SampledSoftmaxLoss
from autorec_kernel.testing import ModelBlockContract
from autorec_kernel.testing.block_inputs import ITEMS, USERS


class TestEncoder(ModelBlockContract):
    component = Encoder
    configs = (Encoder.Config(heads=2, causal=False, expansion=0.5), Encoder.Config(layers=3, dropout=0.0))


class TestGru(ModelBlockContract):
    component = Gru
    configs = (Gru.Config(width=9, layers=2),)


class TestPositions(ModelBlockContract):
    component = Positions
    configs = (Positions.Config(max_length=3),)


class TestPool(ModelBlockContract):
    component = Pool
    configs = tuple(Pool.Config(mode=mode) for mode in ("mean", "sum", "max", "last"))


class TestAttentionWeights(ModelBlockContract):
    component = AttentionWeights
    configs = (AttentionWeights.Config(softmax=True), AttentionWeights.Config(activation="dice", attention_dims=(8,)))


class TestFactorizationMachine(ModelBlockContract):
    component = FactorizationMachine
    configs = (FactorizationMachine.Config(reduce=False),)


class TestSampledSoftmaxLoss(ModelBlockContract):
    component = SampledSoftmaxLoss
    configs = (SampledSoftmaxLoss.Config(correct=False, temperature=0.1),)


class TestEase(ModelBlockContract):
    component = Ease
    configs = (
        Ease.Config(rows=ITEMS, regularisation=1.0),
        Ease.Config(rows=ITEMS, megabytes=8 * ITEMS * 3 / 1e6),
        Ease.Config(rows=ITEMS, frequent=4, megabytes=8 * ITEMS * 6 / 1e6),
    )


class TestItemSimilarity(ModelBlockContract):
    component = ItemSimilarity
    configs = (ItemSimilarity.Config(rows=ITEMS, neighbours=3),)


class TestBiasTable(ModelBlockContract):
    component = BiasTable
    configs = (BiasTable.Config(rows=ITEMS), BiasTable.Config(rows=USERS, side="user", sweeps=1))
