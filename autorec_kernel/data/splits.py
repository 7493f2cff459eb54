"""The splits themselves: functions from arrays to a part per row (0 = train, 1 = valid, 2 = test)."""

from __future__ import annotations

import numpy as np

from autorec_kernel.data.hashing import row_hash, uniform
from autorec_kernel.errors import DataError
from autorec_kernel.records.dataset import MISSING_TIME, SHARES

__all__ = [
    "TEST",
    "TRAIN",
    "VALID",
    "last_of_each",
    "leave_one_out",
    "random_rows",
    "random_within",
    "rank_from_end",
    "repeated",
    "temporal",
]

TRAIN, VALID, TEST = 0, 1, 2


def temporal(clock: np.ndarray, *, last_for_valid: bool = False) -> np.ndarray:
    """Cut global time near the 80 % and 90 % row quantiles; rows of equal time stay together, rows without a time train.

    Args:
        clock: int64 [n], MISSING_TIME where unknown.
        last_for_valid: One cut only, near 90 %: validation rows come from somewhere else.

    Returns:
        int8 [n] parts.

    Raises:
        DataError: There are too few different times to cut.
    """
    known = clock != MISSING_TIME
    times, counts = np.unique(np.sort(clock[known]), return_counts=True)
    wanted = [0.9] if last_for_valid else [0.8, 0.9]
    if len(times) < len(wanted) + 1:
        told = f"a temporal split needs at least {len(wanted) + 1} different times, the data has {len(times)}"
        raise DataError(told, hint="use --protocol random")
    before = np.cumsum(counts)[:-1] + int((~known).sum())  # rows before times[1], times[2], ...
    cuts = _nearest_cuts(before / len(clock), wanted)
    bounds = times[1:][cuts]
    return np.where(known, np.searchsorted(bounds, clock, side="right"), TRAIN).astype(np.int8) * (2 if last_for_valid else 1)


def leave_one_out(user: np.ndarray, order: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Give each user's last row to test and the one before to validation; users with fewer than 3 rows only train.

    Args:
        user: int [n] codes.
        order: int64 [n], unique; larger = later.
        known: bool [n], whether the row's clock is known (a user whose last two rows have none only trains).
    """
    back, size = rank_from_end(user, order)
    out = np.zeros(len(user), dtype=np.int8)
    for part, place in ((TEST, 0), (VALID, 1)):
        out[(back == place) & (size >= 3)] = part
    unsure = np.zeros(int(user.max(initial=-1)) + 1, dtype=bool)
    unsure[user[(out != TRAIN) & ~known]] = True
    out[unsure[user]] = TRAIN
    return out


def random_within(user: np.ndarray, keys: np.ndarray, user_keys: np.ndarray, shares: tuple[float, float, float] = SHARES) -> np.ndarray:
    """Split each user's rows by their hash, 80/10/10 by default; users with fewer than 3 rows only train.

    A user with n rows gives floor(s n + u) of them to test, s its share and u uniform from the user's own hash: the shares hold overall.

    Args:
        user: int [n] codes.
        keys: uint64 [n] content hashes of the rows.
        user_keys: uint64 [n] content hashes of the rows' users.
        shares: Of training, validation and test.
    """
    place, size = rank_from_end(user, np.argsort(np.argsort(keys, kind="stable"), kind="stable"))
    test = np.floor(shares[2] * size + uniform(user_keys)).astype(np.int64)
    valid = np.floor(shares[1] * size + uniform(row_hash([user_keys.view(np.int64)], len(user), 1))).astype(np.int64)
    for share in (test, valid):
        if not ((share > 0) & (size >= 3)).any():
            share[size >= 3] = 1
    out = np.where(place < test, TEST, np.where(place < test + valid, VALID, TRAIN))
    return np.where(size >= 3, out, TRAIN).astype(np.int8)


def random_rows(keys: np.ndarray, shares: tuple[float, float, float] = SHARES) -> np.ndarray:
    """Split all rows by their hash into training, validation and test rows of these shares, exactly up to rounding."""
    valid, test = (max(1, round(share * len(keys))) for share in shares[1:])
    rank = np.argsort(np.argsort(keys, kind="stable"), kind="stable")
    return np.where(rank < test, TEST, np.where(rank < test + valid, VALID, TRAIN)).astype(np.int8)


def last_of_each(user: np.ndarray, order: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Return bool [n]: the last row of every user who has at least two rows among those marked."""
    out = np.zeros(len(user), dtype=bool)
    rows = np.flatnonzero(among)
    back, size = rank_from_end(user[rows], order[rows])
    out[rows[(back == 0) & (size >= 2)]] = True
    return out


def repeated(user: np.ndarray, item: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Return bool [n]: rows whose (user, item) pair comes again later."""
    pair = user.astype(np.int64) * (int(item.max(initial=0)) + 1) + item
    back, _ = rank_from_end(pair, order)
    return np.asarray(back > 0)


def rank_from_end(group: np.ndarray, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return int64 [n]: how many rows of the same group come later; int64 [n]: how many rows the group has."""
    n = len(group)
    if n == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    sort = np.lexsort((order, group))
    ends = np.append(np.flatnonzero(group[sort][1:] != group[sort][:-1]), n - 1)
    sizes = np.diff(np.append(-1, ends))
    back, size = np.empty(n, np.int64), np.empty(n, np.int64)
    back[sort] = np.repeat(ends, sizes) - np.arange(n)
    size[sort] = np.repeat(sizes, sizes)
    return back, size


def _nearest_cuts(shares: np.ndarray, wanted: list[float]) -> list[int]:
    """Return increasing places of the cuts nearest to the wanted shares."""
    cuts: list[int] = []
    for number, share in enumerate(wanted):
        low, high = (cuts[-1] + 1 if cuts else 0), len(shares) - (len(wanted) - number - 1)
        cuts.append(low + int(np.argmin(np.abs(shares[low:high] - share))))
    return cuts
