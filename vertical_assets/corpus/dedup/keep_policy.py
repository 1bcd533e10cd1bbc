"""Keep policies: which of several duplicates stays (`dedup.keep`, SPEC D3)."""

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vertical_assets.spec import VerticalSpec


def by_preference(small: pa.Table, spec: VerticalSpec) -> NDArray[np.int64]:
    """Row numbers, the most preferred first: by policy, then the longest, then by id.

    Args:
        small: `doc_id`, `length`, and what the policy looks at: `source`, `published_at`.
        spec: `dedup.keep` and `sources`.

    Raises:
        ValueError: `newest` and a date is not ISO 8601, or `source` and a document's source is
            not in the spec.
    """
    if spec.dedup.keep == "first":
        return np.arange(small.num_rows)
    keys = [("length", "descending"), ("doc_id", "ascending")]
    if spec.dedup.keep == "newest":
        small = small.append_column("seconds", _seconds(small))
        keys.insert(0, ("seconds", "descending"))  # nulls come last in either direction
    elif spec.dedup.keep == "source":
        place = pc.index_in(small["source"], pa.array(spec.source_names, pa.string()))
        if place.null_count:
            row = pc.index(pc.is_null(place), True).as_py()
            raise ValueError(
                f"document {small['doc_id'][row]} is of source {small['source'][row]}, which is "
                "not in 'sources'; add it there, or choose another dedup.keep"
            )
        small = small.append_column("place", place)
        keys.insert(0, ("place", "ascending"))
    ranked: NDArray[np.int64] = pc.sort_indices(small, sort_keys=keys).to_numpy().astype(np.int64)
    return ranked


def _seconds(small: pa.Table) -> pa.Array:
    """`published_at` in seconds since 1970; without an offset it is taken as UTC."""
    seconds: list[float | None] = []
    ids = small["doc_id"]
    for row, text in enumerate(small["published_at"].to_pylist()):
        try:
            moment = datetime.fromisoformat(text) if text else None
        except ValueError as error:
            raise ValueError(
                f"document {ids[row]}: published_at {text!r} is not ISO 8601, and dedup.keep is "
                "'newest'; add a rule (field published_at, date iso), or choose another policy"
            ) from error
        if moment is not None and moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        seconds.append(moment.timestamp() if moment else None)
    return pa.array(seconds, pa.float64())
