"""Assets of the tasks: labeling_tasks, and the files that people work from."""

import dagster as dg

from vertical_assets.spec import VerticalSpec
from vertical_assets.store import Table, store_root
from vertical_assets.store.io_managers import NEEDS, check, markdown_table, picture, stored

VERSION = "1"


def build_assets(spec: VerticalSpec, stage: str) -> list[dg.AssetsDefinition]:
    """labeling_tasks."""
    key = [spec.name, "labeling_tasks"]

    described = spec.asset(
        stage,
        "labeling_tasks",
        version=VERSION,
        reads=["annotation.tasks", "task", "clean", "language", "seed"],
        kinds={"parquet"},
    )

    @dg.asset(
        **{**described, "tags": {**described["tags"], NEEDS: "dedup_corpus"}},
        ins={
            name: dg.AssetIn([spec.name, name])
            for name in (
                "dedup_corpus",
                "labeled_set",
                "adjudication_queue",
                "relabel_queue",
                "prelabels",
            )
        },
        check_specs=[
            dg.AssetCheckSpec(
                "enough_tasks",
                asset=key,
                description=f"Warns where fewer than {spec.annotation.tasks.count} items are left "
                "to be labelled by people.",
            )
        ],
    )
    def labeling_tasks(
        dedup_corpus: Table,
        labeled_set: Table | None,
        adjudication_queue: Table | None,
        relabel_queue: Table | None,
        prelabels: Table | None,
    ):
        """What to label next, pre-labelled by rules and the champion; key items for experts (D7).

        `data/<vertical>/labeling_tasks/` has it as `tasks.csv`, `tasks.jsonl` and as Label
        Studio's tasks with predictions. Before there are labels or a model, all of it is drawn
        from the corpus.
        """
        from vertical_assets.corpus.reading.sources import SourceError, drop_folder
        from vertical_assets.labels.tasks.exports import ExportError, export_tasks
        from vertical_assets.labels.tasks.pages import by_strategy, examples
        from vertical_assets.labels.tasks.tasks import Known, plan_tasks
        from vertical_assets.plots import bars, histogram
        from vertical_assets.store.tables import stage_table
        from vertical_assets.store.task_contracts import LABELING_TASKS

        known = Known.of(
            labeled_set and labeled_set.read(["item_id", "n_annotators", "method", "text"]),
            adjudication_queue and adjudication_queue.read(["item_id"]),
            relabel_queue and relabel_queue.read(),
            prelabels and prelabels.read(),
        )
        folder = drop_folder(spec.name)
        try:
            plan = plan_tasks(dedup_corpus.batches(["doc_id", "text"]), known, spec, folder)
            files = export_tasks(plan.tasks, folder / "labeling_tasks", spec.task.kind)
        except (SourceError, ExportError) as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        counts = by_strategy(plan.tasks)
        pictures = {"strategies": picture(bars(counts, "tasks"), "tasks by strategy and route")}
        if plan.doubts:
            drawn = histogram(plan.doubts, spec.annotation.tasks.uncertainty.replace("_", " "))
            pictures["uncertainty"] = picture(drawn, "uncertainty of the pool")
        return stored(
            stage_table(store_root(), LABELING_TASKS, plan.tasks.to_batches(), spec.sensitive),
            checks=[
                check(
                    "enough_tasks",
                    spec.annotation.simulate is not None
                    or plan.tasks.num_rows == spec.annotation.tasks.count,
                    f"{plan.tasks.num_rows} of {spec.annotation.tasks.count} tasks; "
                    f"{plan.facts['with_enough_labels']} items have labels enough, "
                    f"{plan.facts['disputed']} wait for a decision",
                    severity=dg.AssetCheckSeverity.WARN,
                )
            ],
            metadata={
                **plan.facts,
                "files": ", ".join(map(str, files)),
                "counts": dg.MetadataValue.md(
                    markdown_table(
                        [
                            {"strategy": name, **{route: counts[route][name] for route in counts}}
                            for name in next(iter(counts.values()))
                        ]
                    )
                ),
                **pictures,
                **(
                    {}
                    if spec.sensitive
                    else {"examples": dg.MetadataValue.md(markdown_table(examples(plan.tasks)))}
                ),
            },
        )

    return [labeling_tasks]
