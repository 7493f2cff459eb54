"""Hand-made features of tables without a clock: target encodings out of fold, counts, logarithms, flags, and crosses that make sense."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from benchmarks.feature_sets import Given

__all__ = ["census", "criteo"]

FOLDS = 5
Columns = dict[str, np.ndarray]


def census(given: Given) -> Columns:
    """Return the features of census-income: money, work, family and where they meet."""
    frame, out = given.frame, {}
    gains, losses, dividends = (frame[name].to_numpy(np.float64) for name in ("capital_gains", "capital_losses", "stock_dividends"))
    net = gains - losses + dividends
    out["capital.net"] = np.sign(net) * np.log1p(np.abs(net))
    out |= {f"{name}.log": np.log1p(frame[name]) for name in ("capital_gains", "capital_losses", "stock_dividends", "wage_per_hour")}
    out |= {f"{name}.any": frame[name] > 0 for name in ("capital_gains", "capital_losses", "stock_dividends", "wage_per_hour")}
    out["capital.kinds"] = (gains > 0).astype(float) + (losses > 0) + (dividends > 0)
    age, weeks = frame["age"].to_numpy(np.float64), frame["weeks_worked"].to_numpy(np.float64)
    out["age.squared"] = np.square(age - 45)
    out["year.share"] = weeks / 52
    out["worked.year"] = weeks == 52
    out["adult"] = age >= 18
    out["work.size"] = frame["num_emp"] * weeks
    school = frame["education"].map(_SCHOOLING).astype(float)
    out["schooling"] = school
    out["schooling*age"] = school * np.clip(age, 18, 65)
    out["schooling*weeks"] = school * weeks
    out["experience"] = age - school - 6
    out["yearly.wage"] = np.log1p(frame["wage_per_hour"] * weeks)
    out["born.abroad"] = (frame[["country_father", "country_mother", "country_self"]] != "United-States").sum(axis=1).to_numpy(np.float64)
    bands = frame.assign(age=pd.cut(frame["age"], [-1, 17, 24, 29, 34, 39, 44, 49, 54, 59, 64, 200]).astype(str))
    bands["weeks_worked"] = pd.cut(frame["weeks_worked"], [-1, 0, 26, 47, 51, 52]).astype(str)
    bands["capital"] = pd.cut(net, [-1e9, -1, 0, 100, 1000, 5000, 10000, 1e9]).astype(str)
    singles = [*given.categories, "age", "weeks_worked", "capital", "num_emp"]
    return out | _encoded(given, bands, [*((name,) for name in singles), *_CENSUS_CROSSES])


def criteo(given: Given) -> Columns:
    """Return the features of criteo-10k: squared logarithms of the counts, gaps, frequencies, rates, and crosses of the usual fields."""
    frame, out = given.frame, {}
    bands = frame[list(given.categories)].fillna("none")
    train = (frame["part"] == "train").to_numpy()
    for name in given.numbers:
        value = frame[name].to_numpy(np.float64)
        out[f"{name}.log"] = np.log1p(np.maximum(value, 0))
        out[f"{name}.rank"] = _ranks(value, train)
        out[f"{name}.missing"] = np.isnan(value)
        large = np.floor(np.square(np.log(np.maximum(value, 3.0))))  # the binning of the winners of the challenge
        bands[name] = pd.Series(np.where(value > 2, large, value), index=frame.index).fillna(-99).astype(int).astype(str)
    out["missing"] = frame[[*given.numbers, *given.categories]].isna().sum(axis=1).to_numpy(np.float64)
    for first, second in (("I7", "I11"), ("I5", "I13"), ("I4", "I13"), ("I1", "I10")):
        out[f"{first}-{second}"] = out[f"{first}.log"] - out[f"{second}.log"]
    return out | _encoded(given, bands, [*((name,) for name in bands), *_CRITEO_CROSSES])


def _encoded(given: Given, columns: pd.DataFrame, groups: Iterable[tuple[str, ...]]) -> Columns:
    """Return in how many other training rows a value occurs, and its mean label: out of fold for training rows, of all for the others."""
    train, label = (given.frame["part"] == "train").to_numpy(), given.frame["label"].to_numpy(np.float64)
    fold = np.random.default_rng(0).integers(0, FOLDS, len(label))
    out = {}
    for group in groups:
        code = np.asarray(columns.groupby(list(group), sort=False, dropna=False).ngroup(), dtype=np.int64)
        name = "*".join(group)
        others = np.bincount(code, train, code.max() + 1)[code] - train
        out[f"{name}.count"] = np.log1p(others)
        out[f"{name}.rate"] = _rate(code, label, train, fold)
    return out


def _rate(code: np.ndarray, label: np.ndarray, train: np.ndarray, fold: np.ndarray, strength: float = 20.0) -> np.ndarray:
    """Return float64 [n] log odds of the mean label with `strength` rows at the mean of all."""
    size, both, rate = int(code.max()) + 1, code * FOLDS + fold, np.zeros((2, len(code)))
    priors = np.array([label[train & (fold != number)].mean() for number in range(FOLDS)])
    prior = np.where(train, priors[fold], label[train].mean())
    for place, weight in enumerate((train.astype(np.float64), np.where(train, label, 0.0))):
        whole = np.bincount(code, weight, size)[code]
        rate[place] = np.where(train, whole - np.bincount(both, weight, size * FOLDS)[both], whole)
    mean = (rate[1] + strength * prior) / (rate[0] + strength)
    return np.asarray(np.log(mean / (1 - mean)))


def _ranks(value: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Return the share of known training values below each value; NaN stays."""
    known = np.sort(value[train & ~np.isnan(value)])
    return np.where(np.isnan(value), np.nan, np.searchsorted(known, value) / max(1, len(known)))


_SCHOOLING = {
    "Children": 0,
    "Less than 1st grade": 0.5,
    "1st 2nd 3rd or 4th grade": 3,
    "5th or 6th grade": 6,
    "7th and 8th grade": 8,
    "9th grade": 9,
    "10th grade": 10,
    "11th grade": 11,
    "12th grade no diploma": 11.5,
    "High school graduate": 12,
    "Some college but no degree": 13.5,
    "Associates degree-occup /vocational": 14,
    "Associates degree-academic program": 14.5,
    "Bachelors degree(BA AB BS)": 16,
    "Masters degree(MA MS MEng MEd MSW)": 18,
    "Prof school degree (MD DDS DVM LLB JD)": 19,
    "Doctorate degree(PhD EdD)": 20,
}
_CENSUS_CROSSES = [
    ("education", "det_occ_code"),
    ("education", "age"),
    ("education", "sex"),
    ("education", "weeks_worked"),
    ("education", "capital"),
    ("education", "marital_stat"),
    ("sex", "age"),
    ("sex", "marital_stat"),
    ("sex", "det_occ_code"),
    ("sex", "weeks_worked"),
    ("age", "det_occ_code"),
    ("age", "marital_stat"),
    ("age", "weeks_worked"),
    ("age", "capital"),
    ("det_occ_code", "det_ind_code"),
    ("det_occ_code", "class_worker"),
    ("det_occ_code", "weeks_worked"),
    ("det_occ_code", "capital"),
    ("class_worker", "education"),
    ("weeks_worked", "capital"),
    ("weeks_worked", "num_emp"),
    ("tax_filer_stat", "det_hh_fam_stat"),
    ("sex", "age", "education"),
    ("sex", "age", "weeks_worked"),
    ("sex", "education", "major_occ_code"),
    ("sex", "education", "weeks_worked", "age"),
    ("major_occ_code", "education", "capital"),
]
_CRITEO_CROSSES = [
    ("C6", "C9"),
    ("C6", "C14"),
    ("C6", "C17"),
    ("C9", "C14"),
    ("C9", "C17"),
    ("C14", "C17"),
    ("C14", "C23"),
    ("C17", "C23"),
    ("C17", "C20"),
    ("C2", "C17"),
    ("C5", "C17"),
    ("C8", "C17"),
    ("C17", "I11"),
    ("C14", "I11"),
    ("C9", "I6"),
    ("C17", "I6"),
    ("C17", "I13"),
    ("I6", "I11"),
    ("I11", "I13"),
    ("I1", "C17"),
]
