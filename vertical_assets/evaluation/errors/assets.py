"""Assets of error analysis: slices, errors, relabel_queue and the error_report to read."""

import tempfile
from pathlib import Path
from typing import Any

import dagster as dg

from vertical_assets.spec import VerticalSpec
from vertical_assets.store import Directory, Table, store_root
from vertical_assets.store.io_managers import ALL_CORES, gate_checks, markdown_table, outs, stored

VERSION = "2"
SHOWN = 15
PAGE = "index.html"
READS = ("clean", "evaluate.slices", "evaluate.errors", "model.max_tokens", "task", "seed")


def build_assets(spec: VerticalSpec, stage: str) -> list[dg.AssetsDefinition]:
    """slices, errors, relabel_queue, error_report."""
    key = {
        name: [spec.name, name] for name in ("slices", "errors", "relabel_queue", "error_report")
    }

    @dg.multi_asset(
        outs={
            **outs(
                spec,
                stage,
                {
                    "slices": "How good the model is on parts of the held-out items: by length, "
                    "source, class, presence of domain terms (SPEC T12).",
                    "errors": "Every wrong prediction on a held-out item, with the training item "
                    "that the model sees as most like it (SPEC T12).",
                    "relabel_queue": "Items to be labelled again: suspected label errors, sure "
                    "errors, outliers; the most urgent first (SPEC T12).",
                },
                version=VERSION,
                reads=READS,
                kinds={"pytorch", "parquet"},
            ),
            **outs(
                spec,
                stage,
                {"error_report": "Slices and errors as an HTML file to read and send (SPEC T12)."},
                version=VERSION,
                reads=[*READS, "domain", "annotation.simulate", "sensitive"],
                kinds={"html"},
            ),
        },
        check_specs=[
            dg.AssetCheckSpec(
                "worst_slice",
                asset=key["slices"],
                description=f"No slice of {spec.evaluate.slices.min_items} test items or more is "
                f"surely worse than all by more than {spec.evaluate.slices.max_drop}.",
            )
        ],
        name=f"{spec.name}__errors",
        ins={
            name: dg.AssetIn([spec.name, name])
            for name in ("finetuned_ckpt", "labeled_set", "predictions", "dedup_corpus")
        },
        pool=ALL_CORES,
    )
    def errors(
        finetuned_ckpt: Directory, labeled_set: Table, predictions: Table, dedup_corpus: Table
    ):
        from vertical_assets.corpus.cleaning.segmentation import domain_terms
        from vertical_assets.corpus.cleaning.terms import Terms
        from vertical_assets.corpus.reading.sources import SourceError, drop_folder
        from vertical_assets.evaluation.errors.analysis import AnalysisError, analyse
        from vertical_assets.evaluation.errors.report import report_html
        from vertical_assets.evaluation.errors.slices import gates_of, worst_of
        from vertical_assets.labels.splits import TEST
        from vertical_assets.store.atomic import is_local
        from vertical_assets.store.contracts import ERRORS, RELABEL_QUEUE, SLICES
        from vertical_assets.store.tables import stage_table
        from vertical_assets.store.versions import stage_directory

        try:
            terms = Terms(domain_terms(spec.clean, drop_folder(spec.name)))
        except SourceError as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        said, corpus = predictions.read(), dedup_corpus.read(["doc_id", "source"])
        sources = dict(
            zip(*(corpus[name].to_pylist() for name in corpus.column_names), strict=True)
        )
        try:
            found = analyse(finetuned_ckpt.path, labeled_set.read(), said, sources, terms, spec)
        except AnalysisError as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        page = report_html(
            found.slices,
            found.errors,
            found.queue,
            said,
            found.facts,
            {
                "finetuned_ckpt": finetuned_ckpt.path.name,
                "labeled_set": labeled_set.version,
                "predictions": predictions.version,
            },
            spec,
        )
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, PAGE).write_text(page, encoding="utf-8")
            report = stage_directory(store_root(), Path(folder))
        link = store_root().joinpath(*key["error_report"], report.version, PAGE)
        linked: dict[str, Any] = {"report": dg.MetadataValue.url(link.absolute().as_uri())}
        if is_local(link):  # to copy: a browser follows no link from a server to a file
            linked["report_file"] = dg.MetadataValue.path(link.absolute().path)
        linked |= found.facts
        worst = worst_of(found.slices, TEST, spec, SHOWN)
        columns = (
            "dimension",
            "slice",
            "items",
            "groups",
            "metric",
            "value",
            "low",
            "high",
            "overall",
        )
        yield stored(
            stage_table(store_root(), SLICES, found.slices.to_batches(), spec.sensitive),
            key=key["slices"],
            checks=gate_checks(gates_of(found.slices, spec), key["slices"]),
            metadata={
                **linked,
                "worst": dg.MetadataValue.md(
                    markdown_table([{name: row[name] for name in columns} for row in worst])
                ),
            },
        )
        for name, schema, table in (
            ("errors", ERRORS, found.errors),
            ("relabel_queue", RELABEL_QUEUE, found.queue),
        ):
            staged = stage_table(store_root(), schema, table.to_batches(), spec.sensitive)
            yield stored(staged, key=key[name], metadata=linked)
        yield stored(report, key=key["error_report"], metadata=linked)

    return [errors]
