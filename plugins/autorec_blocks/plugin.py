"""Declares the blocks; nothing heavy is imported until one is used."""

from __future__ import annotations

from autorec_kernel.markers import hookimpl
from autorec_kernel.registry.spec import ComponentSpec

__all__ = ["autorec_model_blocks"]


@hookimpl
def autorec_model_blocks() -> tuple[ComponentSpec, ...]:
    """Return the model blocks of this package."""
    return (
        ComponentSpec("linear", "autorec_blocks.dense:Linear", "One affine layer to a vector."),
        ComponentSpec("mlp", "autorec_blocks.dense:Mlp", "A stack of affine layers with activation and dropout."),
        ComponentSpec("head", "autorec_blocks.dense:Head", "An affine layer to one score a task."),
        ComponentSpec("sum-scores", "autorec_blocks.dense:SumScores", "One score from numbers that add up."),
        ComponentSpec("concat", "autorec_blocks.combine:Concat", "Several vectors side by side."),
        ComponentSpec("add", "autorec_blocks.combine:Add", "The sum of several vectors of one width."),
        ComponentSpec("sum-fields", "autorec_blocks.combine:SumFields", "The sum of all fields as one vector."),
        ComponentSpec("numeric-fields", "autorec_blocks.fields:NumericFields", "Numbers as fields: each times a learned vector."),
        ComponentSpec("join-fields", "autorec_blocks.fields:JoinFields", "Several sets of fields of one width as one set."),
        ComponentSpec("lookup", "autorec_blocks.combine:Lookup", "Rows of a table picked by an index."),
        ComponentSpec("fm", "autorec_blocks.interact:FactorizationMachine", "Second-order factorization machine (Rendle 2010)."),
        ComponentSpec("cross-network", "autorec_blocks.interact:CrossNetwork", "Explicit feature crosses, version 2 (Wang et al. 2021)."),
        ComponentSpec("positions", "autorec_blocks.sequence:Positions", "Learned positions counted from the newest step."),
        ComponentSpec("gru", "autorec_blocks.sequence:Gru", "Gated recurrent unit over a history (Cho et al. 2014)."),
        ComponentSpec("encoder", "autorec_blocks.sequence:Encoder", "Self-attention encoder, causal or not (Vaswani et al. 2017)."),
        ComponentSpec("pool", "autorec_blocks.pool:Pool", "One vector from a history: mean, sum, max or last step."),
        ComponentSpec("target-attention", "autorec_blocks.pool:TargetAttention", "History pooled by its fit to a target (Zhou 2018)."),
        ComponentSpec("item-counts", "autorec_blocks.counts:ItemCounts", "One weight an item: how often it was chosen."),
        ComponentSpec("bias-table", "autorec_blocks.counts:BiasTable", "Shrunken user or item deviations from the mean label."),
        ComponentSpec("item-similarity", "autorec_blocks.neighbours:ItemSimilarity", "Neighbours of each item by shrunken cosine."),
        ComponentSpec("ease", "autorec_blocks.ease:Ease", "Closed-form item-item weights without self-loops (Steck 2019)."),
        ComponentSpec("neighbour-scores", "autorec_blocks.neighbours:NeighbourScores", "Catalogue scores from neighbours of a history."),
        ComponentSpec("pointwise-loss", "autorec_blocks.losses:PointwiseLoss", "Cross-entropy or squared error on labels."),
        ComponentSpec("bpr-loss", "autorec_blocks.losses:BprLoss", "Pairwise ranking loss (Rendle et al. 2009)."),
        ComponentSpec("softmax-loss", "autorec_blocks.losses:SoftmaxLoss", "Cross-entropy over the whole catalogue."),
        ComponentSpec("sampled-softmax-loss", "autorec_blocks.losses:SampledSoftmaxLoss", "Cross-entropy over shared sampled negatives."),
    )
