"""Answers as a table: every held-out prompt, the source's answer, and what a model said."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from vertical_assets.store.contracts import GENERATED

if TYPE_CHECKING:
    from vertical_assets.training.generation.sampling import Likelihood


def generated_table(
    items: pa.Table,
    answers: Sequence[str],
    finished: Sequence[bool] | None = None,
    likelihoods: "Sequence[Likelihood | None] | None" = None,
) -> pa.Table:
    """GENERATED of PAIRS items; what a baseline can't know is null."""
    known = likelihoods or [None] * items.num_rows
    return pa.Table.from_arrays(
        [
            items["item_id"],
            items["split"],
            items["label"],
            items["prompt"],
            items["text"],
            pa.array(answers, pa.string()),
            pa.array(finished, pa.bool_()) if finished else pa.nulls(items.num_rows, pa.bool_()),
            pa.array([each and each.nats for each in known], pa.float64()),
            pa.array([each and each.tokens for each in known], pa.int64()),
        ],
        schema=GENERATED,
    )
