"""The trainings of the graph as functions of strings and paths, so that each of several processes
can call them (see `loop.processes`).
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from upath import UPath

from vertical_assets.labels.splits import TEST, TRAIN, VALIDATION, groups_of, items_of, split_of
from vertical_assets.spec import VerticalSpec
from vertical_assets.store import Table

if TYPE_CHECKING:
    from vertical_assets.training.classification import Finetuned
    from vertical_assets.training.generation.instruction import Instructed
    from vertical_assets.training.loop.logs import Watch
    from vertical_assets.training.pretraining import Pretrained


def corpus_texts(documents: Table, spec: VerticalSpec) -> list[str]:
    """What may be learnt from: texts of `dedup_corpus` without the test split.

    A validation text tells nothing of its label, but is itself the answer of a decoder's pair.
    """
    unread = (VALIDATION, TEST) if spec.model.architecture == "gpt" else (TEST,)
    rows = documents.read(["doc_id", "text", "meta", "cluster_id"])
    groups = groups_of(rows, spec)
    return [
        text
        for text, group in zip(rows["text"].to_pylist(), groups, strict=True)
        if split_of(group, spec) not in unread
    ]


def location(table: Table) -> str:
    """A table's paths as a string."""
    return "\n".join(map(str, table.paths))


def table_at(location: str) -> Table:
    """The table of `location`."""
    return Table(tuple(UPath(path) for path in location.split("\n")))


def pretrain_run(
    spec: VerticalSpec, work: Path, base: str, dedup_corpus: str, board: str
) -> "Pretrained":
    """Pretraining on the corpus at a location, from the base model in a folder."""
    if spec.model.architecture == "gpt":
        from vertical_assets.training.generation.causal import pretrain_decoder as pretrain
    else:
        from vertical_assets.training.pretraining import pretrain

    texts = corpus_texts(table_at(dedup_corpus), spec)
    return pretrain(Path(base), texts, spec, work, watch_of(board))


def finetune_run(
    spec: VerticalSpec,
    work: Path,
    base: str,
    labeled_set: str,
    augmented_set: str,
    features: str,
    parent: str,
    board: str,
) -> "Finetuned":
    """Fine-tuning on the labelled set at a location, and on the augmented one if there is one, from
    the adapted model in a folder, or from the checkpoint in the folder `parent` (see `warm_start`).
    `features` is JSON: of those that the modules read, name -> folder.
    """
    from vertical_assets.features.augmentation import with_augmented
    from vertical_assets.training.answering import open_features
    from vertical_assets.training.finetuning import finetune
    from vertical_assets.training.warm_start import start_of

    labeled = table_at(labeled_set).read()
    if augmented_set:
        labeled = with_augmented(labeled, table_at(augmented_set).read())
    last = Path(parent) if parent else None
    start = start_of(Path(base), items_of(labeled, TRAIN), spec, last)
    return finetune(
        start.base,
        start.items,
        items_of(labeled, VALIDATION),
        start.spec,
        work,
        watch_of(board),
        open_features({name: Path(folder) for name, folder in json.loads(features).items()}),
        start.whole,
    )


def tune_run(
    spec: VerticalSpec, work: Path, base: str, labeled_set: str, board: str
) -> "Instructed":
    """Instruction tuning on the pairs at a location, from the decoder in a folder."""
    from vertical_assets.labels.generation.pairs import pairs_of
    from vertical_assets.training.generation.instruction import tune

    pairs = table_at(labeled_set).read(["prompt", "text", "split"])
    train_set, held = (pairs_of(pairs, split) for split in (TRAIN, VALIDATION))
    return tune(Path(base), train_set, held, spec, work, watch_of(board))


def watch_of(board: str) -> "Watch":
    """TensorBoard's files, and what is said printed: a worker's output is the step's. Figures on
    the asset's page while it trains are for the process that knows the step.
    """
    from vertical_assets.training.loop.logs import Watch

    return Watch(board=Path(board), say=print)


def together(function: str, spec: VerticalSpec, work: Path, **arguments: str) -> None:
    """Lets several processes run a training of this module where the vertical asks for them; they
    leave it finished in the folder.
    """
    from vertical_assets.training.loop.loop import DONE
    from vertical_assets.training.loop.processes import launch

    if spec.processes.count > 1 and not (work / DONE).exists():
        launch(f"{__name__}:{function}", spec, arguments, work)
