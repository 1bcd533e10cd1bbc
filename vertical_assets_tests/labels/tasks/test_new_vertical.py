"""A vertical without any labels: its build leaves people tasks to begin with."""

import json

from vertical_assets_tests.conftest import Project, reviews, tiny


def test_a_build_that_waits_for_labels_says_what_to_label(project: Project) -> None:
    tasks = {"count": 30, "rules": [{"label": "positive", "pattern": "很好|不错"}]}
    annotation = {"path": "annotations/*", "tasks": tasks}
    first, *_ = tiny()["sources"]
    project.vertical(tiny(annotation=annotation, sources=[first]))
    project.data("tiny", "first.jsonl", reviews(60))
    result = project.command("build", "tiny")
    assert result.returncode == 1, result.stdout + result.stderr
    said = " ".join(result.stdout.split())
    assert "there is no batch of labels yet" in said
    assert "out of date again" not in said
    lines = project.root / "data" / "tiny" / "labeling_tasks" / "tasks.jsonl"
    found = [json.loads(line) for line in lines.read_text("utf-8").splitlines()]
    assert len(found) == 30
    assert any(row["predictions"] for row in found)
    assert not (project.root / "data" / "store" / "tiny" / "labeled_set").exists()
    (state,) = [
        line
        for line in project.command("status", "tiny").stdout.splitlines()
        if "labeling_tasks" in line
    ]
    assert "in sync" in state  # nothing new to say
