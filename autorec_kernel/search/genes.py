"""The search space of a run, assembled from what the plugins offer, and the way from a genotype to an architecture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from autorec_kernel.contracts.models import SolvingBlock
from autorec_kernel.errors import AutoRecError, ContractError, PluginError, UnknownNameError
from autorec_kernel.records.architecture import Architecture
from autorec_kernel.records.features import FeatureSchema
from autorec_kernel.records.trial import Proposal
from autorec_kernel.registry.faults import guarded
from autorec_kernel.search.fixed import TRAINING, fixed_genes
from autorec_kernel.search.presets import SpacePreset, admitted, narrowed
from autorec_kernel.space import Bool, Choice, Gene, Genotype, SearchSpace
from autorec_kernel.space.config_genes import config_values, genes_of
from autorec_kernel.space.genotype import digest_of

if TYPE_CHECKING:
    from autorec_kernel.kernel import Kernel

__all__ = [
    "CROSSES",
    "FAMILY",
    "PIPELINE",
    "ROLES",
    "SHARE",
    "Candidate",
    "Offer",
    "assemble_space",
    "chosen_among",
    "decode",
    "first_proposals",
    "offers",
    "training_key",
]

PIPELINE, FAMILY = "pipeline", "features."
ROLES = ("retriever", "ranker")
SHARE, CROSSES = f"{FAMILY}share", f"{FAMILY}crosses"
_ALWAYS = (
    "",
    "bag",
    "cross",
    "history",
    "id",
    "scale",
)  # families that no gene switches off: the data itself; crosses have a gene of their own
_FEATURE_GENES = 24  # one gene a column would cost a strategy more than it brings
_SHARES, _CROSSES = (0.25, 0.5, 0.75, 1.0), (0, 4, 8, 16)


@dataclass(frozen=True, slots=True)
class Offer:
    """A blueprint that fits the data, or the reason why it does not."""

    id: str
    role: str
    baseline: bool
    trained: bool  # learns by gradient
    reason: str = ""  # empty when it fits
    missing: tuple[str, ...] = ()  # labels of the data that it does not predict, though it is a ranker
    later: bool = False  # tagged `later`: in the space, and not among the first candidates


@dataclass(frozen=True, slots=True)
class Candidate:
    """What a genotype means.

    Args:
        training: Options of the evaluator (`learning_rate`, …).
        features: The schema after the feature genes.
    """

    blueprint: str
    architecture: Architecture
    training: Mapping[str, Any]
    features: FeatureSchema


def offers(
    kernel: Kernel,
    task: str,
    features: FeatureSchema,
    fixed: Mapping[str, Any] | None = None,
    preset: SpacePreset = "wide",
    wanted: Sequence[str] = (),
) -> tuple[Offer, ...]:
    """Return every usable blueprint of the task, baselines first, with the reason for those that do not fit the data.

    Args:
        fixed: What `fixed_options` returned: they are tried with it.
        preset: How much of the space is searched.
        wanted: Ids of blueprints that are offered whatever the preset.
    """
    found = []
    for row in kernel.components("blueprint"):
        if not row.usable or not (admitted(row.tags, preset) or row.id in wanted):
            continue
        baseline = "baseline" in row.tags
        offer, broken = guarded(lambda row=row, baseline=baseline: _offer(kernel, row.id, task, baseline, features, fixed or {}))  # type: ignore[misc]
        if broken:
            found.append(Offer(row.id, "", baseline, False, f"it is broken: {broken}"))
        elif offer is not None:
            found.append(replace(offer, later="later" in row.tags))
    return tuple(sorted(_whole(found), key=lambda offer: (not offer.baseline, offer.id)))


def _whole(found: Sequence[Offer]) -> list[Offer]:
    """Return the offers; where several labels were named and some candidate predicts them all, the others do not fit."""
    if not any(offer.role == "ranker" and not (offer.baseline or offer.missing or offer.reason) for offer in found):
        return list(found)
    partial = [bool(offer.missing) and not offer.baseline and not offer.reason for offer in found]
    told = "it does not predict the label{} {}, which other blueprints do"
    reasons = [told.format("s" * (len(offer.missing) > 1), ", ".join(offer.missing)) for offer in found]
    return [replace(offer, reason=why) if some else offer for offer, why, some in zip(found, reasons, partial, strict=True)]


def _offer(kernel: Kernel, name: str, task: str, baseline: bool, features: FeatureSchema, fixed: Mapping[str, Any]) -> Offer | None:
    """Try a blueprint on the data; None when it is for other tasks. Whatever a plugin's code raises is the caller's to catch."""
    kind = kernel.load("blueprint", name)
    if task not in kind.tasks:
        return None
    if kind.role not in ROLES:
        raise ContractError(f"its role is {kind.role!r}, expected one of {', '.join(ROLES)}")
    genes_of(kind.Config, name, kind.role, (name,))
    try:
        architecture = kernel.create("blueprint", name, **config_values(fixed, name)).architecture(features)
    except ContractError as error:
        return Offer(name, kind.role, baseline, False, error.message)
    if not isinstance(architecture, Architecture):
        raise ContractError(f"architecture() returned {type(architecture).__name__}, expected Architecture")
    missing = tuple(label for label in features.tasks if label not in architecture.outputs) if kind.role == "ranker" else ()
    return Offer(name, kind.role, baseline, _learns(architecture, features, kernel), missing=missing)


def _learns(architecture: Architecture, features: FeatureSchema, kernel: Kernel) -> bool:
    """Return whether there is a loss, or nothing that is solved: a ranker of learned parts has its task's loss."""
    from autorec_kernel.models.specs import infer_specs, make_blocks

    blocks = make_blocks(architecture, kernel)
    if any(spec.port == "loss" for spec in infer_specs(architecture, features, blocks).values()):
        return True
    return not any(isinstance(block, SolvingBlock) for block in blocks.values())


def assemble_space(
    kernel: Kernel,
    fitting: tuple[Offer, ...],
    features: FeatureSchema,
    evaluator: str,
    defaults: Mapping[str, Any] | None = None,
    fixed: Mapping[str, Any] | None = None,
    preset: SpacePreset = "wide",
) -> SearchSpace:
    """Return the space: `pipeline`, one gene a role that picks the blueprint, the blueprint's genes under its name, training genes.

    Args:
        defaults: Gene name → value that takes the place of the component's own default.
        fixed: What `fixed_options` returned; a fixed option is a gene with one value.
        preset: A narrow space leaves options of blueprints with many values at their defaults.

    Raises:
        PluginError: No blueprint fits the data.
        UsageError: A default names no gene, or lies outside the gene's domain.
    """
    usable = [offer for offer in fitting if not offer.reason]
    if not usable:
        reasons = "; ".join(f"{offer.id}: {offer.reason}" for offer in fitting)
        raise PluginError(f"no blueprint fits this data ({reasons or 'none is installed'})", hint='pip install "autorec-kernel[all]"')
    roles = [role for role in ROLES if any(offer.role == role for offer in usable)]
    genes = [Gene(PIPELINE, Choice(*roles), roles[0])]
    for role in roles:
        genes += _role_genes(kernel, [offer for offer in usable if offer.role == role], role, features, evaluator)
    if preset == "narrow":
        genes = narrowed(genes, [offer.id for offer in usable])
    genes = fixed_genes(genes, fixed or {}, _owners(usable))
    for name in defaults or ():
        if name not in {gene.name for gene in genes}:
            raise UnknownNameError("gene", name, [gene.name for gene in genes], hint="defaults of a recipe name genes of the search space")
    return SearchSpace([replace(gene, default=(defaults or {}).get(gene.name, gene.default)) for gene in genes])


def _owners(usable: Sequence[Offer]) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return owner of options → (role, blueprints under which they count): each blueprint, and the training of each role."""
    found: dict[str, tuple[str, tuple[str, ...]]] = {offer.id: (offer.role, (offer.id,)) for offer in usable}
    for role in {offer.role for offer in usable if offer.trained}:
        found[f"{role}.{TRAINING}"] = (role, tuple(offer.id for offer in usable if offer.role == role and offer.trained))
    return found


def chosen_among(kernel: Kernel, found: tuple[Offer, ...], wanted: Sequence[str]) -> tuple[Offer, ...]:
    """Return the baselines and the offers that are wanted by name; all of them when nothing is named.

    Raises:
        UnknownNameError: No blueprint has a wanted name.
        ContractError: A wanted blueprint does not fit the data or is for another task.
    """
    if not wanted:
        return found
    names = [kernel.find("blueprint", name).id for name in wanted]
    known = {offer.id: offer for offer in found}
    for name in names:
        reason = known[name].reason if name in known else "it is for another task"
        if reason:
            raise ContractError(f"the recipe wants the blueprint {name!r}, and {reason}")
    return tuple(replace(offer, later=False) if offer.id in names else offer for offer in found if offer.baseline or offer.id in names)


def _role_genes(kernel: Kernel, usable: list[Offer], role: str, features: FeatureSchema, evaluator: str) -> list[Gene]:
    names = [offer.id for offer in usable]
    default = min(usable, key=lambda offer: (offer.baseline, offer.later, offer.id)).id
    genes = [Gene(role, Choice(*names), default, PIPELINE, (role,))]
    for offer in usable:
        genes += genes_of(kernel.load("blueprint", offer.id).Config, offer.id, role, (offer.id,))
    trained = [offer.id for offer in usable if offer.trained]
    if trained:
        genes += genes_of(kernel.load("evaluator", evaluator).Config, f"{role}.{TRAINING}", role, trained)
    return genes + (_feature_genes(features, role, tuple(trained)) if role == "ranker" and trained else [])


def _feature_genes(features: FeatureSchema, role: str, trained: tuple[str, ...]) -> list[Gene]:
    """Return genes that switch families off, cut the ranked features and cut the crosses; defaults keep everything."""
    genes, crosses = [], sum(feature.family == "cross" for feature in features.features)
    if len(_ranked(features)) > 1:
        genes.append(Gene(SHARE, Choice(*_SHARES), 1.0, role, trained))
    if crosses:
        genes.append(Gene(CROSSES, Choice(*[n for n in _CROSSES if n < crosses], crosses), crosses, role, trained))
    present = sorted({feature.family for feature in features.features} - {*_ALWAYS, "share", "crosses"})
    families = [Gene(f"{FAMILY}{name}", Bool(), True, role, trained) for name in present]
    return families[: _FEATURE_GENES - len(genes)] + genes


def _ranked(features: FeatureSchema) -> list[str]:
    """Return the ranked features that the share counts: all but crosses, best first."""
    crosses = {feature.name for feature in features.features if feature.family == "cross"}
    return [name for name in features.ranked or () if name not in crosses]


def _chosen(genotype: Genotype, features: FeatureSchema) -> FeatureSchema:
    """Return the schema after the feature genes: a prefix of the ranked features, a prefix of the crosses, without some families."""
    genes: dict[str, Any] = {name: value for name, value in genotype.items() if name.startswith(FAMILY)}
    ranked, crosses = _ranked(features), [feature.name for feature in features.features if feature.family == "cross"]
    cut = {*ranked[math.ceil(genes.pop(SHARE, 1.0) * len(ranked)) :], *crosses[genes.pop(CROSSES, len(crosses)) :]}
    left = features.without(name.removeprefix(FAMILY) for name, value in genes.items() if not value)
    return left.only(feature.name for feature in left.features if feature.name not in cut) if cut else left


def decode(genotype: Genotype, features: FeatureSchema, kernel: Kernel) -> Candidate:
    """Return what a genotype means on these features.

    Raises:
        ContractError: The graph is impossible on these features.
    """
    role = str(genotype[PIPELINE])
    name = str(genotype[role])
    schema = _chosen(genotype, features)
    try:
        architecture = kernel.create("blueprint", name, **config_values(genotype, name)).architecture(schema)
    except AutoRecError:
        raise
    except Exception as error:
        raise ContractError(f"blueprint {name!r} raised {type(error).__name__}: {error}") from error
    return Candidate(name, architecture, config_values(genotype, f"{role}.{TRAINING}"), schema)


def training_key(genotype: Genotype, features: FeatureSchema, kernel: Kernel) -> str:
    """Return a key that equal candidates share: same graph, same training options, same features; they are trained once."""
    try:
        candidate = decode(genotype, features, kernel)
        used = sorted(feature.name for feature in candidate.features.features)
        return f"{candidate.architecture.digest()}/{digest_of([dict(candidate.training), used])}"
    except Exception:  # an impossible candidate is its own key; the evaluator reports why it is impossible
        return genotype.digest


def first_proposals(space: SearchSpace, offers: Sequence[Offer]) -> tuple[tuple[Proposal, ...], tuple[Proposal, ...]]:
    """Return the default genotype of each baseline, and of each other blueprint that fits the data and is not tagged `later`."""
    found: dict[bool, list[Proposal]] = {True: [], False: []}
    for offer in offers:
        if not offer.reason and not offer.later:
            word = "baseline" if offer.baseline else "blueprint"
            genotype = space.canonical({"pipeline": offer.role, offer.role: offer.id})
            found[offer.baseline].append(Proposal(genotype, None, f"{word} {offer.id}"))
    return tuple(found[True]), tuple(found[False])
