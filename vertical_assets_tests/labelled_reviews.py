"""Real reviews in the store as the corpus and labels stages leave them, without their stages."""

import pyarrow as pa

from vertical_assets.corpus.cleaning.segmentation import Segmenter
from vertical_assets.labels.splits import split_of
from vertical_assets.spec import VerticalSpec
from vertical_assets.store import store_root
from vertical_assets.store.contracts import DEDUP_DOCUMENTS, LABELED
from vertical_assets.store.tables import stage_table
from vertical_assets.store.versions import commit
from vertical_assets_tests.conftest import reviews


def publish_reviews(spec: VerticalSpec, count: int) -> None:
    """Puts `dedup_corpus` and `labeled_set` of so many reviews into the store."""
    cut = Segmenter([]).segment
    documents, labeled = [], []
    for row in reviews(count):
        id_, text = row["id"], row["text"]
        documents.append(
            {
                "doc_id": id_, "source": id_[:3], "kind": "user", "title": None, "text": text,
                "language": "zh", "author_id": None, "published_at": None, "licence": "MIT",
                "meta": "{}", "origin": id_, "words": cut(text), "changes": "[]", "cluster_id": id_,
            }
        )  # fmt: skip
        labeled.append(
            {
                "item_id": id_, "text": text, "task": "sentiment", "label": row["sentiment"],
                "confidence": 1.0, "n_annotators": 3, "method": "majority",
                "split": split_of(id_, spec), "cluster_id": id_,
            }
        )  # fmt: skip
    for asset, rows, schema in (
        ("dedup_corpus", documents, DEDUP_DOCUMENTS),
        ("labeled_set", labeled, LABELED),
    ):
        staged = stage_table(store_root(), schema, pa.Table.from_pylist(rows, schema).to_batches())
        commit(staged, store_root() / spec.name / asset)
