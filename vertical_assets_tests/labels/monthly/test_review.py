"""A month's review: blind tasks go out, answers of other people come back, alpha is theirs."""

import csv
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import krippendorff
import numpy as np
import pyarrow as pa
import pytest

from vertical_assets import alerts, automation
from vertical_assets.defs.resources import defs as resources
from vertical_assets.labels.batches.automation import batches_of
from vertical_assets.labels.monthly.assets import build_assets
from vertical_assets.labels.monthly.automation import review_sensor
from vertical_assets.labels.monthly.review import review_fingerprints
from vertical_assets.spec import VerticalSpec
from vertical_assets.store import Table, store_root
from vertical_assets.store.contracts import ANNOTATIONS, DEDUP_DOCUMENTS, DUPLICATES
from vertical_assets.store.io_managers import DATA_VERSION_TAG, StoreIOManager
from vertical_assets.store.tables import stage_table
from vertical_assets.store.versions import commit, current
from vertical_assets.vertical import build_definitions
from vertical_assets_tests.conftest import tiny, tiny_generation
from vertical_assets_tests.labels.tasks.items import documents, spec_of

MONTH = "2024-03"
LABELS = ("negative", "positive")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("VERTICAL_STORE", "VERTICAL_DATA", alerts.WEBHOOK):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def put(spec: VerticalSpec, count: int = 60, *, values: bool = False) -> None:
    """Anna and Ben labelled 30 documents each in March; as numbers, with 50."""
    found = documents(count)
    said = pa.Table.from_pylist(
        [
            {
                "item_id": item,
                "task": "sentiment",
                "annotator_id": "anna" if row < count // 2 else "ben",
                "annotator_kind": "human",
                **({"value": 50.0} if values else {"label": LABELS[row % 2]}),
                "batch": "march",
                "created_at": f"{MONTH}-{row % 28 + 1:02}T10:00:00Z",
            }
            for row, item in enumerate(found["doc_id"].to_pylist())
        ],
        ANNOTATIONS,
    )
    for name, table, schema in (
        ("dedup_corpus", found, DEDUP_DOCUMENTS),
        ("annotations", said, ANNOTATIONS),
        ("duplicates", DUPLICATES.empty_table(), DUPLICATES),
    ):
        commit(
            stage_table(store_root(), schema, table.to_batches()), store_root() / spec.name / name
        )


def materialize(
    spec: VerticalSpec, instance: dg.DagsterInstance, month: str = MONTH
) -> tuple[dict[str, Any], dict[str, dg.AssetCheckEvaluation]]:
    """Metadata of a month's review, and its checks."""
    above = [dg.AssetSpec([spec.name, n]) for n in ("annotations", "dedup_corpus", "duplicates")]
    result = dg.materialize(
        [*build_assets(spec, "labels"), *above],
        resources={"io_manager": StoreIOManager()},
        instance=instance,
        partition_key=month,
    )
    (event,) = result.get_asset_materialization_events()
    page = {name: value.value for name, value in event.materialization.metadata.items()}
    return page, {each.check_name: each for each in result.get_asset_check_evaluations()}


def tasks(place: Path) -> list[dict[str, Any]]:
    lines = place / "data" / "tiny" / "reviews" / MONTH / "tasks.jsonl"
    return [json.loads(line) for line in lines.read_text("utf-8").splitlines()]


def answer(place: Path, rows: list[dict[str, Any]], name: str = "answers.jsonl") -> None:
    file = place / "data" / "tiny" / "reviews" / MONTH / name
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows), "utf-8")


def gold(item: str) -> str:
    return LABELS[int(item[1:]) % 2]


def table(spec: VerticalSpec) -> list[dict[str, Any]]:
    return Table((current(store_root() / spec.name / "monthly_review" / MONTH),)).read().to_pylist()


def test_tasks_go_out_blind_to_a_second_annotator(place: Path) -> None:
    spec = spec_of()
    put(spec)
    with dg.DagsterInstance.ephemeral() as instance:
        page, checks = materialize(spec, instance)
    assert (page["items_of_the_month"], page["drawn"], page["waiting"]) == (60, 6, 6)
    assert all(each.passed for each in checks.values())
    assert "so there is no alpha yet" in str(checks["monthly_alpha"].description)
    rows = tasks(place)
    assert sorted(row["not_by"] for row in rows) == [["anna"]] * 3 + [["ben"]] * 3
    assert not any("label" in row or "negative" in json.dumps(row) for row in rows)
    with (place / "data/tiny/reviews" / MONTH / "tasks.csv").open(encoding="utf-8-sig") as file:
        cells = list(csv.DictReader(file))
    assert [row["item_id"] for row in cells] == [row["item_id"] for row in rows]
    assert {row["label"] for row in cells} == {""}
    assert {row["state"] for row in table(spec)} == {"waiting"}


def test_answers_make_the_months_alpha_and_a_low_one_an_alert(place: Path) -> None:
    spec = spec_of(annotation={"review": {"share": 0.5}})
    put(spec)
    with dg.DagsterInstance.ephemeral() as instance:
        materialize(spec, instance)
        items = [row["item_id"] for row in tasks(place)]
        right = [{"item_id": i, "annotator_id": "cleo", "label": gold(i)} for i in items[:20]]
        answer(place, right)
        page, checks = materialize(spec, instance)
        assert page["alpha"] == 1.0
        assert (page["answered"], page["waiting"]) == (20, 10)
        assert checks["monthly_alpha"].passed
        assert not alerts.alerts()
        wrong = [{**row, "label": LABELS[1 - LABELS.index(row["label"])]} for row in right[:10]]
        answer(place, wrong + right[10:])
        page, checks = materialize(spec, instance)
        again, _ = materialize(spec, instance)
    given = np.array([[LABELS.index(gold(i)) for i in items[:20]]] * 2)
    given[1, :10] = 1 - given[1, :10]
    expected = krippendorff.alpha(given, level_of_measurement="nominal")
    assert page["alpha"] == pytest.approx(expected)
    assert page["low"] < expected < page["high"]
    assert page["data_version"] == again["data_version"]
    verdict = checks["monthly_alpha"]
    assert not verdict.passed
    assert verdict.severity is dg.AssetCheckSeverity.WARN
    (alarm,) = alerts.alerts()  # once, however often it is looked at
    assert (alarm["kind"], alarm["vertical"], alarm["month"]) == ("monthly_alpha", "tiny", MONTH)
    assert f"alpha {expected:.4f}" in alarm["message"]
    agrees = [row["agrees"] for row in table(spec)]
    assert (agrees.count(True), agrees.count(False), agrees.count(None)) == (10, 10, 10)


def test_before_the_first_batch_there_is_nothing_to_review(place: Path) -> None:
    spec = VerticalSpec(**tiny(annotation={}))
    put(spec)
    shutil.rmtree(store_root().joinpath(spec.name, "annotations").path)
    above = [dg.AssetSpec([spec.name, name]) for name in ("dedup_corpus", "duplicates")]
    batches = dg.AssetSpec([spec.name, "annotations"], partitions_def=batches_of(spec))
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(
            [*build_assets(spec, "labels"), *above, batches],
            resources={"io_manager": StoreIOManager()},
            instance=instance,
            partition_key=MONTH,
        )
    (event,) = result.get_asset_materialization_events()
    assert event.materialization.metadata["drawn"].value == 0


def test_answers_that_do_not_count_are_set_aside_with_the_reason(place: Path) -> None:
    spec = spec_of()
    put(spec)
    with dg.DagsterInstance.ephemeral() as instance:
        materialize(spec, instance)
        rows = tasks(place)
        chosen = {row["item_id"] for row in rows}
        other = next(f"d{n:03}" for n in range(60) if f"d{n:03}" not in chosen)
        mine = rows[0]
        answer(
            place,
            [
                {
                    "item_id": mine["item_id"],
                    "annotator_id": mine["not_by"][0],
                    "label": "positive",
                },
                {"item_id": other, "annotator_id": "cleo", "label": "positive"},
                {"item_id": rows[1]["item_id"], "annotator_id": "cleo", "label": "so-so"},
                {"item_id": rows[2]["item_id"], "annotator_id": "cleo", "label": "positive"},
            ],
        )
        page, checks = materialize(spec, instance)
    assert (page["answered"], page["waiting"]) == (1, 5)
    assert checks["review_conserved"].passed
    assert "4 rows of answers, 1 used + 3 set aside" in str(checks["review_conserved"].description)
    assert not checks["answers_read"].passed
    shown = str(checks["answers_read"].metadata["rejected"].value)
    for words in ("same_annotator", "not_drawn", "unknown_label", "a review is another person's"):
        assert words in shown


def test_a_models_answers_are_no_review_and_near_numbers_agree(place: Path) -> None:
    task = {"name": "price", "kind": "regression", "range": [0, 100]}
    spec = VerticalSpec(**tiny(task=task, annotation={}))
    put(spec, values=True)
    with dg.DagsterInstance.ephemeral() as instance:
        materialize(spec, instance)
        items = [row["item_id"] for row in tasks(place)][:3]
        given = zip(items, (55.0, 90.0, 50.0), ("human", "human", "model"), strict=True)
        answer(
            place,
            [
                {"item_id": item, "annotator_id": "cleo", "annotator_kind": kind, "value": value}
                for item, value, kind in given
            ],
        )
        _, checks = materialize(spec, instance)
    assert "no_person" in str(checks["answers_read"].metadata["rejected"].value)
    agrees = {row["item_id"]: row["agrees"] for row in table(spec)}
    # 55 is within a tenth of the range of the median 52.5, 90 is not within it of 70.
    assert [agrees[item] for item in items] == [True, False, None]


def test_months_make_a_chart(place: Path) -> None:
    spec = spec_of()
    put(spec)
    with dg.DagsterInstance.ephemeral() as instance:
        empty, checks = materialize(spec, instance, "2024-02")
        assert (empty["drawn"], checks["review_conserved"].passed) == (0, True)
        assert "trend" not in empty
        materialize(spec, instance)
        items = [row["item_id"] for row in tasks(place)]
        answer(place, [{"item_id": i, "annotator_id": "cleo", "label": gold(i)} for i in items])
        materialize(spec, instance)
        later, _ = materialize(spec, instance, "2024-04")
    assert not (place / "data" / "tiny" / "reviews" / "2024-02").exists()
    assert later["months"].splitlines()[2:] == [
        "| 2024-02 |  |  |  |",
        "| 2024-03 | 1 | 1 | 1 |",
        "| 2024-04 |  |  |  |",
    ]
    assert later["trend"].startswith("![alpha by month](data:image/png;base64,")


def test_labels_in_the_exported_file_are_not_overwritten(place: Path) -> None:
    spec = spec_of()
    put(spec)
    with dg.DagsterInstance.ephemeral() as instance:
        materialize(spec, instance)
        file = place / "data" / "tiny" / "reviews" / MONTH / "tasks.csv"
        file.write_text(file.read_text("utf-8-sig").rstrip().removesuffix(",,") + ",cleo,positive")
        with pytest.raises(dg.Failure, match=r"tasks\.csv holds labels"):
            materialize(spec, instance)


def test_new_answers_are_noticed(place: Path) -> None:
    spec = spec_of()
    put(spec)
    with dg.DagsterInstance.ephemeral() as instance:

        def seen() -> list[str]:
            found = []
            for each in automation.observations(spec, instance):
                instance.report_runless_asset_event(each)
                if each.asset_key.path[-1] == "review_files":
                    assert each.partition == MONTH
                    found.append(each.tags[DATA_VERSION_TAG])
            return found

        materialize(spec, instance)
        assert seen() == []  # tasks without answers are no news
        answer(place, [])
        (first,) = seen()
        assert seen() == []
        answer(place, [{"item_id": "d000"}])
        (second,) = seen()
        assert first != second
        (place / "data" / "tiny" / "reviews" / MONTH / "answers.jsonl").unlink()
        assert seen() == ["none"]
    assert review_fingerprints("tiny") == {MONTH: None}


def test_answers_of_a_drawn_month_ask_for_a_run_of_it(place: Path) -> None:
    spec = spec_of()
    repository = repository_of(spec)
    put(spec)
    with dg.DagsterInstance.ephemeral() as instance:

        def asked() -> list[tuple[str | None, str | None]]:
            context = dg.build_sensor_context(instance, repository_def=repository)
            requests = review_sensor(spec).evaluate_tick(context).run_requests or ()
            return [(each.partition_key, each.run_key) for each in requests]

        folder = place / "data" / "tiny" / "reviews" / MONTH
        folder.mkdir(parents=True)
        answer(place, [{"item_id": "d000"}])
        assert asked() == []  # nobody asked for answers
        (folder / "answers.jsonl").unlink()
        materialize(spec, instance)
        assert asked() == []
        answer(place, [{"item_id": "d000"}])
        ((month, first),) = asked()
        assert month == MONTH
        assert asked() == [(MONTH, first)]  # the same run to Dagster, by its key
        materialize(spec, instance)
        assert asked() == []
        answer(place, [{"item_id": "d001"}])
        ((_, second),) = asked()
        materialize(spec, instance)
        answer(place, [{"item_id": "d000"}])  # what was read before the last time
        ((_, third),) = asked()
        assert len({first, second, third}) == 3
        (folder / "answers.jsonl~").write_text("a backup of an editor")
        assert asked() == [(MONTH, third)]


def repository_of(spec: VerticalSpec) -> dg.RepositoryDefinition:
    return dg.Definitions.merge(build_definitions(spec), resources()).get_repository_def()


def test_every_month_has_its_run() -> None:
    repository = repository_of(spec_of())
    schedule = repository.get_schedule_def("tiny_monthly_review")
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_schedule_context(
            instance,
            scheduled_execution_time=datetime(2024, 4, 1, 3, tzinfo=UTC),
            repository_def=repository,
        )
        (request,) = schedule.evaluate_tick(context).run_requests or ()
    assert request.partition_key == MONTH
    assert not repository_of(VerticalSpec(**tiny_generation())).schedule_defs


def test_of_pairs_nothing_is_labelled_or_reviewed() -> None:
    for key in ("tasks", "review"):
        attributes = tiny_generation()
        attributes["annotation"][key] = {}
        with pytest.raises(ValueError, match=rf"annotation\.{key} is about labels"):
            VerticalSpec(**attributes)
