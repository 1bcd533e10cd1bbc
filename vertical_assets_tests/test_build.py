"""`vertical-assets build` and `status`, as a user runs them, on a real Dagster instance."""

import json
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pyarrow.parquet as pq

from vertical_assets.defs.resources import defs as resources
from vertical_assets.spec import VerticalSpec
from vertical_assets.vertical import build_definitions
from vertical_assets_tests.conftest import Project, reviews, shared_data, succeeded, tiny

STALE_QUERY = """{
  assetNodes { assetKey { path } staleStatus partitionKeys }
  raw: assetNodeOrError(assetKey: {path: ["tiny", "raw_corpus"]}) {
    ... on AssetNode {
      first: staleStatus(partition: "first")
      second: staleStatus(partition: "second")
    }
  }
}"""


def state_of(output: str) -> dict[str, str]:
    """asset -> state, from a printed table."""
    rows = (line.split("│") for line in output.splitlines() if line.startswith("│"))
    return {row[1].strip(): row[2].strip() for row in rows if row[1].strip()}


def not_up_to_date(project: Project) -> set[str]:
    result = succeeded(project.command("status", "tiny"))
    return {name for name, state in state_of(result.stdout).items() if state != "in sync"}


def built_now(output: str) -> set[str]:
    return {name for name, state in state_of(output).items() if state in ("built", "same content")}


@contextmanager
def instance_of(project: Project) -> Iterator[dg.DagsterInstance]:
    """The project's own instance; its storage is relative to the project's root."""
    before = Path.cwd()
    os.chdir(project.root)
    try:
        with dg.DagsterInstance.from_config(str(project.root)) as instance:
            yield instance
    finally:
        os.chdir(before)


def stale_in_graphql(project: Project) -> set[str]:
    """What the UI shows as unsynced: the answer of its GraphQL schema, in the form of `status`."""
    asked = ("-m", "vertical_assets.definitions", "-a", "defs", "-t", STALE_QUERY)
    result = succeeded(project.command(*asked, script="dagster_graphql.cli:main"))
    # The command ends its answer with a note of its own.
    answer, _ = json.JSONDecoder().raw_decode(result.stdout[result.stdout.index("{") :])
    data = answer["data"]
    found = {
        node["assetKey"]["path"][-1]: node["staleStatus"]
        for node in data["assetNodes"]
        if not node["partitionKeys"]
    }
    found |= {f"raw_corpus:{source}": data["raw"][source] for source in ("first", "second")}
    return {name for name, status in found.items() if status != "FRESH"}


def test_a_first_build_makes_everything_and_evaluates_every_check(built: Project) -> None:
    assert not_up_to_date(built) == set()
    with instance_of(built) as instance:
        runs = instance.get_runs()
        assert {run.status for run in runs} == {dg.DagsterRunStatus.SUCCESS}
        checks = {
            (event.asset_key.path[-1], event.check_name)
            for run in runs
            for record in instance.all_logs(
                run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION
            )
            if record.dagster_event and (event := record.dagster_event.asset_check_evaluation_data)
        }
    definitions = dg.Definitions.merge(build_definitions(VerticalSpec(**tiny())), resources())
    declared = definitions.resolve_asset_graph().asset_check_keys
    months = {"monthly_review"}  # a schedule begins them
    assert checks == {
        (key.asset_key.path[-1], key.name)
        for key in declared
        if key.asset_key.path[-1] not in months
    }


def test_no_row_is_lost_on_the_way(built: Project) -> None:
    def rows(asset: str) -> int:
        folder = built.root / "data" / "store" / "tiny" / asset
        return sum(pq.read_metadata(file).num_rows for file in folder.rglob("*.parquet"))

    assert rows("raw_corpus") == rows("valid_corpus") + rows("quarantine") == 400
    assert rows("valid_corpus") == rows("clean_corpus")
    assert rows("clean_corpus") == rows("dedup_corpus") + rows("duplicates")
    assert rows("dedup_corpus") == rows("labeled_set") + rows("adjudication_queue")
    assert rows("annotations") == 3 * rows("dedup_corpus")  # three simulated annotators


def test_a_second_build_materializes_nothing_and_says_so(built: Project) -> None:
    result = built.build()
    assert "everything is up to date, nothing was materialized" in result.stdout
    assert set(state_of(result.stdout).values()) == {"up to date"}


def test_mlflow_runs_are_tagged_and_finished(built: Project) -> None:
    with sqlite3.connect(built.root / "data" / "mlflow.db") as database:
        statuses = {status for (status,) in database.execute("select status from runs")}
        tags = database.execute("select key, value from tags").fetchall()
        parameters = {key for (key,) in database.execute("select distinct key from params")}
    assert statuses == {"FINISHED"}
    assert {("vertical", "tiny"), ("asset", "finetuned_ckpt"), ("asset", "pretrained_ckpt")} <= set(
        tags
    )
    assert any(key == "dagster_run_id" for key, _ in tags)
    assert "finetune.learning_rate" in parameters


def test_editing_the_learning_rate_rebuilds_the_classifier_and_what_depends_on_it(
    copy_of_built: Project,
) -> None:
    changed = tiny()
    changed["finetune"]["learning_rate"] = 0.0019
    copy_of_built.vertical(changed)
    assert not_up_to_date(copy_of_built) == {"finetuned_ckpt"}
    assert stale_in_graphql(copy_of_built) == {"finetuned_ckpt"}
    result = copy_of_built.build()
    assert built_now(result.stdout) == {
        "finetuned_ckpt",
        "predictions",
        "eval_report",
        "slices",
        "errors",
        "relabel_queue",
        "error_report",
        "robustness_report",
        "quantized_artifact",
        "release",
        "prelabels",
        "labeling_tasks",
    }
    assert "configuration or code changed" in result.stdout
    assert not_up_to_date(copy_of_built) == stale_in_graphql(copy_of_built) == set()


def test_an_edit_that_deduplication_undoes_stops_there(copy_of_built: Project) -> None:
    """A copy of a document that another source has: the deduplicated content stays the same."""
    rows = reviews(400)
    copy_of_built.data("tiny", "second.jsonl", [*rows[1::2], {**rows[0], "id": "zz-copy"}])
    result = copy_of_built.build()
    kept = pq.read_table(copy_of_built.current("dedup_corpus"), columns=["text"])
    assert len(set(kept["text"].to_pylist())) == kept.num_rows <= len(rows)
    built = built_now(result.stdout)
    assert {"raw_corpus:second", "valid_corpus", "dedup_corpus"} <= built
    assert "finetuned_ckpt" not in built
    assert "pretrained_ckpt" not in built


def test_labels_below_the_bar_stop_the_build_before_training(
    copy_of_built: Project,
) -> None:
    """PubMedQA's two annotators agree at alpha 0.46: nothing is trained, nothing old changes."""
    items = json.loads((shared_data("pubmedqa") / "ori_pqal.json").read_text())
    chosen = list(items.items())
    project = copy_of_built
    project.data("papers", "docs.jsonl", [{"id": k, "text": v["QUESTION"]} for k, v in chosen])
    project.data(
        "papers",
        "labels/two_people.jsonl",
        [
            {"source": "docs", "id": k, "annotator_id": who, "label": v[f"{who}_pred"]}
            for k, v in chosen
            for who in ("reasoning_required", "reasoning_free")
        ],
    )
    project.vertical(
        tiny(
            name="papers",
            language="en",
            sources=[{"name": "docs", "kind": "public", "licence": "MIT", "path": "docs.jsonl"}],
            task={"name": "answer", "labels": {"yes": "y", "no": "n", "maybe": "m"}},
            annotation={"path": "labels/*.jsonl"},
        )
    )
    released = project.current("quantized_artifact").stat().st_mtime_ns
    for _ in range(2):  # the gate stays closed, also for a later build
        result = project.command("build", "papers")
        assert result.returncode == 1
        words = " ".join(result.stdout.split())
        assert "Krippendorff's alpha 0.45" in words
        assert "is below the bar of 0.85: nothing is trained on these labels" in words
        states = state_of(result.stdout)
        assert states["labeled_set"] == states["finetuned_ckpt"] == "blocked"
        assert states["annotations:two_people"] in ("built", "up to date")
        assert states["adjudication_queue"] in ("built", "up to date")
    store = project.root / "data" / "store" / "papers"
    assert not (store / "finetuned_ckpt").exists()
    assert project.current("quantized_artifact").stat().st_mtime_ns == released


def test_a_run_that_can_not_begin_stops_the_build_with_the_reason(copy_of_built: Project) -> None:
    changed = tiny()
    changed["finetune"]["learning_rate"] = 0.0019
    copy_of_built.vertical(changed)
    nowhere = {"MLFLOW_TRACKING_URI": "nowhere://", "VERTICAL_STEPS": "1"}
    result = copy_of_built.command("build", "tiny", **nowhere)
    assert result.returncode == 1
    words = " ".join(result.stdout.split())
    assert re.search(r"stopped: Initialization of resources \[.*\bmlflow\b.*\] failed", words)
    assert "nowhere://" in words


def test_a_source_that_gives_nothing_stops_with_its_name(project: Project) -> None:
    project.vertical(tiny())
    project.data("tiny", "first.jsonl", reviews(40))
    project.data("tiny", "second.jsonl", b"")
    result = project.command("build", "tiny")
    assert result.returncode == 1
    says = "source 'second' gave no document: second.jsonl: the file has no bytes"
    assert says in " ".join(result.stdout.split())
    states = state_of(result.stdout)
    assert states["raw_corpus:first"] == "built"
    assert states["raw_corpus:second"] == "failed"
    assert states["valid_corpus"] == "blocked"


def test_an_unknown_vertical_is_answered_with_those_there_are(built: Project) -> None:
    result = built.command("build", "tinny")
    assert result.returncode == 1
    assert "there is no vertical 'tinny'; there are: tiny" in result.stderr
