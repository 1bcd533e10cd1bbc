"""The frozen test set, and what a model was trained on, so that neither can leak into the other.

A release keeps hashes of all items that its model was trained or chosen on: years later it can
still be told which items of a new test set it must not be judged by. A duplicate cluster, or the
group of `split.group`, counts as one. The hashes keep no secret: who has a text can see whether it
was among them.
"""

from io import BytesIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from upath import UPath

from vertical_assets.corpus.dedup.dedup import normalize
from vertical_assets.labels.splits import TEST
from vertical_assets.labels.targets import COLUMN
from vertical_assets.store.content import ContentDigest

TRAINED_ON = "trained_on.npy"


def frozen_test(labeled: pa.Table) -> pa.Table:
    """The test split of LABELED."""
    return labeled.filter(pc.equal(labeled["split"], TEST))


def frozen_digest(labeled: pa.Table) -> str:
    """Digest of the test set: its items, questions, texts and targets, in whatever order."""
    names = ("item_id", "question", "text", *dict.fromkeys(COLUMN.values()))
    rows = frozen_test(labeled).select(list(names))
    rows = rows.sort_by([("item_id", "ascending"), ("question", "ascending")]).combine_chunks()
    digest = ContentDigest(rows.schema)
    for batch in rows.to_batches():
        digest.update(batch)
    return digest.hexdigest()


def hashes_of(items: pa.Table) -> np.ndarray:
    """xxh3-64 of what an item can be known by: its id, its group, its text; items x 3."""
    columns = {
        "item": items["item_id"].to_pylist(),
        "group": items["cluster_id"].to_pylist(),
        "text": [normalize(text) for text in items["text"].to_pylist()],
    }
    hashed = [
        [xxhash.xxh3_64_intdigest(f"{name}\0{value}".encode()) for value in values]
        for name, values in columns.items()
    ]
    return np.array(hashed, np.uint64).T.reshape(-1, 3)


def trained_on(labeled: pa.Table) -> np.ndarray:
    """Sorted hashes of everything but the test split: what was trained on, and what chose the epoch
    and the thresholds.
    """
    return np.unique(hashes_of(labeled.filter(pc.not_equal(labeled["split"], TEST))))


def leaked(tested: pa.Table, seen: np.ndarray) -> np.ndarray:
    """Which test items a model has seen.

    Args:
        tested: rows of LABELED.
        seen: `trained_on`.
    """
    found = np.isin(hashes_of(tested), seen)
    return np.logical_or.reduce(found, axis=1)


def as_bytes(seen: np.ndarray) -> bytes:
    """`trained_on` as the file of a release: NumPy's format, no pickle."""
    buffer = BytesIO()
    np.save(buffer, seen, allow_pickle=False)
    return buffer.getvalue()


def read_trained_on(release: UPath) -> np.ndarray:
    """`trained_on` of a release.

    Raises:
        FileNotFoundError: the release does not say.
    """
    with (release / TRAINED_ON).open("rb") as file:
        return np.load(file, allow_pickle=False)
