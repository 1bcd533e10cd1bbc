"""Contracts of what people label next, and of the monthly review (SPEC D7, D8)."""

import pyarrow as pa

from vertical_assets.store.fields import described as _field
from vertical_assets.store.fields import targets as _targets

PRELABELS = pa.schema(
    [
        _field("item_id", pa.string(), "The document's doc_id"),
        _field("label", pa.string(), "What the champion says (classification)", nullable=True),
        *_targets("", "What the champion says"),
        _field("confidence", pa.float64(), "Probability of what is said", nullable=True),
        _field(
            "margin",
            pa.float64(),
            "Probability of the likeliest class less that of the next (classification)",
            nullable=True,
        ),
        _field(
            "entropy",
            pa.float64(),
            "Of the classes' probabilities, in nats (classification)",
            nullable=True,
        ),
        _field("champion", pa.string(), "Digest of the release that says it"),
    ]
)

LABELING_TASKS = pa.schema(
    [
        _field("item_id", pa.string(), "The document's doc_id"),
        _field("question", pa.string(), "What is asked (question_answering)", nullable=True),
        _field("text", pa.string(), "Its text"),
        _field("strategy", pa.string(), "random | uncertainty | diversity | relabel"),
        _field(
            "score",
            pa.float64(),
            "Uncertainty 0 to 1, distance to the nearest document that is labelled or chosen, or "
            "urgency of the relabel queue",
            nullable=True,
        ),
        _field("reason", pa.string(), "Why it was chosen, in words"),
        _field(
            "predictions",
            pa.string(),
            "Pre-labels, a JSON list of source (rules, or model:<release>), score and target",
        ),
        _field("route", pa.string(), "expert | annotator"),
        _field("route_reason", pa.string(), "Why it is for an expert", nullable=True),
    ]
)

MONTHLY_REVIEW = pa.schema(
    [
        _field("month", pa.string(), "YYYY-MM in which the item was annotated"),
        _field("item_id", pa.string(), "The document's doc_id"),
        _field("question", pa.string(), "What is asked (question_answering)", nullable=True),
        _field("stratum", pa.string(), "Who annotated it first in the month"),
        _field("annotators", pa.list_(pa.string()), "All who annotated it, who may not review it"),
        _field("state", pa.string(), "waiting | answered"),
        _field("reviewers", pa.list_(pa.string()), "Who answered"),
        _field(
            "agrees",
            pa.bool_(),
            "Whether everybody said the same; null while it waits",
            nullable=True,
        ),
    ]
)
