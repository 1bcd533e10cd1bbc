"""The labels of a vertical in one process: its corpus, its batches, its gate, its gold."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa

from vertical_assets.automation import unsynced
from vertical_assets.corpus.assets import build_assets as corpus_assets
from vertical_assets.corpus.reading.sources import document_id
from vertical_assets.labels.adjudication.assets import build_assets as adjudication_assets
from vertical_assets.labels.assets import STAGE
from vertical_assets.labels.batches.assets import build_assets as batch_assets
from vertical_assets.labels.batches.automation import Noticed, register
from vertical_assets.labels.gold.assets import build_assets as gold_assets
from vertical_assets.spec import VerticalSpec
from vertical_assets.store import Table, store_root
from vertical_assets.store.contracts import DEDUP_DOCUMENTS, DUPLICATES
from vertical_assets.store.io_managers import DATA_VERSION_TAG, StoreIOManager
from vertical_assets.store.tables import stage_table
from vertical_assets.store.versions import commit, current
from vertical_assets_tests.conftest import shared_data, tiny

BATCH = ("annotations", "rejected_annotations")
GATE = ("decisions", "agreement_report")
PEOPLE = ("reasoning_required", "reasoning_free")


class Room:
    """A vertical with one source `docs`; files are dropped, and its parts are materialized."""

    def __init__(self, spec: VerticalSpec, folder: Path, instance: dg.DagsterInstance) -> None:
        self.spec, self.instance = spec, instance
        self.folder = folder / "data" / spec.name
        self.assets = made(from_files_to_gold(spec))

    def key(self, name: str) -> dg.AssetKey:
        return dg.AssetKey([self.spec.name, name])

    def drop(self, name: str, rows: list[dict[str, Any]] | bytes) -> Path:
        """Writes a file into the drop folder."""
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(rows, list):
            lines = (json.dumps(row, ensure_ascii=False) for row in rows)
            rows = "".join(f"{line}\n" for line in lines).encode()
        file.write_bytes(rows)
        return file

    def run(
        self, *names: str, partition: str | None = None, fails: bool = False
    ) -> dg.ExecuteInProcessResult:
        """One run of these assets, and what their steps make beside them."""
        chosen = dg.AssetSelection.assets(*map(self.key, names)).required_multi_asset_neighbors()
        result = dg.materialize(
            self.assets,
            selection=chosen,
            resources={"io_manager": StoreIOManager()},
            instance=self.instance,
            partition_key=partition,
            raise_on_error=not fails,
        )
        return result

    def corpus(self, rows: list[dict[str, str]]) -> None:
        """Puts documents into the store as the corpus would, with `id` and `text`."""
        documents: list[dict[str, Any]] = [
            {
                **dict.fromkeys(DEDUP_DOCUMENTS.names),
                "doc_id": document_id("docs", row["id"]),
                "cluster_id": document_id("docs", row["id"]),
                "source": "docs",
                "kind": "public",
                "text": row["text"],
                "language": self.spec.language,
                "licence": "MIT",
                "meta": "{}",
                "origin": row["id"],
                "words": [],
                "changes": "[]",
            }
            for row in rows
        ]
        tables = {
            "dedup_corpus": pa.Table.from_pylist(documents, DEDUP_DOCUMENTS),
            "duplicates": DUPLICATES.empty_table(),
        }
        for name, table in tables.items():
            staged = stage_table(store_root(), table.schema, table.to_batches())
            commit(staged, store_root() / self.spec.name / name)
            tags = {DATA_VERSION_TAG: staged.version}
            self.instance.report_runless_asset_event(
                dg.AssetMaterialization(self.key(name), tags=tags)
            )

    def read(self, *batches: str) -> Noticed:
        """Registers what was dropped, and reads these batches."""
        noticed = register(self.spec, self.instance)
        for batch in batches:
            self.run(*BATCH, partition=batch)
        register(self.spec, self.instance)
        return noticed

    def gate(self) -> dict[str, bool]:
        """Decisions and agreement: check -> verdict."""
        return verdicts_of(self.run(*GATE, fails=True))

    def rows_after_gate(self) -> list[dict[str, Any]]:
        """BATCH_VERDICTS, judged anew."""
        self.gate()
        return self.rows("batch_verdicts")

    def stale(self) -> set[str]:
        """Assets of the gate and the gold that are out of date, for Dagster."""
        every = from_files_to_gold(self.spec)
        graph = dg.Definitions(every, resources={"io_manager": StoreIOManager()})
        names = ("annotations", "decisions", "agreement_report", "batch_verdicts")
        keys = [*map(self.key, names), self.key("adjudication_queue"), self.key("labeled_set")]
        found = unsynced(graph.resolve_asset_graph(), self.instance, keys)
        return {item.key.path[-1] for item in found}

    def table(self, name: str) -> pa.Table:
        return Table((current(store_root() / self.spec.name / name),)).read()

    def rows(self, name: str) -> list[dict[str, Any]]:
        return self.table(name).to_pylist()

    def version(self, name: str) -> str:
        return current(store_root() / self.spec.name / name).name


def from_files_to_gold(spec: VerticalSpec) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """The assets on the way from sources and label files to gold; other rooms look further."""
    rooms = (batch_assets, adjudication_assets, gold_assets)
    return [*corpus_assets(spec), *(asset for room in rooms for asset in room(spec, STAGE))]


def made(assets: Sequence[dg.AssetsDefinition | dg.AssetSpec]) -> list[dg.AssetsDefinition]:
    """Those that can be materialized."""
    return [asset for asset in assets if isinstance(asset, dg.AssetsDefinition)]


def verdicts_of(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    return {e.check_name: e.passed for e in result.get_asset_check_evaluations()}


def papers(**changes: Any) -> dict[str, Any]:
    """PubMedQA: 1,000 questions that two people answered by yes, no or maybe."""
    return tiny(
        **{
            "name": "papers",
            "language": "en",
            "sources": [{"name": "docs", "kind": "public", "licence": "MIT", "path": "docs.jsonl"}],
            "task": {"name": "answer", "labels": {"yes": "y", "no": "n", "maybe": "m"}},
            "annotation": {},
            "dedup": {"threshold": 1.0},
            **changes,
        }
    )


def pubmedqa() -> dict[str, dict[str, Any]]:
    """Number of the paper -> what PubMedQA has of it."""
    found = json.loads((shared_data("pubmedqa") / "ori_pqal.json").read_text())
    return {
        key: {**item, "QUESTION": " ".join(item["QUESTION"].split())} for key, item in found.items()
    }


def questions(items: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"id": key, "text": item["QUESTION"]} for key, item in items.items()]


def answers(
    items: dict[str, dict[str, Any]], people: tuple[str, ...] = PEOPLE
) -> list[dict[str, Any]]:
    """A batch: what the people said; those who are not PubMedQA's say the final decision."""
    return [
        {
            "source": "docs",
            "id": key,
            "annotator_id": who,
            "label": item.get(f"{who}_pred", item["final_decision"]),
        }
        for key, item in items.items()
        for who in people
    ]


def decided(items: dict[str, dict[str, Any]], **changes: Any) -> list[dict[str, Any]]:
    """Decisions: PubMedQA's final ones."""
    return [
        {
            "source": "docs",
            "id": key,
            "label": item["final_decision"],
            "decided_by": "Qiao Jin",
            "decided_at": "2019-09-13T12:00:00+00:00",
            "reason": "discussed by both annotators",
            **changes,
        }
        for key, item in items.items()
    ]
