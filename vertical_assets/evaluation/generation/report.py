"""The report of generated text: its metrics by model, the gains, the gates (SPEC E2, E4)."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from vertical_assets.evaluation.generation.text_metrics import generation_scores
from vertical_assets.evaluation.metrics import value_of
from vertical_assets.evaluation.names import FINETUNED, MAIN_METRIC
from vertical_assets.evaluation.resampling import Draws
from vertical_assets.evaluation.significance import gain_over, gain_rows
from vertical_assets.labels.splits import TEST
from vertical_assets.spec import VerticalSpec
from vertical_assets.store.contracts import EVALUATION
from vertical_assets.store.gates import Gate

BASELINE = "nearest_prompt"
MAIN = MAIN_METRIC["generation"]


def report_of(
    by_model: Mapping[str, pa.Table],
    language: str,
    spaced: bool,
    *,
    groups: Mapping[str, str] | None = None,
    seed: int = 0,
) -> pa.Table:
    """EVALUATION of several GENERATED tables of the same items in the same order, by model and
    split, and of the first one's gains over the others.

    Args:
        by_model: GENERATED of each model, FINETUNED first.
        language: of the answers.
        spaced: whether it has spaces between words.
        groups: item_id -> what the bootstrap draws together; by default each item alone.
        seed: of the bootstrap.

    Raises:
        ValueError: two models answered different items.
    """
    ours = next(iter(by_model.values()))
    for model, table in by_model.items():
        if table["item_id"] != ours["item_id"]:
            raise ValueError(f"{model} answered other items; let it answer the same labeled_set")
    rows: list[dict[str, Any]] = []
    for split in sorted(set(ours["split"].to_pylist())):
        chosen = pc.equal(ours["split"], split)
        items = ours.filter(chosen)["item_id"].to_pylist()
        draws = Draws([(groups or {}).get(item, item) for item in items], seed)
        found = {
            model: generation_scores(table.filter(chosen), language, spaced, draws)
            for model, table in by_model.items()
        }
        for model, scores in found.items():
            rows += [score.row(model, split) for score in scores]
        first, *others = found
        for model in others:
            rows += gain_rows(found[first], found[model], split, model, MAIN)
    return pa.Table.from_pylist(rows, EVALUATION)


def gates_of(report: pa.Table, spec: VerticalSpec) -> list[Gate]:
    """The gates of a generation vertical's `eval_report`, from the report as it is stored; both
    warn.

    Args:
        report: EVALUATION.
        spec: section `evaluate`.
    """
    score, baseline = (value_of(report, model, TEST, MAIN) for model in (FINETUNED, BASELINE))
    gain = gain_over(report, BASELINE, TEST, MAIN)
    bar = spec.evaluate.rouge_l
    beats = f"test ROUGE-L {score:.4f}, nearest prompt's answer {baseline:.4f}, {gain.words}"
    good = f"test ROUGE-L {score:.4f}, good from {bar}"
    return [
        Gate("beats_baseline", score > baseline, False, score, baseline, beats),
        Gate("rouge_l_good", score >= bar, False, score, bar, good),
    ]
