"""What column names usually mean: the vocabulary behind role and kind inference."""

from __future__ import annotations

import re
from collections.abc import Iterable

from autorec_kernel.errors import nearest
from autorec_kernel.records.dataset import Task

__all__ = ["CATEGORY_WORDS", "ROLE_NAMES", "TIME_WORDS", "is_split_flag", "label_names", "likely", "normal", "words"]


def _names(*lines: str) -> tuple[str, ...]:
    return tuple(name for line in lines for name in line.split())


ROLE_NAMES: dict[str, tuple[str, ...]] = {
    "split": _names("split subset partition data_split dataset_split usage"),
    "user": _names(
        "user_id userid user uid user_no user_idx u_id customer_id customerid customer cust_id member_id visitor_id visitorid client_id",
        "account_id reviewer_id reviewerid reviewer person_id buyer_id player_id reader_id profile_id user_name username",
    ),
    "item": _names(
        "item_id itemid item iid item_no item_idx i_id movie_id movieid movie product_id productid product article_id articleid asin isbn",
        "sku song_id track_id video_id book_id news_id business_id ad_id listing_id hotel_id game_id parent_asin artist_id doc_id",
        "document_id content_id post_id photo_id recipe_id app_id course_id anime_id poi_id venue_id show_id title_id offer_id goods_id",
        "restaurant_id",
    ),
    "session": _names("session_id sessionid session sess_id visit_id basket_id"),
    "time": _names(
        "timestamp time_stamp ts time datetime date event_time event_timestamp unix_time unix_review_time unixreviewtime review_time",
        "rated_at rating_timestamp created_at created timestamp_ms time_ms event_date order_date purchase_date watched_at",
    ),
    "position": _names("position pos seq step order rank sequence sequence_number event_index order_in_session seq_no"),
}
_RATINGS = _names("rating ratings stars star_rating score overall preference label target y click clicked is_click")
_CLICKS = _names("label click clicked is_click is_clicked clk target y liked like is_like purchased rating ratings")
TIME_WORDS = frozenset(_names("time timestamp date datetime ts day created updated at on"))
CATEGORY_WORDS = frozenset(
    _names(
        "id code zip zipcode postcode postal phone occupation job gender sex country city state region district province category cat type",
        "genre brand device channel language lang class group segment store shop cluster os browser hash isbn sku",
    )
)


def normal(name: str) -> str:
    """Return the name as lower_snake_case: `userId`, `User ID` and `USER_ID` become `user_id`."""
    split = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name.strip())
    return re.sub(r"[^0-9a-z]+", "_", split.lower()).strip("_")


def words(name: str) -> frozenset[str]:
    """Return the words of a name."""
    return frozenset(normal(name).split("_"))


def label_names(task: Task) -> tuple[str, ...]:
    """Return the names of a label for the task, best first."""
    return _CLICKS if task == "click" else _RATINGS


def is_split_flag(name: str) -> bool:
    """Return whether the name speaks of an experiment's own bookkeeping (`fold`, `ua_test`, `is_train`)."""
    return bool(words(name) & {"fold", "folds", "test", "train", "valid", "validation", "holdout", "cv"})


def likely(role: str, names: Iterable[str]) -> str | None:
    """Return the column that was probably meant to be `role`, for a did-you-mean."""
    return next((name for name in names if nearest(normal(name), ROLE_NAMES[role])), None)
