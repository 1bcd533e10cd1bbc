"""Simulated annotators: gold labels with a stated error rate, named `simulated` in every row.

| task.kind | `annotation.simulate.gold` names an entry of `meta` with | an error is |
|---|---|---|
| classification | a label | another label |
| multi_label | a list of labels | a label too many or too few, drawn label by label |
| entities | a list of spans | a span dropped, of another type, or with an end moved by a word |
| question_answering | a list of {question, spans, question_type} | as for entities |
| regression | a number | noise; its deviation is `error_rate` times the range, cut at its ends |

Lists may be JSON in a string, as a CSV file has them. Of spans the places are checked as those of
people are, and gold that does not fit is set aside with the reason.
"""

import contextlib
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, cast

import numpy as np
import pyarrow as pa

from vertical_assets.corpus.reading.sources import SourceError
from vertical_assets.labels.anchoring import BreachError, ItemText
from vertical_assets.labels.annotations import Collected
from vertical_assets.labels.items import texts_of
from vertical_assets.labels.standard import read_question, read_target
from vertical_assets.labels.statements import annotation
from vertical_assets.labels.targets import Span, Target, overlapping
from vertical_assets.spec import Simulate, VerticalSpec
from vertical_assets.spec.labels import SIMULATED
from vertical_assets.store.contracts import ANNOTATIONS, QUARANTINE


def simulate_annotations(documents: pa.Table, how: Simulate, spec: VerticalSpec) -> Collected:
    """Every annotator says of every document what is right, and errs at `error_rate`.

    Seeded by `spec.seed` and drawn per document and annotator from the document's id, so that new
    documents change no earlier label.

    Args:
        documents: `needed_columns` of DEDUP_DOCUMENTS.
        how: section `annotation.simulate`.
        spec: sections `task`, `clean`, `seed`.

    Raises:
        SourceError: gold names a label that the task does not have, or none of it fits.
    """
    if spec.task.kind == "classification":
        return _classes(documents, how, spec)
    texts = texts_of(documents, spec)
    names = [f"{SIMULATED}_{number + 1}" for number in range(how.annotators)]
    rows, bad = [], []
    for id_, meta in zip(
        documents["doc_id"].to_pylist(), documents["meta"].to_pylist(), strict=True
    ):
        text = texts.get(id_)
        rngs = [
            np.random.default_rng([spec.seed, int(id_, 16), number]) for number in range(len(names))
        ]
        for values in _gold_rows(json.loads(meta).get(how.gold), spec):
            try:
                asks = spec.task.kind == "question_answering"
                question = read_question(values, spec) if asks else None
                gold = read_target(values, text, spec)
            except BreachError as breach:
                if breach.rule == "unknown_label":
                    raise _wrong_gold(how, breach) from breach
                bad.append(_rejected(id_, values, how, breach))
                continue
            rows += [
                annotation(
                    id_,
                    _with_errors(gold, text, how.error_rate, rng, spec),
                    spec,
                    annotator=name,
                    kind=SIMULATED,
                    batch=SIMULATED,
                    question=question,
                    text=text,
                )
                for name, rng in zip(names, rngs, strict=True)
            ]
    if bad and not rows:
        raise SourceError(
            f"annotation.simulate.gold {how.gold!r}: nothing fits task {spec.task.name!r}; the "
            f"first of {len(bad)} reasons: {bad[0]['reason']}"
        )
    return Collected(pa.Table.from_pylist(rows, ANNOTATIONS), pa.Table.from_pylist(bad, QUARANTINE))


def _gold_rows(gold: Any, spec: VerticalSpec) -> Iterator[dict[str, Any]]:
    """Gold of a document as rows that people might have written."""
    kind = spec.task.kind
    if kind != "question_answering":
        yield {{"multi_label": "labels", "entities": "spans", "regression": "value"}[kind]: gold}
        return
    if isinstance(gold, str):
        with contextlib.suppress(json.JSONDecodeError):
            gold = json.loads(gold)
    for each in gold if isinstance(gold, list) else [gold]:
        yield each if isinstance(each, dict) else {}


def _with_errors(
    gold: Target, text: ItemText | None, rate: float, rng: np.random.Generator, spec: VerticalSpec
) -> Target:
    if isinstance(gold, float):
        low, high = spec.task.range or (gold, gold)
        return float(np.clip(rng.normal(gold, rate * (high - low)), low, high))
    if spec.task.kind == "multi_label":
        right = cast("tuple[str, ...]", gold)
        errs = rng.random(len(spec.labels)) < rate
        return tuple(
            label
            for label, wrong in zip(spec.labels, errs, strict=True)
            if (label in right) != wrong
        )
    assert text is not None
    places = cast("tuple[Span, ...]", gold)
    spans: list[Span] = []
    for span in places:
        if rng.random() < rate:
            spans += _wrong_span(span, text.text, rng, spec)
        else:
            spans.append(span)
    # An end that was moved into the next span is no error that a labelling tool lets pass.
    while (clash := overlapping(spans)) is not None:
        spans.remove(clash[0] if clash[0] not in places else clash[1])
    return tuple(sorted(spans))


def _wrong_span(
    span: Span, text: str, rng: np.random.Generator, spec: VerticalSpec
) -> tuple[Span, ...]:
    """A span as somebody gets it wrong; nothing where it is overlooked."""
    others = [label for label in spec.labels if label != span.label]
    error = rng.choice(["dropped", "moved", *(["renamed"] if others else [])])
    if error == "renamed":
        return (Span(span.start, span.end, str(rng.choice(others))),)
    if error == "moved":
        start, end = span.start, span.end
        at_start, wider = rng.random(2) < 0.5
        if at_start:
            start = _next(_edges(text, 0, spec), start, -1 if wider else 1)
        else:
            end = _next(_edges(text, 1, spec), end, 1 if wider else -1)
        moved = Span(start, end, span.label)
        if start < end and moved != span:  # else there is no word to move to
            return (moved,)
    return ()


def _edges(text: str, side: int, spec: VerticalSpec) -> list[int]:
    """Where words start (`side` 0) or end (1); of languages without spaces, characters."""
    pattern = r"\S+" if spec.spaced else r"\S"
    return [match.span()[side] for match in re.finditer(pattern, text)]


def _next(places: Sequence[int], at: int, step: int) -> int:
    """The nearest of some places after or before this one; this one if there is none."""
    beyond = [place for place in places if (place - at) * step > 0]
    return (min if step > 0 else max)(beyond, default=at)


def _wrong_gold(how: Simulate, breach: BreachError) -> SourceError:
    return SourceError(
        f"annotation.simulate.gold {how.gold!r}: {breach}; add it under task.labels or correct "
        "'gold'"
    )


def _rejected(
    id_: str, values: dict[str, Any], how: Simulate, breach: BreachError
) -> dict[str, Any]:
    return {
        "doc_id": id_,
        "source": SIMULATED,
        "origin": f"meta.{how.gold}",
        "rule": breach.rule,
        "field": breach.field,
        "value": json.dumps(values, ensure_ascii=False)[:200],
        "reason": str(breach),
    }


def _classes(documents: pa.Table, how: Simulate, spec: VerticalSpec) -> Collected:
    """As `simulate_annotations`, for all documents at once; other classes are equally likely."""
    labels = spec.labels
    index = {label: code for code, label in enumerate(labels)}
    ids = documents["doc_id"].to_pylist()
    gold = [str(json.loads(meta).get(how.gold)) for meta in documents["meta"].to_pylist()]
    wrong = sorted({label for label in gold if label not in index})
    if wrong:
        reason = f"{wrong[0]!r} is no label of task {spec.task.name!r}"
        raise _wrong_gold(how, BreachError("unknown_label", how.gold, reason))
    words = np.array([[int(id_[:16], 16), int(id_[16:], 16)] for id_ in ids], np.uint64)
    codes = np.array([index[label] for label in gold])
    columns = []
    for annotator in range(how.annotators):
        draws = _uniform(words[:, 0] ^ _salt(spec.seed, 2 * annotator))
        shifts = _uniform(words[:, 1] ^ _salt(spec.seed, 2 * annotator + 1))
        errs = draws < how.error_rate
        others = 1 + (shifts * (len(labels) - 1)).astype(np.int64)
        columns.append(np.where(errs, (codes + others) % len(labels), codes))
    said = np.stack(columns, axis=1).ravel()
    size = len(ids)
    names = [f"{SIMULATED}_{number + 1}" for number in range(how.annotators)]
    filled = {
        "item_id": pa.array(ids).take(pa.array(np.repeat(np.arange(size), how.annotators))),
        "task": pa.repeat(spec.task.name, len(said)),
        "annotator_id": pa.array(names * size),
        "annotator_kind": pa.repeat(SIMULATED, len(said)),
        "label": pa.array(labels).take(pa.array(said)),
        "batch": pa.repeat(SIMULATED, len(said)),
    }
    table = pa.Table.from_arrays(
        [filled.get(field.name, pa.nulls(len(said), field.type)) for field in ANNOTATIONS],
        schema=ANNOTATIONS,
    )
    return Collected(table, QUARANTINE.empty_table())


def _salt(seed: int, stream: int) -> np.uint64:
    return np.random.default_rng([seed, stream]).integers(0, 2**63, dtype=np.uint64)


def _uniform(words: np.ndarray) -> np.ndarray:
    """Uniform numbers in [0, 1) from 64-bit words, through splitmix64's finalizer."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (words ^ (words >> np.uint64(31))).astype(np.float64) / 2.0**64
