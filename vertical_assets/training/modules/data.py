"""Items as batches: windows of token ids, features of the items, and targets by the task's kind."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from scipy.sparse import csr_matrix
from tokenizers import Tokenizer

from vertical_assets.corpus.cleaning.terms import Terms
from vertical_assets.inference.chain import bio_tags
from vertical_assets.inference.windows import Window, Windows, single_windows, windows_of
from vertical_assets.labels.targets import Span, Target
from vertical_assets.training.modules.heads import IGNORED

WINDOWED = ("entities", "question_answering")


class VectorSource(Protocol):
    """A feature: `features.tfidf.Tfidf`, `features.word_vectors.WordVectors`."""

    def transform(self, texts: list[str]) -> Any:
        """Texts x width, float32; sparse (CSR) or dense."""


@dataclass(frozen=True)
class Inputs:
    """What a network reads: windows, and the features of their items."""

    windows: Windows
    features: dict[str, Any] = field(default_factory=dict)

    def batch(self, rows: np.ndarray) -> dict[str, Any]:
        """Tensors by the names of VerticalModel's arguments, and `rows`."""
        ids, mask, types = self.windows.padded(rows)
        batch: dict[str, Any] = {
            "rows": torch.from_numpy(np.asarray(rows)),
            "input_ids": torch.from_numpy(ids),
            "attention_mask": torch.from_numpy(mask),
            "token_type_ids": torch.from_numpy(types),
        }
        items = self.windows.items[rows]
        batch["features"] = {
            name: feature_batch(matrix, items) for name, matrix in self.features.items()
        }
        return batch


def feature_batch(matrix: Any, items: np.ndarray) -> Any:
    """Rows of a matrix as tensors: dense, or (columns, row starts, values) of a sparse one."""
    if isinstance(matrix, np.ndarray):
        return torch.from_numpy(matrix[items])
    chosen = csr_matrix(matrix[items])
    return (
        torch.from_numpy(chosen.indices.astype(np.int64)),
        torch.from_numpy(chosen.indptr[:-1].astype(np.int64)),
        torch.from_numpy(chosen.data.astype(np.float32)),
    )


def inputs_of(
    kind: str,
    texts: Sequence[str],
    questions: Sequence[str] | None,
    tokenizer: Tokenizer,
    config: Any,
    sources: Mapping[str, VectorSource],
) -> Inputs:
    """Inputs of texts.

    Args:
        kind: of the task.
        texts: whole texts.
        questions: one per text, for question answering.
        tokenizer: of the encoder.
        config: `max_tokens`, `window_overlap`, `pad_token_id`, `keyword_terms`, as a VerticalConfig
            has them.
        sources: feature -> its vectors.

    Raises:
        ValueError: a question-answering task without questions.
    """
    pad = int(config.pad_token_id or 0)
    terms = Terms(getattr(config, "keyword_terms", None) or ())
    if kind == "question_answering" and questions is None:
        raise ValueError("question answering needs a question for every text; give `questions`")
    if kind in WINDOWED:
        windows = windows_of(
            texts, tokenizer, pad, config.max_tokens, config.window_overlap, questions, terms
        )
    else:
        windows = single_windows(texts, tokenizer, pad, config.max_tokens, terms)
    return Inputs(windows, {name: each.transform(list(texts)) for name, each in sources.items()})


@dataclass(frozen=True)
class LabelledInputs:
    """Inputs and what they are learned to give; `counts` tells what could not be learned exactly.

    `per_row` are arrays with a row per window; `ragged` lists of arrays of unequal length with
    what fills them up.
    """

    inputs: Inputs
    per_row: dict[str, np.ndarray] = field(default_factory=dict)
    ragged: dict[str, tuple[list[np.ndarray], int]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def batch(self, rows: np.ndarray) -> dict[str, Any]:
        """The inputs' batch with the targets, by the names that the heads document."""
        batch = self.inputs.batch(rows)
        for name, values in self.per_row.items():
            batch[name] = torch.from_numpy(values[rows])
        for name, (lists, fill) in self.ragged.items():
            width = max(1, *(len(lists[row]) for row in rows))
            filled = np.full((len(rows), width), fill, np.int64)
            for place, row in enumerate(rows):
                filled[place, : len(lists[row])] = lists[row]
            batch[name] = torch.from_numpy(filled)
        if "starts" in self.per_row:
            batch["candidates"] = _candidates(self.inputs.windows, rows)
        return batch


def codes_of(targets: Sequence[str], labels: Sequence[str]) -> np.ndarray:
    """Numbers of labels."""
    index = {label: code for code, label in enumerate(labels)}
    return np.array([index[target] for target in targets], np.int64)


def hot_of(targets: Sequence[Target], labels: Sequence[str]) -> np.ndarray:
    """Items x labels: 1 where an item has the label, else 0."""
    index = {label: code for code, label in enumerate(labels)}
    hot = np.zeros((len(targets), len(labels)), np.float32)
    for row, given in enumerate(targets):
        hot[row, [index[str(label)] for label in _many(given)]] = 1.0
    return hot


def labelled(
    kind: str, labels: Sequence[str], targets: Sequence[Target], inputs: Inputs
) -> LabelledInputs:
    """Inputs with the targets of their items."""
    if kind == "entities":
        return _tagged(labels, targets, inputs)
    if kind == "question_answering":
        return _answered(targets, inputs)
    if kind == "regression":
        return LabelledInputs(inputs, {"values": np.array(targets, np.float32)})
    if kind == "multi_label":
        return LabelledInputs(inputs, {"hot": hot_of(targets, labels)})
    return LabelledInputs(inputs, {"codes": codes_of([str(each) for each in targets], labels)})


def _many(target: Target) -> tuple[Any, ...]:
    if not isinstance(target, tuple):
        raise TypeError(f"{target!r} should be a tuple of labels or spans")
    return target


def under(window: Window, span: Span) -> np.ndarray:
    """Numbers of the window's text tokens that a span touches."""
    touched = (window.starts < span.end) & (window.ends > span.start)
    return np.flatnonzero(touched & (window.starts < window.ends))


def _tagged(labels: Sequence[str], targets: Sequence[Target], inputs: Inputs) -> LabelledInputs:
    codes = {tag: code for code, tag in enumerate(bio_tags(labels))}
    kept: list[list[Span]] = []
    overlapping = 0
    for target in targets:
        flat: list[Span] = []
        for span in sorted(_many(target), key=lambda s: (s.start, -s.end)):
            if flat and span.start < flat[-1].end:
                overlapping += 1
            else:
                flat.append(span)
        kept.append(flat)
    tags, exact = [], set()
    for window in inputs.windows.windows:
        row = np.zeros(len(window.places), np.int64)
        for span in kept[window.item]:
            tokens = under(window, span)
            if len(tokens):
                row[tokens] = codes[f"I-{span.label}"]
                row[tokens[0]] = codes[f"B-{span.label}"]
                first, last = tokens[0], tokens[-1]
                if (window.starts[first], window.ends[last]) == (span.start, span.end):
                    exact.add((window.item, span))
        tags.append(row)
    places = [window.places for window in inputs.windows.windows]
    spans = sum(map(len, kept))
    return LabelledInputs(
        inputs,
        ragged={"tags": (tags, IGNORED), "places": (places, 0)},
        counts={
            "spans": spans,
            "spans_inside_others": overlapping,
            "spans_across_tokens_or_windows": spans - len(exact),
        },
    )


def _answered(targets: Sequence[Target], inputs: Inputs) -> LabelledInputs:
    windows = inputs.windows.windows
    starts, ends = np.zeros(len(windows), np.int64), np.zeros(len(windows), np.int64)
    found = set()
    for row, window in enumerate(windows):
        for span in _many(targets[window.item]):
            tokens = under(window, span)
            whole = len(tokens) and (
                window.starts[tokens[0]] <= span.start and window.ends[tokens[-1]] >= span.end
            )
            if whole:
                starts[row], ends[row] = window.places[tokens[0]], window.places[tokens[-1]]
                found.add(window.item)
                break
    answerable = {item for item, target in enumerate(targets) if _many(target)}
    return LabelledInputs(
        inputs,
        {"starts": starts, "ends": ends},
        counts={
            "questions_with_answer": len(answerable),
            "answers_in_no_window": len(answerable - found),
            "questions_cut": inputs.windows.questions_cut,
        },
    )


def _candidates(windows: Windows, rows: np.ndarray) -> torch.Tensor:
    """Rows x length: the text's tokens and the first one, which stands for no answer."""
    chosen = [windows.windows[row] for row in rows]
    candidates = torch.zeros((len(rows), max(len(w.ids) for w in chosen)), dtype=torch.bool)
    candidates[:, 0] = True
    for row, window in enumerate(chosen):
        candidates[row, torch.from_numpy(window.places)] = True
    return candidates
