"""Predictions as a table: every item, its gold label, what a model said and how surely."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from vertical_assets.store.contracts import PREDICTIONS


def predictions_table(
    items: pa.Table, probabilities: np.ndarray, labels: Sequence[str]
) -> pa.Table:
    """PREDICTIONS of LABELED items from their probabilities, items x labels."""
    return pa.Table.from_arrays(
        [
            items["item_id"],
            items["split"],
            items["label"],
            pa.array([labels[code] for code in probabilities.argmax(axis=1)]),
            pa.array(probabilities.max(axis=1).astype(np.float64)),
        ],
        schema=PREDICTIONS,
    )
