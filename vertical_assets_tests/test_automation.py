"""Automation: the sensor notices changed files, and the next batch is what is sure to run."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.executor.in_process import InProcessExecutor
from dagster._core.executor.multiprocess import MultiprocessExecutor

from vertical_assets import automation
from vertical_assets.automation import by_weight, observations, source_sensor
from vertical_assets.building import Target, next_batch
from vertical_assets.corpus.assets import build_assets
from vertical_assets.defs.resources import defs as resources
from vertical_assets.spec import VerticalSpec
from vertical_assets.store.io_managers import ALL_CORES, DATA_VERSION_TAG
from vertical_assets.vertical import build_definitions
from vertical_assets_tests.conftest import tiny, tiny_generation

SPEC = VerticalSpec(**tiny())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VERTICAL_DATA", str(tmp_path))
    (tmp_path / "tiny").mkdir()
    for name in ("first", "second"):
        (tmp_path / "tiny" / f"{name}.jsonl").write_text('{"text": "good"}\n')
    return tmp_path / "tiny"


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def tick(instance: dg.DagsterInstance, spec: VerticalSpec = SPEC) -> dict[str, str]:
    """Runs the sensor once; returns partition -> data version of what it observed."""
    result = source_sensor(spec)(dg.build_sensor_context(instance=instance))
    if isinstance(result, dg.SkipReason):
        return {}
    assert isinstance(result, dg.SensorResult)
    found = {}
    for event in result.asset_events:
        assert isinstance(event, dg.AssetObservation)
        instance.report_runless_asset_event(event)
        found[str(event.partition)] = (event.tags or {})[DATA_VERSION_TAG]
    return found


def test_the_sensor_reports_changed_files_once(folder: Path, instance: dg.DagsterInstance) -> None:
    first = tick(instance)
    assert set(first) == {"first", "second", "all"}  # "all" verdicts, and "all" decisions
    assert tick(instance) == {}
    (folder / "second.jsonl").write_text('{"text": "changed"}\n')
    second = tick(instance)
    assert set(second) == {"second"}
    assert second["second"] != first["second"]
    (folder / "second.jsonl").unlink()
    assert tick(instance) == {"second": "missing"}


def test_the_sensor_watches_the_tasks_of_a_decoder(
    folder: Path, instance: dg.DagsterInstance
) -> None:
    spec = VerticalSpec(**tiny_generation(evaluate={"instruction": {"path": "tasks.txt"}}))
    tick(instance, spec)
    (folder / "tasks.txt").write_text("{}\n")
    (changed,) = tick(instance, spec).values()
    assert changed != "missing"
    key = dg.AssetKey(["tiny", "instruction_files"])
    assert instance.get_latest_data_version_record(key, is_source=True) is not None
    assert tick(instance, spec) == {}


def test_the_sensor_watches_lists_of_terms_and_names(
    folder: Path, instance: dg.DagsterInstance
) -> None:
    spec = VerticalSpec(**tiny(deidentify={"names": [{"path": "names.txt"}]}))

    def changed() -> set[str]:
        found = list(observations(spec, instance))
        for event in found:
            instance.report_runless_asset_event(event)
        return {event.asset_key.path[-1] for event in found}

    (folder / "names.txt").write_text("白雪\n")
    assert "dictionary_files" in changed()
    assert changed() == set()
    (folder / "names.txt").write_text("白雪\n张伟\n")
    assert changed() == {"dictionary_files"}
    clean = dg.AssetKey(["tiny", "clean_corpus"])
    (above,) = (
        each.asset_deps[clean]
        for each in build_assets(spec)
        if isinstance(each, dg.AssetsDefinition) and clean in each.keys
    )
    assert dg.AssetKey(["tiny", "dictionary_files"]) in above


def test_the_sensor_is_on_by_default() -> None:
    assert source_sensor(SPEC).default_status is dg.DefaultSensorStatus.RUNNING


def batch(pending: set[str], closed: frozenset[str] = frozenset()) -> set[str]:
    """Names of the next batch."""
    definitions = dg.Definitions.merge(build_definitions(SPEC), resources())
    graph = definitions.resolve_asset_graph()
    target = Target(SPEC, graph, repository=None, instance=None)  # type: ignore[arg-type]
    found = next_batch(
        target,
        {dg.AssetKey(["tiny", name]) for name in pending},
        {dg.AssetKey(["tiny", name]) for name in closed},
    )
    return {key.path[-1] for key in found}


def test_sources_come_first_then_corpus_and_labels_then_training() -> None:
    said = {"annotations", "rejected_annotations"}
    labels = {"decisions", "rejected_decisions", "agreement_report", "batch_verdicts"}
    labels |= {"adjudication_queue", "labeled_set"}
    corpus = {"valid_corpus", "quarantine", "clean_corpus", "dedup_corpus", "duplicates"}
    training = {"pretrained_ckpt", "finetuned_ckpt", "baselines"}
    rest = {"predictions", "eval_report", "quantized_artifact"}
    later = labels | training | rest
    assert batch({"raw_corpus"} | corpus | said | later) == {"raw_corpus"}
    assert batch(corpus | said | later) == corpus | {"decisions", "rejected_decisions"}
    assert batch(said | later) == said
    assert batch(later) == labels
    assert batch(training | rest) == training | rest


def test_what_may_turn_out_unchanged_is_waited_for() -> None:
    """predictions, between the two, is in sync as yet: whether it changes is not known before."""
    assert batch({"finetuned_ckpt", "eval_report"}) == {"finetuned_ckpt"}


def test_assets_that_one_step_makes_come_together() -> None:
    assert batch({"quarantine"}) == {"quarantine", "valid_corpus"}


def test_no_training_begins_while_a_gate_of_the_labels_is_closed() -> None:
    closed = frozenset({"agreement_report"})
    assert batch({"labeled_set", "pretrained_ckpt"}, closed) == set()
    assert batch({"annotations", "pretrained_ckpt"}, closed) == {
        "annotations",
        "rejected_annotations",
    }


def test_below_a_closed_gate_of_training_nothing_runs() -> None:
    closed = frozenset({"finetuned_ckpt"})
    assert batch({"predictions", "eval_report", "baselines"}, closed) == {"baselines"}


@pytest.mark.parametrize(
    ("names", "cores", "expected"),
    [
        (("labeled_set", "contamination"), 8, InProcessExecutor),
        (("finetuned_ckpt", "predictions"), 8, MultiprocessExecutor),
        (("labeling_tasks", "quantized_artifact"), 8, MultiprocessExecutor),
        (("finetuned_ckpt", "predictions"), 2, InProcessExecutor),
    ],
)
def test_light_runs_stay_in_one_process(
    names: tuple[str, ...], cores: int, expected: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is chosen in the UI or by the loop; a heavy one's steps find torch loaded. Where one
    step at a time is all that the cores are good for, heavy ones stay as well.
    """
    monkeypatch.setattr(automation, "cores", lambda: cores)
    definitions = dg.Definitions.merge(build_definitions(SPEC), resources())
    keys = {dg.AssetKey(["tiny", name]) for name in names}
    job = definitions.resolve_implicit_global_asset_job_def().get_subset(asset_selection=keys)
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.InitExecutorContext(InMemoryJob(job), by_weight, {}, instance)
        assert by_weight.executor_creation_fn is not None
        made = by_weight.executor_creation_fn(context)
    assert isinstance(made, expected)


@pytest.mark.parametrize(("given", "expected"), [("3", 3), ("", 4), ("0", None), ("two", None)])
def test_how_many_steps_run_at_a_time(
    given: str, expected: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(automation, "cores", lambda: 8)
    monkeypatch.setenv("VERTICAL_STEPS", given)
    if expected is None:
        with pytest.raises(ValueError, match=r"VERTICAL_STEPS is .* whole number from 1 on"):
            automation.steps_at_once()
    else:
        assert automation.steps_at_once() == expected


def test_what_computes_on_every_core_runs_alone() -> None:
    """Side by side two such steps take longer than one after the other."""
    definitions = dg.Definitions.merge(build_definitions(SPEC), resources())
    graph = definitions.resolve_asset_graph()
    alone = {
        *("pretrained_ckpt", "finetuned_ckpt", "baselines", "predictions", "robustness_report"),
        *("slices", "errors", "relabel_queue", "error_report", "quantized_artifact"),
    }
    pools = {n.key.path[-1]: n.assets_def.op.pool for n in graph.asset_nodes if n.is_materializable}
    assert {name for name, pool in pools.items() if pool == ALL_CORES} == alone
