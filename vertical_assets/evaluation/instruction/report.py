"""Runs a model's answers to tasks, and says from the rows what they are worth (SPEC E3)."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from vertical_assets.evaluation.instruction.pass_at_k import PassAtK, pass_rates
from vertical_assets.evaluation.instruction.sandbox import (
    Limits,
    Verdict,
    run_answer,
    run_program,
)
from vertical_assets.evaluation.instruction.tasks import Task
from vertical_assets.spec import VerticalSpec
from vertical_assets.spec.evaluation import Instruction
from vertical_assets.store.contracts import INSTRUCTION
from vertical_assets.store.gates import Gate

REFERENCES, SCORE = "references_pass", "pass_at_1"
Answers = Callable[[Sequence[str], Sequence[int]], Sequence[tuple[str, bool]]]


@dataclass(frozen=True)
class Ran:
    """What came out.

    Attributes:
        table: INSTRUCTION; the same answers give the same rows.
        seconds: of each row; these differ from run to run.
        held: the sandbox's protections.
    """

    table: pa.Table
    seconds: list[float]
    held: dict[str, str]


def limits_of(spec: VerticalSpec) -> Limits:
    """The sandbox's limits, by the section `evaluate.instruction`."""
    settings = _settings(spec)
    return Limits(
        timeout_s=settings.timeout_s,
        memory_mb=settings.memory_mb,
        output_kb=settings.output_kb,
        allow_unprotected=settings.allow_unprotected,
    )


def verdict_on(task: Task, program: str, limits: Limits) -> Verdict:
    """Whether a program, or the text of an answer, passes the task's test."""
    if not task.is_code:
        return run_answer(program, test=task.test, limits=limits)
    return run_program(
        program,
        reference=task.reference,
        entry_point=task.entry_point,
        test=task.test,
        limits=limits,
    )


def run_tasks(tasks: Sequence[Task], answers: Answers, spec: VerticalSpec) -> Ran:
    """Every task's reference, then `evaluate.instruction.samples` answers to its prompt.

    Args:
        tasks: of a task file.
        answers: of (prompts, their seeds) makes answers, and whether each ended by itself.
        spec: sections `evaluate.instruction` and `seed`.

    Raises:
        SandboxError: there is no sandbox here.
    """
    asked = [(task, sample) for task in tasks for sample in range(_settings(spec).samples)]
    answered = answers(
        [task.prompt for task, _ in asked], [spec.seed + sample for _, sample in asked]
    )
    jobs: list[tuple[Task, int | None, str, bool | None, str]] = [
        (task, None, task.canonical_solution, None, task.reference) for task in tasks
    ]
    for (task, sample), (answer, finished) in zip(asked, answered, strict=True):
        jobs.append((task, sample, answer, finished, task.program(answer)))
    limits = limits_of(spec)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        verdicts = list(pool.map(lambda job: verdict_on(job[0], job[4], limits), jobs))
    rows = [
        {
            "task_id": task.task_id,
            "kind": "code" if task.is_code else "text",
            "sample": sample,
            "passed": verdict.passed,
            "error": verdict.error,
            "answer": answer,
            "finished": finished,
        }
        for (task, sample, answer, finished, _), verdict in zip(jobs, verdicts, strict=True)
    ]
    return Ran(
        pa.Table.from_pylist(rows, INSTRUCTION),
        [verdict.seconds for verdict in verdicts],
        verdicts[0].held,
    )


def by_task(report: pa.Table) -> list[dict[str, Any]]:
    """A row a task: how many samples passed, and what the first that did not was told."""
    found: dict[str, dict[str, Any]] = {}
    for row in report.to_pylist():
        if row["sample"] is None:
            continue
        task = found.setdefault(
            row["task_id"],
            {"task": row["task_id"], "kind": row["kind"], "passed": 0, "samples": 0, "error": None},
        )
        task["samples"] += 1
        task["passed"] += row["passed"]
        task["error"] = task["error"] or row["error"]
    return list(found.values())


def scores_of(report: pa.Table, spec: VerticalSpec) -> list[PassAtK]:
    """pass@k for every `evaluate.instruction.k`, and for 1."""
    counts = [(row["samples"], row["passed"]) for row in by_task(report)]
    return pass_rates(counts, sorted({1, *_settings(spec).k}), spec.seed)


def gates_of(report: pa.Table, spec: VerticalSpec) -> list[Gate]:
    """The verdicts that the rows give.

    Args:
        report: INSTRUCTION.
        spec: sections `evaluate.instruction` and `seed`.
    """
    references = [row for row in report.to_pylist() if row["sample"] is None]
    broken = [f"{row['task_id']} ({row['error']})" for row in references if not row["passed"]]
    score, bar = scores_of(report, spec)[0], _settings(spec).pass_at_1
    return [
        Gate(
            REFERENCES,
            not broken,
            True,
            float(len(references) - len(broken)),
            float(len(references)),
            f"{len(references) - len(broken)} of {len(references)} canonical solutions pass"
            + (f"; mend or remove {'; '.join(broken[:5])}" if broken else ""),
        ),
        Gate(
            SCORE,
            bar is None or score.value >= bar,
            bar is not None,
            score.value,
            bar,
            f"pass@1 {score.value:.4f} (95 % interval {score.low:.4f}..{score.high:.4f}), "
            + ("no bar is set" if bar is None else f"bar {bar}"),
        ),
    ]


def _settings(spec: VerticalSpec) -> Instruction:
    assert spec.evaluate.instruction is not None
    return spec.evaluate.instruction
