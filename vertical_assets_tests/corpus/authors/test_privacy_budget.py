"""The budget: every release is paid once, whoever asks, and nothing is released on credit."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vertical_assets.corpus.authors.privacy_budget import BudgetExhaustedError, Ledger, composed
from vertical_assets_tests.conftest import ROOT

epsilons = st.lists(st.floats(1e-3, 2.0), max_size=50)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.jsonl", epsilon=1.0)


def ask(
    ledger: Ledger, name: str, epsilon: float, version: str = "v1", value: float = 0.0
) -> float:
    query = {"statistic": name, "epsilon": epsilon}
    return float(ledger.answer(query, version, epsilon, lambda: [{"value": value}])[0]["value"])


def test_the_same_question_to_the_same_data_is_paid_once(ledger: Ledger) -> None:
    assert ask(ledger, "count", 0.4, value=1.5) == 1.5
    written = ledger.path.read_bytes()
    assert ask(ledger, "count", 0.4, value=99.0) == 1.5
    assert ledger.path.read_bytes() == written
    assert ledger.spent() == 0.4


def test_another_question_other_data_and_another_price_are_new_releases(ledger: Ledger) -> None:
    ask(ledger, "count", 0.1)
    ask(ledger, "mean", 0.1)
    ask(ledger, "count", 0.2)
    ask(ledger, "count", 0.1, "v2")
    assert ledger.spent() == pytest.approx(0.5)
    assert ledger.left() == pytest.approx(0.5)
    assert [entry["version"] for entry in ledger.entries()] == ["v1", "v1", "v1", "v2"]


def test_a_release_that_is_too_dear_is_refused_and_the_error_names_what_is_left(
    ledger: Ledger,
) -> None:
    ask(ledger, "count", 0.75)
    with pytest.raises(BudgetExhaustedError, match=r"0\.25 of 1 is left after 1 release"):
        ask(ledger, "mean", 0.3)
    assert ledger.spent() == 0.75
    ask(ledger, "mean", 0.25)
    assert ask(ledger, "count", 0.75) == 0.0  # what was released stays there for the asking


def test_ten_tenths_are_one(ledger: Ledger) -> None:
    for number in range(10):
        ask(ledger, f"query {number}", 0.1)
    with pytest.raises(BudgetExhaustedError):
        ask(ledger, "one more", 0.1)


def test_many_small_releases_cost_less_than_their_sum(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl", epsilon=1.0, delta=1e-5)
    price, paid = 0.02, 0
    while ledger.left() >= price:
        ask(ledger, f"query {paid}", price)
        paid += 1
    # Half of n e^2 plus the root of 2 n e^2 ln(1 / delta) is 1 at n = 104.1; the sum is 1 at
    # n = 50.
    assert paid == 104


@settings(max_examples=40)
@given(epsilons=epsilons)
def test_composition_is_no_better_than_opendp_allows(epsilons: list[float]) -> None:
    from opendp.combinators import make_zCDP_to_approxDP
    from opendp.domains import atom_domain
    from opendp.measurements import make_gaussian
    from opendp.metrics import absolute_distance
    from opendp.mod import enable_features

    enable_features("contrib")
    together = composed(epsilons, 1e-5)
    assert together <= math.fsum(epsilons)
    if together < math.fsum(epsilons):
        rho = math.fsum(epsilon**2 for epsilon in epsilons) / 2
        # A Gaussian mechanism of the same rho: its curve is the tightest known for rho.
        space = atom_domain(T="i64"), absolute_distance(T="f64")
        gaussian = make_gaussian(*space, scale=math.sqrt(1 / (2 * rho)))
        assert together >= make_zCDP_to_approxDP(gaussian).map(1.0).epsilon(delta=1e-5)


@settings(max_examples=40)
@given(epsilons=epsilons, budget=st.floats(0.1, 5.0))
def test_what_is_left_is_what_composes_to_the_budget(
    epsilons: list[float], budget: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("ledger") / "ledger.jsonl"
    path.write_text("".join(json.dumps({"epsilon": epsilon}) + "\n" for epsilon in epsilons))
    left = Ledger(path, budget).left()
    if left > 0:
        assert composed([*epsilons, left], 1e-5) == pytest.approx(budget)
    else:
        assert composed(epsilons, 1e-5) >= budget * (1 - 1e-9)


def test_processes_share_one_account(ledger: Ledger) -> None:
    script = f"""
import sys
from pathlib import Path
from vertical_assets.corpus.authors.privacy_budget import BudgetExhaustedError, Ledger
ledger = Ledger(Path({str(ledger.path)!r}), epsilon=1.0)
refused = 0
for number in range(10):
    try:
        ledger.answer({{"by": sys.argv[1], "n": number}}, "v", 0.1, lambda: [])
    except BudgetExhaustedError:
        refused += 1
print(refused)
"""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, name], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        for name in "abc"
    ]
    refused = [int(process.communicate(timeout=60)[0]) for process in processes]
    assert sum(refused) == 20
    assert len(ledger.entries()) == 10
    assert ledger.spent() == pytest.approx(1.0)


def test_a_damaged_ledger_pays_nothing(ledger: Ledger) -> None:
    ask(ledger, "count", 0.1)
    with ledger.path.open("a") as file:
        file.write('{"id": "cut o')
    with pytest.raises(ValueError, match=r"ledger\.jsonl:2 .* restore the file"):
        ask(ledger, "mean", 0.1)


def test_what_cannot_be_measured_is_not_paid(ledger: Ledger) -> None:
    with pytest.raises(ZeroDivisionError):
        ledger.answer({}, "v", 0.1, lambda: [{"value": 1 / 0}])
    assert ledger.spent() == 0.0
