"""From answers to rows, scores and verdicts; the shipped tasks."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from upath import UPath

from vertical_assets.evaluation.instruction.report import (
    by_task,
    gates_of,
    limits_of,
    run_tasks,
    scores_of,
    verdict_on,
)
from vertical_assets.evaluation.instruction.tasks import Task, read_tasks
from vertical_assets.spec import VerticalSpec
from vertical_assets_tests.conftest import tiny, tiny_generation

pytestmark = pytest.mark.usefixtures("confined")

SHIPPED = Path(__file__).parents[3] / "data" / "education" / "instruction_tasks.jsonl"
TASKS = [
    Task(
        task_id="double",
        prompt='def double(x):\n    """Twice x."""\n',
        entry_point="double",
        canonical_solution="    return 2 * x\n",
        test="def check(candidate):\n    assert candidate(4) == 8\n",
    ),
    Task(
        task_id="capital",
        prompt="The capital of France?",
        entry_point="",
        canonical_solution="Paris",
        test="def check(answer):\n    assert 'Paris' in answer\n",
    ),
]


def spec_with(**instruction: Any) -> VerticalSpec:
    settings = {"path": "tasks.jsonl", "samples": 3, "k": [1, 3], **instruction}
    return VerticalSpec(**tiny_generation(evaluate={"instruction": settings}))


def answers(prompts: Sequence[str], seeds: Sequence[int]) -> list[tuple[str, bool]]:
    """Of each prompt's three, the first is right; to France, all are."""
    first = min(seeds)
    return [
        ("Paris" if "France" in prompt else "return 2 * x" if seed == first else "return x", True)
        for prompt, seed in zip(prompts, seeds, strict=True)
    ]


def test_rows_scores_and_gates() -> None:
    spec = spec_with()
    ran = run_tasks(TASKS, answers, spec)
    assert len(ran.seconds) == ran.table.num_rows == 2 * (1 + 3)
    assert by_task(ran.table) == [
        {
            "task": "double",
            "kind": "code",
            "passed": 1,
            "samples": 3,
            "error": "AssertionError in `assert candidate(4) == 8`",
        },
        {"task": "capital", "kind": "text", "passed": 3, "samples": 3, "error": None},
    ]
    one, three = scores_of(ran.table, spec)
    assert one.value == pytest.approx((1 / 3 + 1) / 2)
    assert three.value == 1.0
    references, score = gates_of(ran.table, spec)
    assert references.passed
    assert references.blocking
    assert score.passed
    assert not score.blocking  # the specification has no bar
    assert not gates_of(ran.table, spec_with(pass_at_1=0.7))[1].passed
    assert gates_of(ran.table, spec_with(pass_at_1=0.7))[1].blocking


def test_a_task_whose_own_solution_fails_is_named() -> None:
    broken = TASKS[0].model_copy(update={"canonical_solution": "    return x\n"})
    spec = spec_with(samples=1, k=[1])
    references, _ = gates_of(run_tasks([broken, TASKS[1]], answers, spec).table, spec)
    assert not references.passed
    assert "double (AssertionError" in references.why


def test_shipped_tasks_know_right_from_wrong() -> None:
    file = read_tasks(UPath(SHIPPED))
    assert len(file.tasks) == 12
    assert not file.rejected

    def wrong(prompts: Sequence[str], seeds: Sequence[int]) -> list[tuple[str, bool]]:
        return [("return None", True) for _ in prompts]

    table: pa.Table = run_tasks(file.tasks, wrong, spec_with(samples=1, k=[1])).table
    for row in table.to_pylist():
        assert row["passed"] == (row["sample"] is None), row
    half = file.tasks[0].program("return numbers[0]")  # right for no example but by accident
    assert not verdict_on(file.tasks[0], half, limits_of(spec_with())).passed


@pytest.mark.parametrize(
    ("instruction", "said"),
    [
        ({"k": [1, 4]}, "k has 4, but there are 3 samples"),
        ({"temperature": 0}, "all 3 samples are the same"),
        ({"timeout": 3}, "timeout"),
    ],
)
def test_mistakes_in_the_settings_are_named(instruction: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        spec_with(**instruction)


def test_only_decoders_are_put_to_tasks() -> None:
    with pytest.raises(ValueError, match=r"evaluate\.instruction puts tasks to a decoder"):
        VerticalSpec(**tiny(evaluate={"instruction": {"path": "tasks.jsonl"}}))
