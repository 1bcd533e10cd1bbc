"""Contracts of the gate between labels and training: decisions, verdicts, doubts (SPEC D8)."""

import pyarrow as pa

from vertical_assets.store.fields import described as _field
from vertical_assets.store.fields import targets as _targets

DECISIONS = pa.schema(
    [
        _field("item_id", pa.string(), "The document's doc_id"),
        _field("task", pa.string(), "Label standard"),
        _field("label", pa.string(), "Decided label; of a question, its type", nullable=True),
        *_targets("", "Decided"),
        _field("question", pa.string(), "What is asked (question_answering)", nullable=True),
        _field("decided_by", pa.string(), "Who decided"),
        _field("decided_at", pa.string(), "When, ISO 8601"),
        _field("reason", pa.string(), "Why"),
        _field("stands", pa.bool_(), "False where a later decision took its place"),
        _field("origin", pa.string(), "File and line"),
    ]
)

BATCH_VERDICTS = pa.schema(
    [
        _field("batch", pa.string(), "The batch"),
        _field("verdict", pa.string(), "accepted | adjudicated | refused"),
        _field("alpha", pa.float64(), "Krippendorff's alpha (D8)", nullable=True),
        _field("low", pa.float64(), "Lower end of its 95 % interval", nullable=True),
        _field("high", pa.float64(), "Upper end of its 95 % interval", nullable=True),
        _field("items", pa.int64(), "Items that the batch speaks of"),
        _field("compared", pa.int64(), "Of these, items that two annotators labelled"),
        _field("annotators", pa.int64(), "Who speaks in it"),
        _field("replaced", pa.int64(), "Statements that a later one took the place of"),
        _field("disputed", pa.int64(), "Items that no two annotators say the same of, all alike"),
        _field("decided", pa.int64(), "Of these, items that a person decided"),
        _field("first_seen", pa.string(), "Earliest created_at in it, where known", nullable=True),
        _field("reason", pa.string(), "The verdict in words"),
    ]
)

LABEL_ERRORS = pa.schema(
    [
        _field("item_id", pa.string(), "The training item"),
        _field("text", pa.string(), "Its text"),
        _field("label", pa.string(), "Its gold label, or labels as JSON"),
        _field("proposed", pa.string(), "What the other items make likely, in the same form"),
        _field("quality", pa.float64(), "Out-of-fold probability of the gold label"),
        _field("confidence", pa.float64(), "Confidence of the gold label"),
    ]
)
