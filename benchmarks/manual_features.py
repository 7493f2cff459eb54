"""The features that a good specialist writes by hand for the benchmark data sets: what the feature engine is measured against.

MovieLens: some 100 group-by features, each known strictly before the row (`benchmarks.past`), from the same columns that the engine
gets; the label is the click alone. Sets without a clock: `benchmarks.manual_columns`. No label outside training enters anything that is
learned; with a clock, later rows see earlier clicks of validation and test rows as a live system does (the state of the protocol is
`rolling`), unless `sees` says less: the clicks of users that training knows, or of training alone.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from benchmarks.feature_sets import Given
from benchmarks.manual_columns import census, criteo
from benchmarks.past import Log, Sees, Sums, past, smooth

__all__ = ["manual_features"]

HOUR, DAY, WEEK, MONTH = 3600, 86_400, 7 * 86_400, 30 * 86_400
AGE_BANDS = (18, 25, 35, 45, 50, 56)
QUALITY = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
POPULARITY = (1, 2, 3, 4, 5, 6, 7)  # logarithms of counts
Columns = dict[str, np.ndarray]


def manual_features(given: Given, *, sees: Sees = "all") -> pd.DataFrame:
    """Return one row for each of `given.frame`: float32 features beside the given columns."""
    makers: dict[str, Callable[[Given], Columns]] = {"census-income": census, "criteo-10k": criteo}
    maker = makers.get(given.name, lambda one: _Movies(one, sees).columns())
    return pd.DataFrame({name: np.asarray(value, dtype=np.float32) for name, value in maker(given).items()})


class _Movies:
    """The columns of one MovieLens set; groups of features in the order in which later ones need earlier ones."""

    def __init__(self, given: Given, sees: Sees) -> None:
        frame = self.frame = given.frame
        self.shared = given.dataset.protocol.clock == "time"
        codes = {name: _codes(frame[name]) for name in ("user_id", "item_id")}
        clock, train = frame["clock"].to_numpy(), (frame["part"] == "train").to_numpy()
        label = frame["label"].to_numpy(np.float64)
        self.log = Log(codes["user_id"], codes["item_id"], label, clock, train, self.shared, sees)
        self.user, self.item, self.label, self.clock = codes["user_id"], codes["item_id"], label, clock
        key = np.zeros_like(self.user)
        self.prior = smooth(past(self.log, key), 0.5, 100.0) if self.shared else np.full(len(label), 0.5)
        self.items = int(self.item.max()) + 1
        self.year = frame["year"].to_numpy(np.float64)
        self.decade = np.nan_to_num((self.year - 1890) // 10, nan=0).astype(np.int64) + 1
        self.rows, self.genre, self.genres = _exploded(frame["genres"])
        self.out: Columns = {}

    def columns(self) -> Columns:
        if self.shared:
            self._everybody()
        self._users()
        self._items()
        self._differences()
        self._genres()
        self._decades()
        self._segments()
        self._calendar()
        if self.shared:
            self._sessions()
        return self.out

    def _everybody(self) -> None:
        """Means of all rows of the last 1,000 events and days: the tide that lifts every probability."""
        key = np.zeros_like(self.user)
        self.out["all.mean"] = self.prior
        self.out["all.mean.last1000"] = smooth(past(self.log, key, latest=1000), self.prior, 100.0)
        self.out["all.mean.week"] = smooth(past(self.log, key, window=WEEK), self.prior, 100.0)
        self.out["all.count.day"] = np.log1p(past(self.log, key, window=DAY).count)

    def _users(self) -> None:
        found = past(self.log, self.user, own=True)
        self._summary("user", found, self.prior)
        for number in (1, 5, 20, 100):
            recent = past(self.log, self.user, own=True, latest=number)
            self.out[f"user.mean.last{number}"] = smooth(recent, self.out["user.mean"], 1.0)
        self.out["user.trend"] = self.out["user.mean.last20"] - self.out["user.mean"]
        if self.shared:
            self._windows("user", self.user, own=True)
            self.out["user.gap.mean"] = np.log1p((found.last - found.first) / np.maximum(found.count - 1, 1))

    def _items(self) -> None:
        found = past(self.log, self.item)
        self._summary("item", found, self.prior)
        everybody = past(self.log, np.zeros_like(self.item)).count
        self.out["item.share"] = np.log((found.count + 0.5) / (everybody + 1))
        if not self.shared:
            return
        for number in (10, 50):
            recent = past(self.log, self.item, latest=number)
            self.out[f"item.mean.last{number}"] = smooth(recent, self.out["item.mean"], 1.0)
        self.out["item.trend"] = self.out["item.mean.last10"] - self.out["item.mean"]
        self._windows("item", self.item, own=False)

    def _differences(self) -> None:
        """Leniency of the user against the items he met, quality of the item against the users it met, and both added up."""
        leniency = self.label - self.out["item.mean"]
        for name, latest in (("user.leniency", None), ("user.leniency.last20", 20)):
            self.out[name] = smooth(past(self.log, self.user, leniency, own=True, latest=latest), 0.0)
        quality = self.label - self.out["user.mean"]
        self.out["item.quality"] = smooth(past(self.log, self.item, quality), 0.0)
        self.out["bias.sum"] = self.prior + self.out["user.leniency"] + self.out["item.quality"]
        self.out["item.mean+user.leniency"] = self.out["item.mean"] + self.out["user.leniency"]
        self.out["user.mean-item.mean"] = self.out["user.mean"] - self.out["item.mean"]
        self._taste("popularity", self.out["item.count"])
        self._taste("quality", self.out["item.mean"])
        self._taste("year", np.nan_to_num(self.year, nan=1990.0))
        for name, value, cuts in (("quality", self.out["item.mean"], QUALITY), ("popularity", self.out["item.count"], POPULARITY)):
            bands = np.searchsorted(cuts, value)
            found = past(self.log, self.user * (len(cuts) + 1) + bands, leniency, own=True)
            self.out[f"user*{name}.mean"] = smooth(found, self.out["user.leniency"]) + self.out["item.mean"]
            self.out[f"user*{name}.count"] = np.log1p(found.count)

    def _taste(self, name: str, value: np.ndarray) -> None:
        """Add the mean of a property over the user's past items, over the liked ones, and how far this item is from both."""
        found = past(self.log, self.user, value, value * self.label, self.label, own=True)
        mean = smooth(found, value, 1.0)
        liked = (found.total[1] + mean) / (found.total[2] + 1)
        self.out[f"user.{name}"] = mean
        self.out[f"user.{name}.liked-seen"] = liked - mean
        self.out[f"{name}-user.{name}"] = value - mean
        self.out[f"{name}-user.{name}.liked"] = np.abs(value - liked)

    def _genres(self) -> None:
        """Features of the row's genres one by one, put together as mean, best and worst."""
        size, rows = len(self.genres), self.rows
        user, item = self.user[rows], self.out["item.mean"][rows]
        leniency = (self.label - self.out["item.mean"])[rows]
        self.out["genres"] = np.bincount(rows, minlength=len(self.user)).astype(np.float64)
        self._together("genre.mean", smooth(self._of_genres(self.genre), self.prior[rows]))
        mine = self._of_genres(user * size + self.genre, leniency, own=True)
        taste = smooth(mine, self.out["user.leniency"][rows], 3.0)
        self._together("user*genre.leniency", taste)
        self._together("user*genre.mean", taste + item)
        self._together("user*genre.count", np.log1p(mine.count))
        self._together("user*genre.share", mine.count / (past(self.log, self.user, own=True).count[rows] + 1))
        recent = self._of_genres(user * size + self.genre, leniency, own=True, latest=5)
        self._together("user*genre.last5", smooth(recent, taste, 1.0))
        if self.shared:
            self._together("user*genre.recency", np.log1p(self.clock[rows] - mine.last))
            month = self._of_genres(self.genre, window=MONTH)
            self._together("genre.mean.month", smooth(month, self.prior[rows], 20.0))
        for name, segment in self._user_segments().items():
            key = segment[rows] * size + self.genre
            found = self._of_genres(key, self._surprise()[rows])
            self._together(f"genre*{name}.quality", smooth(found, 0.0, 20.0))
        whole = _codes(self.frame["genres"].fillna(""))
        same = past(self.log, self.user * (int(whole.max()) + 1) + whole, self.label - self.out["item.mean"], own=True)
        self.out["user*genres.leniency"] = smooth(same, self.out["user.leniency"], 3.0)
        self.out["user*genres.count"] = np.log1p(same.count)

    def _decades(self) -> None:
        size = int(self.decade.max()) + 1
        leniency = self.label - self.out["item.mean"]
        self.out["decade.mean"] = smooth(past(self.log, self.decade), self.prior, 20.0)
        found = past(self.log, self.user * size + self.decade, leniency, own=True)
        self.out["user*decade.leniency"] = smooth(found, self.out["user.leniency"], 3.0)
        self.out["user*decade.count"] = np.log1p(found.count)
        self.out["user*decade.share"] = found.count / (past(self.log, self.user, own=True).count + 1)
        for name, segment in self._user_segments().items():
            key = segment * size + self.decade
            self.out[f"decade*{name}.quality"] = smooth(past(self.log, key, self._surprise()), 0.0, 20.0)
        self.out["year"] = self.year

    def _segments(self) -> None:
        """Users alike: their mean, and what they thought of this item beside what everybody did."""
        gender = self._user_segments().get("gender")
        for name, segment in self._user_segments().items():
            self.out[f"{name}.mean"] = smooth(past(self.log, segment), self.prior, 20.0)
            self.out[f"{name}.leniency"] = smooth(past(self.log, segment, self._surprise()), 0.0, 20.0)
            found = past(self.log, segment * self.items + self.item)
            self.out[f"item*{name}.mean"] = smooth(found, self.out["item.mean"])
            self.out[f"item*{name}.count"] = np.log1p(found.count)
            self.out[f"item*{name}-item"] = self.out[f"item*{name}.mean"] - self.out["item.mean"]
            if gender is not None and name != "gender":
                both = past(self.log, (segment * (gender.max() + 1) + gender) * self.items + self.item)
                self.out[f"item*{name}*gender.mean"] = smooth(both, self.out[f"item*{name}.mean"])
        if "zip_code" in self.frame:
            area = _codes(self.frame["zip_code"].str[:3])
            self.out["area.mean"] = smooth(past(self.log, area, self._surprise()), 0.0, 50.0)

    def _calendar(self) -> None:
        stamp = self.frame["timestamp"].to_numpy(np.float64)
        hour, weekday = stamp // HOUR % 24, (stamp // DAY + 4) % 7
        self.out |= {"hour": hour, "weekday": weekday, "weekend": np.where(np.isnan(stamp), np.nan, (weekday == 0) | (weekday == 6))}
        if not self.shared:
            return
        self.out["hour.mean"] = smooth(past(self.log, hour.astype(np.int64)), self.prior, 50.0)
        part = self.user * 4 + (hour // 6).astype(np.int64)
        self.out["user*daytime.mean"] = smooth(past(self.log, part, own=True), self.out["user.mean"])
        self.out["item.years"] = stamp / (365.25 * DAY) + 1970 - self.year

    def _sessions(self) -> None:
        """Runs of a user's events with gaps of less than an hour."""
        order = np.lexsort((self.clock, self.user))
        starts = np.append(True, (np.diff(self.clock[order]) > HOUR) | (np.diff(self.user[order]) != 0))
        session = np.empty(len(order), np.int64)
        session[order] = np.cumsum(starts)
        found = past(self.log, session, self.label, self.label - self.out["item.mean"], own=True)
        self.out["session.position"] = np.log1p(found.count)
        self.out["session.mean"] = smooth(found, self.out["user.mean"], 3.0)
        self.out["session.leniency"] = smooth(found, self.out["user.leniency"], 3.0, place=1)
        self.out["session.seconds"] = np.log1p(self.clock - found.first)
        first = session - np.minimum.reduceat(session[order], _starts(self.user[order]))[np.unique(self.user, return_inverse=True)[1]]
        self.out["user.sessions"] = np.log1p(first)

    def _summary(self, name: str, found: Sums, prior: np.ndarray) -> None:
        self.out[f"{name}.count"] = np.log1p(found.count)
        self.out[f"{name}.clicks"] = np.log1p(found.total[0])
        self.out[f"{name}.mean"] = smooth(found, prior)
        self.out[f"{name}.mean.plain"] = found.mean()

    def _windows(self, name: str, key: np.ndarray, *, own: bool) -> None:
        found = past(self.log, key, own=own)
        self.out[f"{name}.recency"] = np.log1p(self.clock - found.last)
        self.out[f"{name}.tenure"] = np.log1p(self.clock - found.first)
        for label, window in (("hour", HOUR), ("day", DAY), ("week", WEEK), ("month", MONTH)):
            seen = past(self.log, key, own=own, window=window)
            self.out[f"{name}.count.{label}"] = np.log1p(seen.count)
            self.out[f"{name}.mean.{label}"] = smooth(seen, self.out[f"{name}.mean"])
            self.out[f"{name}.share.{label}"] = seen.count / (found.count + 1)

    def _surprise(self) -> np.ndarray:
        """Return labels beside the item's mean; where no clock orders users the label alone, since those means hold the reader's labels."""
        return self.label - (self.out["item.mean"] if self.shared else 0.5)

    def _user_segments(self) -> Columns:
        found: Columns = {}
        if "gender" in self.frame:
            found["gender"] = _codes(self.frame["gender"])
        if "age" in self.frame:
            found["age"] = np.searchsorted(AGE_BANDS, self.frame["age"].to_numpy(), side="right").astype(np.int64)
        if "occupation" in self.frame:
            found["occupation"] = _codes(self.frame["occupation"])
        return found

    def _of_genres(
        self, key: np.ndarray, *values: np.ndarray, own: bool = False, window: int | None = None, latest: int | None = None
    ) -> Sums:
        return past(self.log, key, *values, own=own, rows=self.rows, window=window, latest=latest)

    def _together(self, name: str, value: np.ndarray) -> None:
        """Add mean, largest and smallest of a row's entries; NaN where it has none."""
        starts = _starts(self.rows)
        at = self.rows[starts]
        counts = np.diff(np.append(starts, len(self.rows)))
        for label, found in (
            ("", np.add.reduceat(value, starts) / counts),
            (".best", np.maximum.reduceat(value, starts)),
            (".worst", np.minimum.reduceat(value, starts)),
        ):
            self.out[name + label] = np.full(len(self.user), np.nan)
            self.out[name + label][at] = found


def _codes(column: pd.Series) -> np.ndarray:
    return pd.factorize(column, use_na_sentinel=False)[0].astype(np.int64)


def _exploded(column: pd.Series) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return the row and the code of each value of a column of lists, rows ascending, and the names."""
    flags = column.fillna("").str.get_dummies("|")
    rows, codes = np.nonzero(flags.to_numpy())
    return rows.astype(np.int64), codes.astype(np.int64), list(flags)


def _starts(sorted_keys: np.ndarray) -> np.ndarray:
    return np.flatnonzero(np.append(True, sorted_keys[1:] != sorted_keys[:-1]))
