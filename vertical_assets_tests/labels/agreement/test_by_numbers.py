"""Agreement on numbers: published values, pairs, and one annotator against the rest."""

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from vertical_assets.labels.agreement import agreement_report, alpha_of
from vertical_assets.spec import VerticalSpec
from vertical_assets_tests.conftest import shared_data, tiny
from vertical_assets_tests.labels.agreement.test_by_sums import said
from vertical_assets_tests.labels.agreement.test_report import value


def spec_of(level: str | None) -> VerticalSpec:
    task: dict[str, Any] = {"name": "t", "kind": "regression", "level": level, "range": [0, 1e6]}
    return VerticalSpec(**tiny(task=task, agreement={"bootstrap": 200}))


def test_published_examples_have_their_published_alpha() -> None:
    examples = json.loads((shared_data("krippendorff_examples") / "examples.json").read_text())
    seen = []
    for example in examples:
        for level, published in example["alpha"].items():
            if level == "nominal":
                continue
            rows = [
                (str(unit), f"coder {coder}", float(number))
                for coder, line in enumerate(example["rows"])
                for unit, number in enumerate(line)
                if number is not None
            ]
            found, low, high = alpha_of(said("regression", rows), spec_of(level))
            assert found == pytest.approx(published, abs=5e-4), (example["name"], level)
            assert found is not None
            assert low is not None
            assert high is not None
            assert low < found < high
            seen.append(level)
    assert sorted(seen) == ["interval", "interval", "ordinal", "ratio"]


RATED = {"ann": [1.0, 5.0, 9.0, 2.0], "bob": [1.5, 5.0, 8.0, 2.0], "cy": [1.5, 5.0, 8.0, 2.0]}


def rated(people: str) -> pa.Table:
    rows = [(str(n), who, v) for who in people.split() for n, v in enumerate(RATED[who])]
    return said("regression", rows)


@pytest.mark.parametrize("level", ["ordinal", "interval", "ratio"])
def test_pairs_and_annotators_are_what_their_own_numbers_say(level: str) -> None:
    report = agreement_report(rated("ann bob cy"), spec_of(level))
    alone = alpha_of(rated("ann bob"), spec_of(level))[0]
    assert value(report, "pair", "ann | bob") == pytest.approx(alone)
    # bob and cy say the same, so that ann differs from either as much as from both.
    assert value(report, "annotator", "ann") == pytest.approx(alone)
    assert value(report, "pair", "bob | cy") == 1.0
    assert {r["items"] for r in report.to_pylist()} == {4}


def test_the_level_is_interval_where_nothing_is_said() -> None:
    assert alpha_of(rated("ann bob"), spec_of(None)) == alpha_of(
        rated("ann bob"), spec_of("interval")
    )


def test_an_outlier_leaves_the_others_figures_exact() -> None:
    """0.1 + 0.2 and 0.3 are equal beside a million."""
    numbers = [0.1 + 0.2, 0.3, 1e6, 1e6, 0.3, 0.3]
    rows = [(str(n // 2), "ann" if n % 2 else "bob", v) for n, v in enumerate(numbers)]
    found, _, _ = alpha_of(said("regression", rows), spec_of("interval"))
    assert found == pytest.approx(1.0, abs=1e-12)


def test_items_that_one_annotator_saw_prove_nothing() -> None:
    report = agreement_report(said("regression", [("1", "a", 3.0)]), spec_of("interval"))
    assert set(report["value"].to_pylist()) == {None}
    assert np.isnan(np.array(report["low"].to_pylist(), np.float64)).all()
