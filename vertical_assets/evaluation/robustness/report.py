"""The robustness report: one sample of the test set under every attack and level, and its gates."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash

from vertical_assets.evaluation.metrics import covered, scores_of
from vertical_assets.evaluation.names import MAIN_METRIC, TITLES
from vertical_assets.evaluation.resampling import Draws, interval
from vertical_assets.evaluation.robustness.noise import (
    OF_LANGUAGE,
    RANDOM,
    Noise,
    Noised,
    NoiseError,
    alphabet_of,
)
from vertical_assets.labels.targets import SPAN_KINDS, targets_of
from vertical_assets.spec import VerticalSpec
from vertical_assets.store.contracts import ROBUSTNESS
from vertical_assets.store.gates import Gate

FGSM, CLEAN = "fgsm", "none"
EXAMPLES = 3  # texts that are shown


@dataclass
class Measured:
    """ROBUSTNESS, and examples of noised texts for the page."""

    table: pa.Table
    examples: list[dict[str, Any]] = field(default_factory=list)


def sample_of(items: pa.Table, most: int, seed: int) -> pa.Table:
    """At most so many rows, by a hash of their ids: the same ones whatever the order."""
    hashes = [
        xxhash.xxh3_64_intdigest(f"{seed}\0{i}".encode()) for i in items["item_id"].to_pylist()
    ]
    return items.take(np.sort(np.argsort(np.array(hashes, np.uint64), kind="stable")[:most]))


def measure(checkpoint: Path, tested: pa.Table, spec: VerticalSpec) -> Measured:
    """ROBUSTNESS of a checkpoint on a sample of the test set.

    Args:
        checkpoint: directory of `finetuned_ckpt`.
        tested: LABELED rows of the test split.
        spec: sections `evaluate.robustness`, `language`, `model.max_tokens`, `seed`, `task`.
    """
    from vertical_assets.evaluation.robustness.fgsm import fgsm_answers
    from vertical_assets.training.answering import predict

    kind, settings = spec.task.kind, spec.evaluate.robustness
    sample = sample_of(tested, settings.items, spec.seed)
    texts, gold = sample["text"].to_pylist(), targets_of(sample, kind)
    questions = sample["question"].to_pylist() if kind == "question_answering" else None
    keys = sample["item_id"].to_pylist()
    marked = gold if kind in SPAN_KINDS else [()] * len(texts)
    alphabet = alphabet_of(texts)
    versions: dict[tuple[str, float], list[Noised]] = {
        (CLEAN, 0.0): [Noised(t, s, 0) for t, s in zip(texts, marked, strict=True)]
    }
    rows, examples = _Rows(spec, sample["cluster_id"].to_pylist()), []
    for name in (*RANDOM, *OF_LANGUAGE.get(spec.language, ())):
        noise = Noise(name, alphabet, spec.seed)
        try:
            for level in settings.levels:
                versions[name, level] = [
                    noise.apply(text, level, key, spans)
                    for text, key, spans in zip(texts, keys, marked, strict=True)
                ]
        except NoiseError as error:
            rows.left_out(name, str(error))
            continue
        examples += [
            {
                "noise": name,
                "level": level,
                "text": texts[n],
                "noised": versions[name, level][n].text,
            }
            for n in range(min(EXAMPLES, len(texts)))
            for level in (0.10, max(settings.levels))
        ]
    flat = [each.text for version in versions.values() for each in version]
    asked = None if questions is None else questions * len(versions)
    answers = predict(checkpoint, flat, spec, asked)
    for number, ((name, level), version) in enumerate(versions.items()):
        said: list[Any] = [
            a.target for a in answers[number * len(texts) : (number + 1) * len(texts)]
        ]
        wanted = [v.spans for v in version] if kind in SPAN_KINDS else gold
        if kind == "question_answering":
            wanted, said = (covered(side, [v.text for v in version]) for side in (wanted, said))
        rows.add(name, level, wanted, said)
    epsilons = (0.0, *settings.epsilons)
    for epsilon, found in zip(
        epsilons, fgsm_answers(checkpoint, texts, gold, spec, epsilons, questions), strict=True
    ):
        given: list[Any] = [answer.target for answer in found]
        wanted = gold
        if kind == "question_answering":
            wanted, given = (covered(side, texts) for side in (gold, given))
        rows.add(FGSM, epsilon, wanted, given)
    return Measured(rows.table(), examples)


class _Rows:
    """Rows of ROBUSTNESS; every score and drop with the bootstrap of the same draws, items of one
    group together.
    """

    def __init__(self, spec: VerticalSpec, groups: Sequence[str]) -> None:
        self.spec, self.items = spec, len(groups)
        self.draws = Draws(groups, spec.seed)
        self.rows: list[dict[str, Any]] = []
        self.whole: dict[str, np.ndarray] = {}  # scores of the untouched texts

    def add(self, attack: str, level: float, gold: Sequence[Any], said: Sequence[Any]) -> None:
        """One attack at one level; the untouched texts, or epsilon 0, come first."""
        kind = self.spec.task.kind
        found = scores_of(kind, gold, said, self.spec.labels, self.draws)
        values = next(
            (s.rounds for s in found if (s.label, s.metric) == ("all", MAIN_METRIC[kind])),
            np.full(self.draws.weights.shape[1], np.nan),  # undefined, e.g. R2 of equal values
        )
        if level == 0:
            self.whole[attack] = values
        drops = self.whole.get(attack, self.whole[CLEAN]) - values
        (low, high), (drop_low, drop_high) = interval(values), interval(drops)
        self.rows.append(
            self._row(attack) | {
                "level": level, "score": float(values[0]), "low": low, "high": high,
                "drop": float(drops[0]), "drop_low": drop_low, "drop_high": drop_high,
            }
        )  # fmt: skip

    def left_out(self, attack: str, why: str) -> None:
        """An attack that is not measured."""
        self.rows.append(self._row(attack) | {"note": why})

    def _row(self, attack: str) -> dict[str, Any]:
        metric = MAIN_METRIC[self.spec.task.kind]
        return {"attack": attack, "metric": metric, "items": self.items}

    def table(self) -> pa.Table:
        return pa.Table.from_pylist(self.rows, ROBUSTNESS)


def gates_of(report: pa.Table, spec: VerticalSpec) -> list[Gate]:
    """The gates of `robustness_report`, from the report as it is stored.

    A gate stops a release where the YAML sets its bar; the specification names none, so that by
    default a drop above the yardstick only warns. What was not measured does not pass.
    """
    settings, title = spec.evaluate.robustness, TITLES[MAIN_METRIC[spec.task.kind]]
    rows = report.to_pylist()

    def gate(
        name: str, attacks: Sequence[str], level: float, bar: float | None, usual: float
    ) -> Gate:
        found = {
            r["attack"]: r["drop"] for r in rows if r["attack"] in attacks and r["level"] == level
        }
        lacking = [a for a in attacks if found.get(a) is None or not np.isfinite(found[a])]
        limit = usual if bar is None else bar
        if lacking:
            notes = [r["note"] for r in rows if r["attack"] in lacking and r["note"]]
            why = "; ".join(notes) or f"{', '.join(lacking)} at {level:g} was not measured"
            return Gate(name, False, bar is not None, None, limit, why)
        worst = max(found, key=lambda attack: found[attack])
        drop = float(found[worst])
        said = "the bar" if bar is not None else "a yardstick that stops no release"
        why = f"{title} falls by {drop:.4f} under {worst} at {level:g}; {said} is {limit:g}"
        return Gate(name, drop <= limit, bar is not None, drop, limit, why)

    level, bar = settings.fgsm_epsilon, settings.max_fgsm_drop
    return [
        gate("noise_drop", RANDOM, 0.10, settings.max_drop, settings.YARDSTICK),
        gate("fgsm_drop", (FGSM,), level, bar, settings.YARDSTICK),
    ]
