"""The conditions of the closed loop, on a graph of a few lines that has the real one's names."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from vertical_assets import conditions
from vertical_assets.conditions import building_folder
from vertical_assets.policies import automated, loop_sensor
from vertical_assets.spec import VerticalSpec
from vertical_assets.store.atomic import locked
from vertical_assets.store.io_managers import ALL_FILES
from vertical_assets_tests.conftest import tiny

SPEC = VerticalSpec(**tiny(automate={"quiet_seconds": 0}))
STAGE_OF = {
    "agreement_report": ("labels", ("batches",)),
    "labeled_set": ("labels", ("agreement_report", "batches")),
    "pretrained_ckpt": ("training", ()),
    "tfidf": ("features", ("labeled_set",)),
    "finetuned_ckpt": ("training", ("pretrained_ckpt", "labeled_set", "tfidf")),
    "baselines": ("training", ("labeled_set",)),
    "predictions": ("evaluation", ("finetuned_ckpt", "labeled_set")),
    "release": ("release", ("predictions", "baselines", "agreement_report")),
}
LABELS = {"agreement_report", "labeled_set"}
MODEL = {"tfidf", "finetuned_ckpt", "baselines", "predictions", "release"}
CHECKED = ("agreement_report", "finetuned_ckpt")  # with a blocking check


@dataclass
class World:
    """The graph, what its assets contain, and the automation's memory."""

    instance: dg.DagsterInstance
    spec: VerticalSpec = SPEC
    stage_of: dict[str, tuple[str, tuple[str, ...]]] = field(default_factory=STAGE_OF.copy)
    content: dict[str, str] = field(default_factory=dict)
    failing: set[str] = field(default_factory=set)
    code: str = "1"
    cursor: object = None

    def asset(self, name: str) -> dg.AssetsDefinition:
        group, above = self.stage_of[name]
        check = [
            dg.AssetCheckSpec("gate", asset=["tiny", name], blocking=True)
            for _ in range(name in CHECKED)
        ]

        @dg.asset(
            key=["tiny", name],
            group_name=group,
            deps=[["tiny", each] for each in above],
            code_version=self.code,
            check_specs=check,
        )
        def made():  # type: ignore[no-untyped-def]
            if name in self.failing and name not in CHECKED:
                raise dg.Failure("broken", allow_retries=False)
            said = [
                dg.AssetCheckResult(check_name=each.name, passed=name not in self.failing)
                for each in check
            ]
            return dg.MaterializeResult(
                data_version=dg.DataVersion(self.content.get(name, "same")), check_results=said
            )

        return made

    @property
    def definitions(self) -> dg.Definitions:
        batches = dg.AssetSpec(
            ["tiny", "batches"],
            group_name="labels",
            partitions_def=dg.StaticPartitionsDefinition([ALL_FILES]),
        )
        return dg.Definitions(
            assets=automated([batches, *map(self.asset, self.stage_of)], self.spec)
        )

    def arrive(self, batches: str) -> None:
        """Batches of labels are read."""
        tags = {"dagster/data_version": batches}
        self.instance.report_runless_asset_event(
            dg.AssetObservation(["tiny", "batches"], partition=ALL_FILES, tags=tags)
        )

    def run(self, *names: str) -> None:
        if not names:
            return
        job = self.definitions.resolve_implicit_global_asset_job_def()
        job.execute_in_process(
            asset_selection=[dg.AssetKey(["tiny", name]) for name in names],
            instance=self.instance,
            raise_on_error=False,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )

    def tick(self) -> set[str]:
        """One look; names of what it requests."""
        result = dg.evaluate_automation_conditions(
            self.definitions,
            self.instance,
            cursor=self.cursor,  # type: ignore[arg-type]
        )
        self.cursor = result.cursor
        return {each.key.path[-1] for each in result.results if not each.true_subset.is_empty}

    def ticks(self, most: int = 10) -> list[set[str]]:
        """Looks until nothing is requested any more; what is requested is made at once."""
        found: list[set[str]] = []
        while (requested := self.tick()) and len(found) < most:
            found.append(requested)
            self.run(*requested)
        return found


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("VERTICAL_WORK", str(tmp_path / "work"))
    with dg.DagsterInstance.ephemeral(settings={"telemetry": {"enabled": False}}) as instance:
        yield World(instance)


@pytest.fixture
def built(world: World) -> World:
    """Everything was made once, and looked at."""
    world.arrive("first")
    world.run(*STAGE_OF)
    assert world.tick() == set()
    return world


def test_on_a_fresh_install_nothing_is_trained(world: World) -> None:
    world.arrive("first")
    assert world.ticks() == [LABELS]
    assert world.ticks() == []


def test_new_labels_lead_to_a_release_in_two_runs(built: World) -> None:
    built.arrive("second")
    built.content |= dict.fromkeys([*LABELS, *MODEL], "new")
    assert built.ticks() == [LABELS, MODEL]


def test_what_to_label_next_comes_in_the_run_that_trains(world: World) -> None:
    tasks = {"labeling_tasks"}
    world.stage_of["labeling_tasks"] = ("labels", ("labeled_set", "release"))
    world.arrive("first")
    world.run(*world.stage_of)
    assert world.tick() == set()
    world.arrive("second")
    world.content |= dict.fromkeys([*LABELS, *MODEL], "new")
    assert world.ticks() == [LABELS | tasks, MODEL | tasks]


def test_the_same_labels_again_train_nothing(built: World) -> None:
    """The batch is another, what comes of it is the same: say, its rows were known."""
    built.arrive("second")
    assert built.ticks() == [LABELS]
    built.run("labeled_set")
    assert built.ticks() == []


def test_a_closed_gate_stops_training_until_better_labels_come(built: World) -> None:
    built.arrive("bad")
    built.failing = {"agreement_report"}
    built.content |= {"agreement_report": "bad", "labeled_set": "bad"}
    assert built.ticks() == [LABELS]  # the run's own check stops labeled_set
    built.failing = set()
    built.arrive("good")
    built.content |= {"agreement_report": "good", "labeled_set": "good"}
    assert built.ticks() == [LABELS, MODEL]


def test_below_a_model_that_fails_its_gate_nothing_is_made(built: World) -> None:
    built.arrive("second")
    built.failing = {"finetuned_ckpt"}
    built.content |= dict.fromkeys(["labeled_set", "finetuned_ckpt", "baselines"], "new")
    assert built.ticks() == [LABELS, MODEL]
    assert built.tick() == set()


def test_what_failed_is_tried_again_when_labels_change_only(built: World) -> None:
    built.arrive("second")
    built.failing = {"tfidf"}
    built.content |= {"labeled_set": "second", "tfidf": "second"}
    assert built.ticks() == [LABELS, MODEL]
    assert built.tick() == set()
    built.failing = set()
    built.arrive("third")
    built.content |= {"labeled_set": "third"}
    assert built.ticks() == [LABELS, MODEL]


@pytest.mark.parametrize("running", ["finetuned_ckpt", "release", "agreement_report"])
def test_what_runs_is_waited_for(built: World, running: str) -> None:
    """However many batches come meanwhile, one training follows."""
    run = built.instance.create_run_for_job(
        built.definitions.resolve_implicit_global_asset_job_def(),
        asset_selection=frozenset({dg.AssetKey(["tiny", running])}),
        status=dg.DagsterRunStatus.STARTED,
    )
    built.content |= dict.fromkeys([*LABELS, *MODEL], "new")
    for number in range(3):
        built.arrive(f"batch {number}")
        assert built.tick() == set()
    built.instance.report_run_canceled(run)
    assert built.ticks() == [LABELS, MODEL]


def test_a_build_at_work_is_waited_for(built: World) -> None:
    built.arrive("second")
    built.content["labeled_set"] = "second"
    folder = building_folder("tiny")
    folder.mkdir(parents=True)
    with locked(folder):
        assert built.tick() == set()
    assert built.ticks() == [LABELS, MODEL]


def test_labels_rest_before_they_are_trained_on(built: World) -> None:
    built.spec = VerticalSpec(**tiny(automate={"quiet_seconds": 3600}))
    built.arrive("second")
    built.content["labeled_set"] = "second"
    assert built.ticks() == [LABELS]
    assert later(built, 3000) == set()
    assert later(built, 3600) == MODEL


def test_labels_that_never_rest_are_trained_on_in_the_end(built: World) -> None:
    built.spec = VerticalSpec(**tiny(automate={"quiet_seconds": 3600}))
    built.arrive("second")
    built.content["labeled_set"] = "second"
    assert built.ticks() == [LABELS]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conditions, "MOST_QUIET", 0.5)
        assert later(built, 1700) == set()
        assert later(built, 1800) == MODEL


def later(world: World, seconds: int) -> set[str]:
    """A look some seconds from now."""
    result = dg.evaluate_automation_conditions(
        world.definitions,
        world.instance,
        cursor=world.cursor,  # type: ignore[arg-type]
        evaluation_time=datetime.now(UTC) + timedelta(seconds=seconds),
    )
    return {each.key.path[-1] for each in result.results if not each.true_subset.is_empty}


def test_code_moves_light_assets_and_no_training(built: World) -> None:
    built.code = "2"
    assert built.ticks() == [LABELS]


def test_a_model_trained_by_hand_is_followed(built: World) -> None:
    built.content["finetuned_ckpt"] = "by hand"
    built.run("finetuned_ckpt")
    assert built.ticks() == [{"predictions", "release"}]


def test_without_retraining_labels_go_on_alone(built: World) -> None:
    built.spec = VerticalSpec(**tiny(automate={"retrain": False}))
    built.arrive("second")
    built.content |= dict.fromkeys([*LABELS, *MODEL], "new")
    assert built.ticks() == [LABELS]


def test_a_forgotten_memory_leads_to_the_same_end(built: World) -> None:
    """Killed between its look and its run, or with its cursor lost, the daemon asks again."""
    built.arrive("second")
    built.content |= dict.fromkeys([*LABELS, *MODEL], "new")
    assert built.tick() == LABELS
    built.cursor = None
    assert built.ticks() == [LABELS, MODEL]
    built.cursor = None
    assert built.ticks() == []


def test_the_sensor_is_on_by_default() -> None:
    sensor = loop_sensor(SPEC)
    assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
    assert sensor.minimum_interval_seconds == 30
