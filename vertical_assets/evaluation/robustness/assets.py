"""The asset robustness_report."""

import dagster as dg

from vertical_assets.evaluation.names import MAIN_METRIC, TITLES
from vertical_assets.spec import VerticalSpec
from vertical_assets.store import Directory, Table, store_root
from vertical_assets.store.io_managers import (
    ALL_CORES,
    gate_checks,
    markdown_table,
    picture,
    stored,
    texts_table,
)

VERSION = "3"


def build_assets(spec: VerticalSpec, stage: str) -> list[dg.AssetsDefinition]:
    """The robustness report of one vertical."""
    key = [spec.name, "robustness_report"]
    settings, title = spec.evaluate.robustness, TITLES[MAIN_METRIC[spec.task.kind]]
    bars = {
        "noise_drop": (settings.max_drop, "random insertion, deletion, replacement at 10 % (E5)"),
        "fgsm_drop": (settings.max_fgsm_drop, f"FGSM at epsilon {settings.fgsm_epsilon:g} (E6)"),
    }

    @dg.asset(
        **spec.asset(
            stage,
            "robustness_report",
            version=VERSION,
            reads=["evaluate.robustness", "language", "model.max_tokens", "seed", "task"],
            kinds={"pytorch", "parquet"},
        ),
        ins={name: dg.AssetIn([spec.name, name]) for name in ("finetuned_ckpt", "labeled_set")},
        pool=ALL_CORES,
        check_specs=[
            dg.AssetCheckSpec(
                name,
                asset=key,
                blocking=bar is not None,
                description=f"Test {title} falls by at most "
                f"{settings.YARDSTICK if bar is None else bar} under {what}"
                + ("; warns above." if bar is None else "."),
            )
            for name, (bar, what) in bars.items()
        ],
    )
    def robustness_report(finetuned_ckpt: Directory, labeled_set: Table):
        """How the main metric holds on a sample of the test set under noise in the texts and under
        FGSM on their embeddings (SPEC E5, E6); items and draws are the same at all levels.
        """
        import pyarrow.compute as pc

        from vertical_assets.evaluation.robustness.pages import picture_of
        from vertical_assets.evaluation.robustness.report import gates_of, measure
        from vertical_assets.labels.splits import TEST
        from vertical_assets.store.contracts import ROBUSTNESS
        from vertical_assets.store.tables import stage_table

        labeled = labeled_set.read()
        tested = labeled.filter(pc.equal(labeled["split"], TEST))
        if not len(tested):
            raise dg.Failure("labeled_set has no test item; raise split.test", allow_retries=False)
        found = measure(finetuned_ckpt.path, tested, spec)
        return stored(
            stage_table(store_root(), ROBUSTNESS, found.table.to_batches(), spec.sensitive),
            checks=gate_checks(gates_of(found.table, spec)),
            metadata={
                "curves": picture(picture_of(found.table, spec), "robustness curves"),
                "figures": dg.MetadataValue.md(markdown_table(found.table.to_pylist())),
                "examples": texts_table(spec, found.examples, cell=200),
            },
        )

    return [robustness_report]
