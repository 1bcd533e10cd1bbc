"""The checkpoints' assets in one process: what stands in the store, on their pages, in MLflow."""

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from vertical_assets.defs.resources import mlflow
from vertical_assets.features.assets import build_assets as build_features
from vertical_assets.inference.cascade import first_stage
from vertical_assets.spec import VerticalSpec
from vertical_assets.store import store_root
from vertical_assets.store.io_managers import StoreIOManager
from vertical_assets.store.versions import current
from vertical_assets.training.assets import build_assets
from vertical_assets.training.modules.registry import INTERFACE
from vertical_assets_tests.conftest import tiny
from vertical_assets_tests.labelled_reviews import publish_reviews

MODEL = {**tiny()["model"], "hidden_size": 32, "max_tokens": 24}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("STORE", "DATA", "WORK", "TENSORBOARD"):
        monkeypatch.delenv(f"VERTICAL_{name}", raising=False)
    # MLflow keeps its connections by their address: a relative one would lead to another test's.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    return tmp_path


def materialize(spec: VerticalSpec, *names: str, **options: Any) -> dg.ExecuteInProcessResult:
    publish_reviews(spec, 160)
    every = [*build_features(spec), *build_assets(spec)]
    made = [asset for asset in every if asset.key.path[-1] in names]
    above = [dg.AssetSpec(["tiny", name]) for name in ("dedup_corpus", "labeled_set")]
    resources = {"io_manager": StoreIOManager(), "mlflow": mlflow}
    with dg.DagsterInstance.ephemeral() as instance:
        return dg.materialize([*made, *above], resources=resources, instance=instance, **options)


def test_checkpoints_of_a_vertical(place: Path) -> None:
    finetune = {**tiny()["finetune"], "epochs": 2}
    spec = VerticalSpec(**tiny(model={**MODEL, "cascade": {"threshold": 0.7}}, finetune=finetune))
    # Two epochs need not beat the majority class, whose check stops the run.
    result = materialize(spec, "pretrained_ckpt", "finetuned_ckpt", raise_on_error=False)
    checks = {(c.asset_key.path[-1], c.check_name): c for c in result.get_asset_check_evaluations()}
    assert set(checks) == {
        ("pretrained_ckpt", "held_out_loss_falls"),
        ("pretrained_ckpt", "memory_in_use"),
        ("finetuned_ckpt", "beats_majority_class"),
        ("finetuned_ckpt", "memory_in_use"),
    }
    for asset in ("pretrained_ckpt", "finetuned_ckpt"):
        memory = checks[asset, "memory_in_use"]  # SPEC T1
        assert memory.passed
        assert 0 < float(str(memory.metadata["memory_share"].value)) < 0.8
    (made,) = result.asset_materializations_for_node("tiny__finetuned_ckpt")
    shown = {name: value.value for name, value in made.metadata.items()}
    assert 0 <= float(str(shown["cascade_coverage"])) <= 1
    assert shown["start"] == "cold"
    for name in ("loss_curve", "score_curve", "cascade_curve"):
        assert "data:image/png" in str(shown[name])

    checkpoint = Path(str(current(store_root() / "tiny" / "finetuned_ckpt")))
    manifest = json.loads((checkpoint / "manifest.json").read_text())
    assert set(manifest["inputs"]) == {"pretrained_ckpt", "labeled_set"}
    assert (checkpoint / INTERFACE).exists()
    assert first_stage(checkpoint) is not None
    assert not list((place / "data" / "work" / "tiny").rglob("*.safetensors"))

    import mlflow as tracking

    tracking.set_tracking_uri(f"sqlite:///{place}/mlflow.db")
    runs = tracking.search_runs(search_all_experiments=True, output_format="list")
    parameters = next(r.data.params for r in runs if r.info.run_name == "tiny/finetuned_ckpt")
    assert parameters["finetune.epochs"] == "2"
    assert "threshold" in parameters["model.cascade"]  # modules and fusion too


def test_two_processes_train_the_modules_of_an_asset(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SPEC T2: torchrun is started by the asset, whatever the modules read."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    fused = {"modules": [{"type": "sequence"}, {"type": "tfidf"}], "fusion": "weighted_sum"}
    spec = VerticalSpec(
        **tiny(
            model={**MODEL, **fused},
            features={"tfidf": {}},
            finetune={**tiny()["finetune"], "epochs": 2},
            processes={"devices": 2, "strategy": "fsdp"},
        )
    )
    result = materialize(spec, "pretrained_ckpt", "tfidf", "finetuned_ckpt", raise_on_error=False)
    # A single process would have been refused (`trainer_arguments`).
    (made,) = result.asset_materializations_for_node("tiny__finetuned_ckpt")
    shown = {name: value.value for name, value in made.metadata.items()}
    assert 0 < float(str(shown["fusion_weight_tfidf"])) < 1
    assert 0.85 <= float(str(shown["bytes_ratio"])) <= 1.15  # of this process' part (SPEC M4)
    assert 0.85 <= float(str(shown["flops_ratio"])) <= 1.15


def test_what_can_t_be_trained_is_not_tried_again(place: Path) -> None:
    """A base without `model.layers` tells only when it is opened how many it has."""
    model = {name: value for name, value in MODEL.items() if name != "layers"}
    spec = VerticalSpec(**tiny(model=model, pretrain={"freeze_layers": 7}))
    with pytest.raises(dg.Failure, match="freeze_layers is 7, but the encoder has 6") as caught:
        materialize(spec, "pretrained_ckpt")
    assert caught.value.allow_retries is False
