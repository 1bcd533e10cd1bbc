"""A generation vertical from its corpus to its report, in one process."""

import json
from pathlib import Path

import dagster as dg
import numpy as np
import pyarrow as pa
import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from vertical_assets.corpus.dedup.dedup import find_duplicates
from vertical_assets.defs.resources import mlflow
from vertical_assets.spec import VerticalSpec
from vertical_assets.store import Table, store_root
from vertical_assets.store.contracts import DEDUP_DOCUMENTS
from vertical_assets.store.io_managers import StoreIOManager
from vertical_assets.store.tables import stage_table
from vertical_assets.store.versions import commit, current
from vertical_assets.vertical import STAGES
from vertical_assets_tests.conftest import questions_of, tiny_generation

TASK = {
    "task_id": "hello/0",
    "prompt": "Say hello.",
    "entry_point": "",
    "canonical_solution": "hello",
    "test": "def check(answer):\n    assert answer == 'hello'\n",
}
# The one task looks at texts, so that any machine may run it.
INSTRUCTION = {"path": "tasks.jsonl", "samples": 2, "k": [1, 2], "allow_unprotected": True}


def table(asset: str) -> Table:
    return Table((current(store_root() / "tiny" / asset),))


def documents(rows: list[dict[str, str]], spec: VerticalSpec) -> pa.Table:
    """Documents as the corpus stage leaves them: without duplicates."""
    given = {"source": "pairs", "kind": "public", "language": "en", "licence": "PSF-2.0"}
    table = pa.Table.from_pylist(
        [
            {
                **given,
                "doc_id": row["id"],
                "cluster_id": row["id"],
                "text": row["text"],
                "meta": json.dumps(row),
                "origin": row["id"],
                "words": [],
                "changes": "{}",
            }
            for row in rows
        ],
        DEDUP_DOCUMENTS,
    )
    kept = find_duplicates(table.select(["doc_id", "text"]).to_batches(), spec).kept
    return table.take(np.flatnonzero(kept == np.arange(len(rows))))


def publish(asset: str, content: pa.Table) -> None:
    """Puts a table into the store, as if its asset had been materialized."""
    staged = stage_table(store_root(), DEDUP_DOCUMENTS, content.to_batches())
    commit(staged, store_root() / "tiny" / asset)


def test_from_pairs_to_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("VERTICAL_STORE", "VERTICAL_DATA", "VERTICAL_WORK", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    rows = questions_of("shutil", "bisect", "textwrap", "heapq", "statistics")
    rows.append({"id": "reading", "text": "Nobody asks about this text, it is only read."})
    spec = VerticalSpec(
        **tiny_generation(
            split={"test": 0.3, "validation": 0.2, "group": "subject"},
            dedup={"keep": "first"},
            evaluate={"instruction": INSTRUCTION},
        )
    )
    tasks = tmp_path / "data" / "tiny" / "tasks.jsonl"
    tasks.parent.mkdir(parents=True)
    tasks.write_text(json.dumps(TASK) + "\n{\n", "utf-8")
    publish("dedup_corpus", documents(rows, spec))

    built = [asset for stage in STAGES for asset in stage.build_assets(spec)]
    assets = [asset for asset in built if isinstance(asset, dg.AssetsDefinition)]
    later = [asset for asset in assets if set(asset.group_names_by_key.values()) != {"corpus"}]
    resources = {"io_manager": StoreIOManager(), "mlflow": mlflow}
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(assets, selection=later, resources=resources, instance=instance)

    made = {key.path[-1] for asset in later for key in asset.keys}
    trained = ("pretrained_ckpt", "finetuned_ckpt")
    assert {"labeled_set", "resource_plan", *trained, "predictions"} <= made
    # Nobody labels free text, and a decoder is not quantized: the graph ends at its report.
    assert not {"annotations", "agreement_report", "quantized_artifact"} & made

    checks = {check.check_name: check for check in result.get_asset_check_evaluations()}
    for name in ("items_conserved", "no_leakage", "held_out_loss_falls", "learns_answers"):
        assert checks[name].passed, checks[name].description
    assert not checks["rouge_l_good"].passed  # a decoder this small only warns (SPEC E2)
    assert checks["rouge_l_good"].severity is dg.AssetCheckSeverity.WARN

    assert checks["fits_in_memory"].passed  # SPEC T1
    for name in trained:
        (page,) = result.asset_materializations_for_node(f"tiny__{name}")
        ratios = [float(str(page.metadata[f"{what}_ratio"].value)) for what in ("bytes", "flops")]
        assert ratios == pytest.approx([1, 1], abs=0.15)  # SPEC M4

    labeled = table("labeled_set").read()
    assert "reading" not in str(labeled["prompt"].to_pylist())
    said, nearest = table("predictions").read(), table("baselines").read()
    assert said["item_id"].to_pylist() == nearest["item_id"].to_pylist()
    assert set(said["split"].to_pylist()) == {"validation", "test"}
    known = dict(zip(labeled["prompt"].to_pylist(), labeled["text"].to_pylist(), strict=True))
    assert all(known[row["prompt"]] == row["reference"] for row in said.to_pylist())
    train = {row["text"] for row in labeled.to_pylist() if row["split"] == "train"}
    assert set(nearest["generated"].to_pylist()) <= train
    report = {
        (row["model"], row["metric"])
        for row in table("eval_report").read().to_pylist()
        if (row["split"], row["label"], row["against"]) == ("test", "all", None)
    }
    text = {"rouge_l", "rouge_1", "rouge_2", "bleu", "chrf"}
    assert report == {
        *(("finetuned", metric) for metric in (*text, "perplexity")),
        *(("nearest_prompt", metric) for metric in text),
    }
    assert checks["references_pass"].passed, checks["references_pass"].description
    assert "line 2" in str(checks["tasks_read"].description)  # and only warns
    said = table("instruction_report").read().select(["sample", "passed", "answer"])
    assert said.slice(0, 1).to_pylist() == [{"sample": None, "passed": True, "answer": "hello"}]
    assert said["passed"].to_pylist()[1:] == [False, False]  # a decoder this small can't say it
    checkpoint = current(store_root() / "tiny" / "finetuned_ckpt").path
    assert AutoTokenizer.from_pretrained(checkpoint).chat_template
    assert AutoModelForCausalLM.from_pretrained(checkpoint).config.model_type == "llama"
