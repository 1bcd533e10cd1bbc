"""Task files: what is wrong with a line is said, and what of an answer is run."""

import json
from pathlib import Path
from typing import Any

import pytest
from upath import UPath

from vertical_assets.evaluation.instruction.tasks import (
    Task,
    TaskFileError,
    read_tasks,
    task_fingerprint,
)

PROMPT = 'import math\n\n\ndef area(radius):\n    """Area of a circle."""\n'
TASK = {
    "task_id": "geometry/0",
    "prompt": PROMPT,
    "entry_point": "area",
    "canonical_solution": "    return math.pi * radius**2\n",
    "test": "METADATA = {}\n\n\ndef check(candidate):\n    assert 3.14 < candidate(1) < 3.15\n",
}


def file_of(folder: Path, *lines: dict[str, Any] | str) -> UPath:
    text = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path = folder / "tasks.jsonl"
    path.write_text("\n".join(text), "utf-8")
    return UPath(path)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"prompt": None}, "field 'prompt'"),
        ({"task_id": 7}, "field 'task_id'"),
        ({"canonical_solution": ""}, "field 'canonical_solution'"),
        ({"test": "def verify(x): pass"}, "field 'test' defines no function 'check'"),
        ({"test": "def check(x) pass"}, "field 'test' is no Python"),
        ({"entry_point": "volume"}, "field 'entry_point' names 'volume'"),
        ({"canonical_solution": "  return 1\n"}, "'prompt' + 'canonical_solution' is no Python"),
        ({"task_id": "geometry/0"}, "'geometry/0' came before"),
    ],
)
def test_a_line_that_is_no_task_is_set_apart(
    tmp_path: Path, wrong: dict[str, Any], said: str
) -> None:
    read = read_tasks(file_of(tmp_path, TASK, "", {**TASK, "task_id": "geometry/1", **wrong}))
    assert [task.task_id for task in read.tasks] == ["geometry/0"]
    (rejected,) = read.rejected
    assert rejected.line == 3
    assert said in rejected.reason


def test_further_fields_are_ignored_and_missing_ones_named(tmp_path: Path) -> None:
    without = {key: value for key, value in TASK.items() if key != "test"}
    read = read_tasks(file_of(tmp_path, {**TASK, "difficulty": 3}, without, "{"))
    assert len(read.tasks) == 1
    assert [(each.line, each.reason.split(":")[0]) for each in read.rejected] == [
        (2, "field 'test'"),
        (3, "no JSON"),
    ]


def test_a_file_without_tasks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TaskFileError, match=r"has no task \(line 1: no JSON"):
        read_tasks(file_of(tmp_path, "nothing"))
    missing = UPath(tmp_path / "absent.jsonl")
    with pytest.raises(TaskFileError, match=r"absent\.jsonl can't be read"):
        read_tasks(missing)
    assert task_fingerprint(missing) == "missing"


@pytest.mark.parametrize(
    "answer",
    [
        TASK["canonical_solution"],
        "return math.pi * radius**2",  # its indentation is lost at the edge of an answer
        "square = radius * radius\n    return math.pi * square",
        "    return math.pi * radius**2\n\nprint(area(2))\ndef unfinished(",
        "Here it is:\n```python\ndef area(radius):\n    return math.pi * radius**2\n```\nDone.",
        "```\nfrom math import pi\n\n\ndef area(radius):\n    return pi * radius**2",
        "def area(radius):\n    return math.pi * radius**2",
    ],
)
def test_answers_become_programs(answer: str) -> None:
    names: dict[str, Any] = {}
    exec(Task.model_validate(TASK).program(answer), names)
    assert names["area"](2) == pytest.approx(12.566, abs=1e-3)


def test_a_text_task_is_given_the_answer_as_it_is() -> None:
    task = Task.model_validate({**TASK, "entry_point": "", "prompt": "How many?"})
    assert not task.is_code
    assert task.program("```\n3\n```") == "```\n3\n```"
