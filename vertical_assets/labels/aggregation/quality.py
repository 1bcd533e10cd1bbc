"""How good each annotator is, by Dawid and Skene's model (SPEC D8)."""

import numpy as np
import pyarrow as pa

from vertical_assets.labels.aggregation.dawid_skene import dawid_skene
from vertical_assets.labels.votes import latest, votes_of
from vertical_assets.spec import VerticalSpec
from vertical_assets.store.contracts import ANNOTATOR_QUALITY


def annotator_quality(annotations: pa.Table, spec: VerticalSpec) -> pa.Table:
    """ANNOTATOR_QUALITY, the least accurate first, whatever `task.aggregation` is; without rows for
    kinds of task other than classification, whose annotators the agreement report compares.

    Args:
        annotations: ANNOTATIONS of one task.
        spec: section `task`.
    """
    if spec.task.kind != "classification" or not annotations.num_rows:
        return ANNOTATOR_QUALITY.empty_table()
    votes = votes_of(latest(annotations), spec.labels)
    found = dawid_skene(votes)
    right = found.posterior[votes.item, votes.label]
    given = np.bincount(votes.annotator)
    accuracy = np.bincount(votes.annotator, right) / given
    order = np.lexsort((np.array(votes.annotators), accuracy))
    return pa.table(
        {
            "annotator_id": [votes.annotators[who] for who in order],
            "annotations": given[order],
            "accuracy": accuracy[order],
            "confusion": found.confusion[order].tolist(),
        },
        ANNOTATOR_QUALITY,
    )
