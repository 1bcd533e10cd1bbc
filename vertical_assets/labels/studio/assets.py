"""Asset of the label standard: what people and tools are given to label by."""

import dagster as dg

from vertical_assets.spec import VerticalSpec
from vertical_assets.store import store_root
from vertical_assets.store.io_managers import stored

VERSION = "1"


def build_label_standard(spec: VerticalSpec, stage: str) -> dg.AssetsDefinition:
    """label_standard."""

    @dg.asset(
        **spec.asset(
            stage,
            "label_standard",
            version=VERSION,
            reads=["domain", "language", "task", "agreement.alpha"],
            kinds={"markdown", "xml", "json"},
        )
    )
    def label_standard():
        """The label standard in the forms that people and tools need (SPEC D6).

        `guideline.md` for annotators, `label_studio.xml`, the interface of a Label Studio project,
        and `rows.schema.json`, the JSON Schema of a row of a label file; also in
        `data/<vertical>/label_standard/`.
        """
        import tempfile
        from pathlib import Path

        from vertical_assets.corpus.reading.sources import drop_folder
        from vertical_assets.labels.studio.standard_files import GUIDELINE, standard_files
        from vertical_assets.store.atomic import locked, replace
        from vertical_assets.store.versions import stage_directory

        files = standard_files(spec)
        people = drop_folder(spec.name) / "label_standard"
        people.mkdir(parents=True, exist_ok=True)
        with locked(people):
            for name, content in files.items():
                replace(people / name, content.encode())
        with tempfile.TemporaryDirectory() as folder:
            for name, content in files.items():
                (Path(folder) / name).write_text(content, "utf-8")
            staged = stage_directory(store_root(), Path(folder))
        return stored(
            staged,
            metadata={
                "guideline": dg.MetadataValue.md(files[GUIDELINE]),
                "files": ", ".join(str(people / name) for name in files),
                "labels": len(spec.task.definitions),
            },
        )

    return label_standard
