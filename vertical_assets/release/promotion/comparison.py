"""The candidate and the champion, artifact against artifact, on the same frozen test set (SPEC O3).

The champion is asked anew, whatever was measured when it was released: only answers to the same
items compare. What it was trained on is left out.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from vertical_assets.evaluation.metrics import report_of, value_of
from vertical_assets.evaluation.names import FINETUNED, INCUMBENT, MAIN_METRIC
from vertical_assets.evaluation.significance import Gain, gain_over
from vertical_assets.labels.splits import TEST, TRAIN, items_of
from vertical_assets.release.artifacts import answers_by, other_standard
from vertical_assets.release.files import DESCRIPTION
from vertical_assets.release.promotion.frozen import frozen_test, leaked
from vertical_assets.spec import VerticalSpec
from vertical_assets.training.predictions import predictions_of


class ComparisonError(Exception):
    """Two models can't be compared; the message says why."""


@dataclass(frozen=True)
class Comparison:
    """The candidate beside the champion and the baselines, all on the same items.

    Attributes:
        report: EVALUATION of the test split; the candidate's artifact is `finetuned` there.
        items: test items that were asked.
        left_out: test items that were not, because the champion was trained on them; None where
            its release does not say what it was trained on.
        metric: what models are compared by.
        ours, theirs: its value, of the candidate and of the champion; NaN without a champion.
        gain: ours over theirs; None without a champion.
    """

    report: pa.Table
    items: int
    left_out: int | None
    metric: str
    ours: float
    theirs: float = math.nan
    gain: Gain | None = None

    @property
    def relative(self) -> float:
        """The gain as a share of the champion's value."""
        if self.gain is None or math.isnan(self.gain.value):
            return math.nan
        return self.gain.value / abs(self.theirs) if self.theirs else math.inf * self.gain.value

    @property
    def relative_interval(self) -> tuple[float | None, float | None]:
        """95 % interval of the gain as a share of the champion's value, which is taken as known."""
        if self.gain is None or self.gain.low is None or self.gain.high is None or not self.theirs:
            return None, None
        return self.gain.low / abs(self.theirs), self.gain.high / abs(self.theirs)


def compare(
    candidate: Path,
    labeled: pa.Table,
    baselines: pa.Table | None,
    spec: VerticalSpec,
    champion: Path | None = None,
    champion_saw: np.ndarray | None = None,
) -> Comparison:
    """Asks the candidate, and the champion where there is one, about the test set.

    Args:
        candidate: directory of an artifact.
        labeled: LABELED.
        baselines: PREDICTIONS of the same items, as the asset `baselines` holds them.
        spec: sections `task`, `seed`.
        champion: directory of the champion's artifact.
        champion_saw: `trained_on` of the champion.

    Raises:
        ComparisonError: the champion answers other labels, no test item is left, or a baseline was
            not asked about all of them.
        DamagedArtifactError: a file of an artifact is not the one that was released.
    """
    kind, tested = spec.task.kind, frozen_test(labeled)
    left_out: int | None = None if champion is not None and champion_saw is None else 0
    if champion is not None:
        changed = other_standard(json.loads((champion / DESCRIPTION).read_text()), spec)
        if changed is not None:
            raise ComparisonError(changed)
    if champion_saw is not None:
        unseen = ~leaked(tested, champion_saw)
        left_out = int((~unseen).sum())
        tested = tested.filter(pa.array(unseen))
    if not len(tested):
        raise ComparisonError(
            "no test item is left to compare on"
            + (f": the champion was trained on all {left_out}" if left_out else "")
        )
    ids = tested["item_id"].to_pylist()
    texts, groups = (
        dict(zip(ids, tested[column].to_pylist(), strict=True)) for column in ("text", "cluster_id")
    )
    answered = answers_table(candidate, tested, spec)
    incumbent = None if champion is None else answers_table(champion, tested, spec)
    try:
        report = report_of(
            answered,
            baselines,
            items_of(labeled, TRAIN).labels,
            spec.labels,
            kind,
            texts,
            groups=groups,
            seed=spec.seed,
            incumbent=incumbent,
        )
    except ValueError as error:  # a baseline of other items
        raise ComparisonError(str(error)) from error
    metric = MAIN_METRIC[kind]
    ours = value_of(report, FINETUNED, TEST, metric)
    if champion is None:
        return Comparison(report, len(tested), left_out, metric, ours)
    theirs = value_of(report, INCUMBENT, TEST, metric)
    gain = gain_over(report, INCUMBENT, TEST, metric)
    return Comparison(report, len(tested), left_out, metric, ours, theirs, gain)


def answers_table(artifact: Path, tested: pa.Table, spec: VerticalSpec) -> pa.Table:
    """PREDICTIONS of an artifact for rows of LABELED."""
    answers = answers_by(artifact, items_of(tested, TEST))
    return predictions_of(
        tested,
        spec.task.kind,
        [each.target for each in answers],
        [each.confidence for each in answers],
    )
