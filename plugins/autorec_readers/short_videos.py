"""A stand-in for short-video logs (Douyin and its like), whose real ones are not freely given out: drawn numbers, and said to be so."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

__all__ = ["short_videos"]

_THEMES = ("cooking", "dance", "football", "games", "music", "news", "pets", "travel")
_START, _SPAN = 1_704_067_200, 14 * 86_400  # the first of January 2024, and two weeks (seconds)


def short_videos(rng: np.random.Generator, *, users: int = 200, videos: int = 300, rows: int = 5000) -> dict[str, pa.Table]:
    """Draw impressions of short videos with a like, watched seconds left out because they are known only afterwards.

    Users like two of eight themes and short videos, videos are shown as often as a power law says. It has the shape of such logs, and
    nothing measured on it says anything about them.

    Returns:
        `events` (user_id, video_id, like 0 or 1, timestamp in Unix seconds, device), `users` (user_id, region) and `items` (video_id,
        author, theme, seconds): what `open_dataset(events, users=…, items=…, task="click")` takes.
    """
    theme, length = rng.integers(0, len(_THEMES), videos), rng.lognormal(3.0, 0.6, videos).round(1)
    favourites = np.argsort(rng.random((users, len(_THEMES))), axis=1)[:, :2]
    popular = 1.0 / np.arange(1, videos + 1) ** 0.8
    user, video = rng.integers(0, users, rows), rng.choice(videos, rows, p=popular / popular.sum())
    drawn = (theme[video][:, None] == favourites[user]).any(axis=1)
    like = rng.random(rows) < 1 / (1 + np.exp(-(-1.5 + 2.2 * drawn - 0.3 * (length[video] > 30))))
    events = {
        "user_id": [f"u{n}" for n in user],
        "video_id": [f"v{n}" for n in video],
        "like": like.astype(np.int64),
        "timestamp": np.sort(rng.integers(_START, _START + _SPAN, rows)),
        "device": np.array(["android", "ios", "web"])[rng.integers(0, 3, rows)],
    }
    who = {"user_id": [f"u{n}" for n in range(users)], "region": np.array(["east", "north", "south", "west"])[rng.integers(0, 4, users)]}
    what = {
        "video_id": [f"v{n}" for n in range(videos)],
        "author": [f"a{n}" for n in rng.integers(0, max(videos // 6, 1), videos)],
        "theme": np.array(_THEMES)[theme],
        "seconds": length,
    }
    return {"events": pa.table(events), "users": pa.table(who), "items": pa.table(what)}
