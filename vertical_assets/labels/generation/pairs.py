"""Pairs: a prompt from a document's `meta`, and the document's text as its answer (SPEC D6)."""

import json
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from vertical_assets.labels.splits import groups_of, split_of
from vertical_assets.spec import VerticalSpec
from vertical_assets.store.contracts import PAIRS, QUARANTINE


@dataclass(frozen=True)
class Found:
    """Pairs, prompts that break the label standard, and how many documents have no prompt."""

    pairs: pa.Table
    rejected: pa.Table
    without_prompt: int


@dataclass(frozen=True)
class Pairs:
    """Pairs of one split."""

    prompts: list[str]
    answers: list[str]

    def __len__(self) -> int:
        return len(self.prompts)


def find_pairs(documents: pa.Table, spec: VerticalSpec) -> Found:
    """The pairs that the documents carry.

    Args:
        documents: doc_id, source, origin, text, meta and cluster_id of DEDUP_DOCUMENTS.
        spec: sections `annotation.pairs`, `task`, `split`, `seed`.

    Returns:
        Found: PAIRS, in the order of the documents; QUARANTINE of those whose type of question is
        none of `task.question_types`.

    Raises:
        ValueError: the vertical has no pairs.
    """
    where = spec.annotation.pairs
    if where is None:
        raise ValueError("the vertical has no annotation.pairs; see task.kind 'generation'")
    kept, rejected, without = [], [], 0
    for document, group in zip(documents.to_pylist(), groups_of(documents, spec), strict=True):
        entries = json.loads(document["meta"])
        prompt = str(entries.get(where.prompt) or "").strip()
        if not prompt:
            without += 1
            continue
        kind = entries.get(where.question_type) if where.question_type else None
        if where.question_type and kind not in spec.task.question_types:
            rejected.append(
                {
                    **{name: document[name] for name in ("doc_id", "source", "origin")},
                    "rule": "question_type",
                    "field": where.question_type,
                    "value": str(kind)[:200],
                    "reason": f"{kind!r} is no type of question of task {spec.task.name!r}; "
                    f"there are: {', '.join(spec.task.question_types)}",
                }
            )
            continue
        kept.append(
            {
                "item_id": document["doc_id"],
                "task": spec.task.name,
                "label": kind,
                "prompt": prompt,
                "text": document["text"],
                "method": "source",
                "split": split_of(group, spec),
                "cluster_id": group,
            }
        )
    return Found(
        pa.Table.from_pylist(kept, PAIRS), pa.Table.from_pylist(rejected, QUARANTINE), without
    )


def pairs_of(labeled: pa.Table, split: str) -> Pairs:
    """One split of a PAIRS table."""
    chosen = labeled.filter(pc.equal(labeled["split"], split))
    return Pairs(chosen["prompt"].to_pylist(), chosen["text"].to_pylist())
