"""What can be chosen: domains, genes, spaces and genotypes. Imports the standard library and the kernel's errors only."""

from __future__ import annotations

from autorec_kernel.space.config_genes import Under, config_values, genes_of
from autorec_kernel.space.domains import Bool, Choice, Domain, Float, Floats, Int, Ints, Scalar, Size, Value, domain_from_json
from autorec_kernel.space.gene import Gene
from autorec_kernel.space.genotype import Genotype
from autorec_kernel.space.space import SearchSpace

__all__ = [
    "Bool",
    "Choice",
    "Domain",
    "Float",
    "Floats",
    "Gene",
    "Genotype",
    "Int",
    "Ints",
    "Scalar",
    "SearchSpace",
    "Size",
    "Under",
    "Value",
    "config_values",
    "domain_from_json",
    "genes_of",
]
