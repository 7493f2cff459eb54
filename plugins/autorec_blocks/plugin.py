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
        ComponentSpec("product", "autorec_blocks.combine:Product", "The element-wise or inner product of vectors (He et al. 2017)."),
        ComponentSpec("append-one", "autorec_blocks.combine:AppendOne", "A vector with a one behind it: room for a bias."),
        ComponentSpec("sum-fields", "autorec_blocks.combine:SumFields", "The sum of all fields as one vector."),
        ComponentSpec("numeric-fields", "autorec_blocks.fields:NumericFields", "Numbers as fields: each times a learned vector."),
        ComponentSpec("join-fields", "autorec_blocks.fields:JoinFields", "Several sets of fields of one width as one set."),
        ComponentSpec("lookup", "autorec_blocks.combine:Lookup", "Rows of a table picked by an index."),
        ComponentSpec("table", "autorec_blocks.tables:FreeTable", "A trained table whose unknown row is the mean of the others."),
        ComponentSpec("table-row", "autorec_blocks.tables:TableRow", "The table row of one index a batch row."),
        ComponentSpec("table-rows", "autorec_blocks.tables:TableRows", "A range of rows of a table."),
        ComponentSpec("table-scores", "autorec_blocks.tables:TableScores", "A score for every row of a table: an output layer."),
        ComponentSpec("stack-tables", "autorec_blocks.tables:StackTables", "Tables one above the other."),
        ComponentSpec("join-tables", "autorec_blocks.tables:JoinTables", "Tables side by side."),
        ComponentSpec("propagate", "autorec_blocks.propagate:Propagate", "A table smoothed over the interaction graph (He et al. 2020)."),
        ComponentSpec("normalise", "autorec_blocks.normalise:Normalise", "Vectors of unit length, or of mean 0 and variance 1."),
        ComponentSpec("activate", "autorec_blocks.normalise:Activate", "A function of each number of a vector."),
        ComponentSpec("bag", "autorec_blocks.variational:Bag", "The table rows of a history, summed or averaged, some dropped."),
        ComponentSpec("reparameterise", "autorec_blocks.variational:Reparameterise", "A Gaussian code (Kingma and Welling 2014)."),
        ComponentSpec("fm", "autorec_blocks.interact:FactorizationMachine", "Second-order factorization machine (Rendle 2010)."),
        ComponentSpec("pairs", "autorec_blocks.interact:Pairs", "The product of every pair of fields."),
        ComponentSpec("cross", "autorec_blocks.cross:Cross", "One explicit feature cross: vector, matrix or mixture (Wang 2017, 2021)."),
        ComponentSpec("bilinear-pairs", "autorec_blocks.bilinear:BilinearPairs", "Field pairs through matrices (Huang et al. 2019)."),
        ComponentSpec("bilinear", "autorec_blocks.bilinear:Bilinear", "One number from two vectors through matrices (Mao et al. 2023)."),
        ComponentSpec("cin", "autorec_blocks.cin:CompressedInteraction", "Compressed interaction network (Lian et al. 2018)."),
        ComponentSpec("feature-gate", "autorec_blocks.gates:FeatureGate", "Gates a number or a group, learned or from a context."),
        ComponentSpec("senet", "autorec_blocks.gates:Senet", "Fields weighed by squeeze and excitation (Hu et al. 2018)."),
        ComponentSpec("attention-pool", "autorec_blocks.gates:AttentionPool", "Fields pooled by learned attention (Xiao et al. 2017)."),
        ComponentSpec(
            "field-attention", "autorec_blocks.field_attention:FieldAttention", "Self-attention among fields (Song et al. 2019)."
        ),
        ComponentSpec("hash-crosses", "autorec_blocks.fields:HashCrosses", "Weights of hashed category pairs (Cheng et al. 2016)."),
        ComponentSpec("positions", "autorec_blocks.sequence:Positions", "Learned positions counted from the newest step."),
        ComponentSpec("gru", "autorec_blocks.sequence:Gru", "Gated recurrent unit over a history (Cho et al. 2014)."),
        ComponentSpec("lstm", "autorec_blocks.sequence:Lstm", "Long short-term memory over a history (Hochreiter and Schmidhuber 1997)."),
        ComponentSpec("running-mean", "autorec_blocks.running_mean:RunningMean", "Each step's mean of the steps so far."),
        ComponentSpec("add-steps", "autorec_blocks.sums:AddSteps", "The sum of sequences, step by step."),
        ComponentSpec("add-fields", "autorec_blocks.sums:AddFields", "The sum of sets of fields, field by field."),
        ComponentSpec("split-fields", "autorec_blocks.field_parts:SplitFields", "A vector as several fields, by one affine layer."),
        ComponentSpec("mix-fields", "autorec_blocks.field_parts:MixFields", "Few fields that are weighted sums of many."),
        ComponentSpec("continued-gru", "autorec_blocks.sequence:ContinuedGru", "Gated recurrent unit that goes on from a given state."),
        ComponentSpec("encoder", "autorec_blocks.sequence:Encoder", "Self-attention encoder, causal or not (Vaswani et al. 2017)."),
        ComponentSpec("dilated-convolution", "autorec_blocks.convolution:DilatedConvolution", "Causal convolution (Yuan et al. 2019)."),
        ComponentSpec("additive-attention", "autorec_blocks.sequence_attention:AdditiveAttention", "Steps attend back (Li et al. 2017)."),
        ComponentSpec("join-steps", "autorec_blocks.sequence_attention:JoinSteps", "Several sequences side by side."),
        ComponentSpec("draw-steps", "autorec_blocks.masking:DrawSteps", "Some of the steps, new ones in every training step."),
        ComponentSpec("hide-steps", "autorec_blocks.masking:HideSteps", "Drawn steps behind a learned blank (Sun et al. 2019)."),
        ComponentSpec("keep-steps", "autorec_blocks.masking:KeepSteps", "The rows of hidden steps: what is asked for."),
        ComponentSpec("capsules", "autorec_blocks.capsules:Capsules", "Interests of a history by routing (Li et al. 2019)."),
        ComponentSpec("project-fields", "autorec_blocks.capsules:ProjectFields", "One small network applied to every field."),
        ComponentSpec("label-attention", "autorec_blocks.capsules:LabelAttention", "The mix of fields that a target picks (Li 2019)."),
        ComponentSpec("pool", "autorec_blocks.pool:Pool", "One vector from a history: mean, sum, max or last step."),
        ComponentSpec(
            "attention-weights", "autorec_blocks.pool:AttentionWeights", "One weight a step from its fit to a target (Zhou 2018)."
        ),
        ComponentSpec("attention-gru", "autorec_blocks.recurrent:AttentionGru", "Recurrent unit whose gate obeys attention (Zhou 2019)."),
        ComponentSpec("scale-steps", "autorec_blocks.sequence_parts:ScaleSteps", "Each step times its weight."),
        ComponentSpec("project-steps", "autorec_blocks.sequence_parts:ProjectSteps", "One affine layer applied to every step."),
        ComponentSpec("append-step", "autorec_blocks.sequence_parts:AppendStep", "A vector as the newest step of a history."),
        ComponentSpec("next-steps", "autorec_blocks.sequence_parts:NextSteps", "What follows each step of a history."),
        ComponentSpec("item-counts", "autorec_blocks.counts:ItemCounts", "One weight an item: how often it was chosen."),
        ComponentSpec("popular-items", "autorec_blocks.sampling:PopularItems", "Items drawn by popularity (Hidasi 2018)."),
        ComponentSpec("bias-table", "autorec_blocks.counts:BiasTable", "Shrunken user or item deviations from the mean label."),
        ComponentSpec("item-similarity", "autorec_blocks.neighbours:ItemSimilarity", "Neighbours of each item by shrunken cosine."),
        ComponentSpec("ease", "autorec_blocks.ease:Ease", "Closed-form item-item weights without self-loops (Steck 2019)."),
        ComponentSpec("directed", "autorec_blocks.directed:DirectedWeights", "Closed form of what follows a faded history."),
        ComponentSpec("slim", "autorec_blocks.slim:Slim", "Sparse item-item weights that are not negative (Ning and Karypis 2011)."),
        ComponentSpec("als-items", "autorec_blocks.als:AlsItems", "Item factors of implicit least squares (Hu et al. 2008)."),
        ComponentSpec("fold-in", "autorec_blocks.als:FoldIn", "The ridge solution for a history on a table of item vectors."),
        ComponentSpec("neighbour-scores", "autorec_blocks.neighbours:NeighbourScores", "Catalogue scores from neighbours of a history."),
        ComponentSpec("experts", "autorec_blocks.experts:Experts", "Networks of one shape side by side (Jacobs et al. 1991)."),
        ComponentSpec("gate", "autorec_blocks.experts:Gate", "A mixture of experts whose weights a vector decides (Ma et al. 2018)."),
        ComponentSpec("multiply-scores", "autorec_blocks.task_losses:MultiplyScores", "The product of probabilities (Ma et al. 2018)."),
        ComponentSpec("joint-label", "autorec_blocks.task_losses:JointLabel", "Whether all of several labels are 1."),
        ComponentSpec(
            "uncertainty-weighting", "autorec_blocks.task_losses:UncertaintyWeighting", "Losses with learned weights (Kendall 2018)."
        ),
        ComponentSpec("scale-loss", "autorec_blocks.scale_loss:ScaleLoss", "A factor for an auxiliary loss."),
        ComponentSpec("pointwise-loss", "autorec_blocks.losses:PointwiseLoss", "Cross-entropy or squared error on labels."),
        ComponentSpec("kl-loss", "autorec_blocks.losses:KlLoss", "Divergence from the standard normal (Kingma and Welling 2014)."),
        ComponentSpec("masked-mse-loss", "autorec_blocks.losses:MaskedMseLoss", "Squared error on observed entries (Sedhain 2015)."),
        ComponentSpec("bpr-loss", "autorec_blocks.retrieval_losses:BprLoss", "Pairwise ranking loss (Rendle et al. 2009)."),
        ComponentSpec("ranking-max-loss", "autorec_blocks.retrieval_losses:RankingMaxLoss", "BPR-max and TOP1-max (Hidasi 2018)."),
        ComponentSpec("sampled-bce-loss", "autorec_blocks.retrieval_losses:SampledBceLoss", "Cross-entropy an item; gBCE (Petrov 2023)."),
        ComponentSpec("softmax-loss", "autorec_blocks.softmax_losses:SoftmaxLoss", "Cross-entropy over the whole catalogue."),
        ComponentSpec(
            "sampled-softmax-loss", "autorec_blocks.softmax_losses:SampledSoftmaxLoss", "Cross-entropy over shared sampled negatives."
        ),
        ComponentSpec("in-batch-softmax-loss", "autorec_blocks.softmax_losses:InBatchSoftmaxLoss", "Other rows' items (Yi 2019)."),
        ComponentSpec("multinomial-loss", "autorec_blocks.softmax_losses:MultinomialLoss", "All chosen items at once (Liang 2018)."),
    )
