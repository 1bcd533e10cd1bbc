"""The review: tasks go out blind, answers come back, and the month's alpha is computed (SPEC D8).

    data/<vertical>/reviews/<month>/tasks.csv, tasks.jsonl    what is to be labelled again
    data/<vertical>/reviews/<month>/answers*.jsonl|csv        rows as those of annotations

An answer counts where its item is in the review and the person is another one than those who
annotated it before. Everything else is set aside with the reason.
"""

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from upath import UPath

from vertical_assets.corpus.reading.sources import drop_folder
from vertical_assets.labels.aggregation import tolerance_of
from vertical_assets.labels.agreement import alpha_of
from vertical_assets.labels.annotations import read_annotations
from vertical_assets.labels.decisions import decide
from vertical_assets.labels.files import is_finished
from vertical_assets.labels.items import items_of
from vertical_assets.labels.monthly.draw import Draw, Item, draw
from vertical_assets.labels.targets import targets_of
from vertical_assets.labels.tasks.exports import CSV_NAME, LINES_NAME, write_csv, write_lines
from vertical_assets.labels.votes import MACHINES, by_people
from vertical_assets.spec import VerticalSpec
from vertical_assets.store.contracts import QUARANTINE
from vertical_assets.store.task_contracts import MONTHLY_REVIEW

FOLDER, ANSWERS = "reviews", "answers*"
MONTH = re.compile(r"\d{4}-\d{2}")
WAITING, ANSWERED = "waiting", "answered"


@dataclass(frozen=True)
class Reviewed:
    """A month's review.

    Attributes:
        items: MONTHLY_REVIEW, one row per drawn item.
        rejected: QUARANTINE, of answers that don't count.
        used: answers that count.
        read: rows of answers that were read.
        draw: what was drawn.
        alpha: of the answered items, over the first labels and the answers, with its interval;
            None where nothing was answered.
    """

    items: pa.Table
    rejected: pa.Table
    used: int
    read: int
    draw: Draw
    alpha: tuple[float | None, float | None, float | None]

    def count(self, state: str) -> int:
        """Items that are waiting or answered."""
        return self.items["state"].to_pylist().count(state)


def review(
    month: str,
    annotations: pa.Table,
    documents: pa.Table,
    duplicates: pa.Table,
    spec: VerticalSpec,
    earlier: pa.Table | None = None,
) -> Reviewed:
    """Draws the month's items and compares what came back.

    Args:
        month: YYYY-MM.
        annotations: ANNOTATIONS of all batches.
        documents: `needed_columns` of DEDUP_DOCUMENTS; items without one are left out.
        duplicates: DUPLICATES.
        spec: sections `annotation.review`, `agreement`, `task`, `clean`, `seed`.
        earlier: MONTHLY_REVIEW of this month as it was; what was drawn stays drawn.
    """
    known = pc.is_in(annotations["item_id"], documents["doc_id"].combine_chunks())
    annotations = annotations.filter(known)
    answers, rejected, rows = _answers(month, documents, duplicates, spec)
    before = set() if earlier is None else set(_items(earlier))
    sample = draw(annotations, month, spec.annotation.review.share, spec.seed, before)
    used, refused = _accepted(answers, sample, month)
    said_first = by_people(annotations)
    reviewers: dict[Item, list[str]] = defaultdict(list)
    for item, who in zip(_items(used), used["annotator_id"].to_pylist(), strict=True):
        reviewers[item].append(who)
    again = pa.array([item in reviewers for item in _items(said_first)], pa.bool_())
    # Batches that were read by an earlier version may lack a column.
    both = pa.concat_tables([said_first.filter(again), used], promote_options="default")
    agree = _agreement(both, spec)
    items = [
        {
            "month": month,
            "item_id": each.item[0],
            "question": each.item[1],
            "stratum": each.stratum,
            "annotators": each.annotators,
            "state": ANSWERED if each.item in reviewers else WAITING,
            "reviewers": sorted(reviewers[each.item]) if each.item in reviewers else [],
            "agrees": agree.get(each.item),
        }
        for each in sample.drawn
    ]
    return Reviewed(
        pa.Table.from_pylist(items, MONTHLY_REVIEW),
        pa.concat_tables([rejected, pa.Table.from_pylist(refused, QUARANTINE)]),
        used.num_rows,
        rows,
        sample,
        alpha_of(both, spec) if used.num_rows else (None, None, None),
    )


def export_review(reviewed: Reviewed, texts: Mapping[str, str], spec: VerticalSpec) -> list[UPath]:
    """Writes the month's tasks for second annotators, without what the first ones said.

    Args:
        reviewed: the review; without drawn items nothing is written.
        texts: item_id -> text.
        spec: `name`, `task`.

    Raises:
        ExportError: somebody labelled in the exported CSV; it is left as it is.
    """
    rows = [
        {
            "item_id": row["item_id"],
            "text": texts[row["item_id"]],
            "question": row["question"] or "",
            "review": row["month"],
            "not_by": row["annotators"],
        }
        for row in reviewed.items.to_pylist()
    ]
    if not rows:
        return []
    folder = review_folder(spec.name, rows[0]["review"])
    columns = ("item_id", "text", "question", "review", "not_by")
    cells = [{**row, "not_by": ", ".join(row["not_by"])} for row in rows]
    return [
        write_csv(folder / CSV_NAME, columns, cells, spec.task.kind),
        write_lines(folder / LINES_NAME, rows),
    ]


def review_folder(vertical: str, month: str) -> UPath:
    """Where the tasks and answers of a month are."""
    return drop_folder(vertical) / FOLDER / month


def answer_files(folder: UPath) -> list[UPath]:
    """A month's files of answers, sorted by name."""
    files = (file for file in folder.glob(ANSWERS) if file.is_file() and is_finished(file))
    return sorted(files, key=str)


def answers_digest(folder: UPath) -> str | None:
    """Digest of the names and bytes of a month's answers; None where there are none."""
    digest, files = xxhash.xxh3_128(), answer_files(folder)
    for file in files:
        digest.update(f"{file.name}\0".encode() + file.read_bytes())
    return digest.hexdigest() if files else None


def review_fingerprints(vertical: str) -> dict[str, str | None]:
    """month -> `answers_digest`."""
    folder = drop_folder(vertical) / FOLDER
    months = (each for each in folder.glob("*") if MONTH.fullmatch(each.name))
    return {month.name: answers_digest(month) for month in sorted(months, key=str)}


def _answers(
    month: str, documents: pa.Table, duplicates: pa.Table, spec: VerticalSpec
) -> tuple[pa.Table, pa.Table, int]:
    """(ANNOTATIONS that fit the standard, QUARANTINE, rows read) of a month's files."""
    files = answer_files(review_folder(spec.name, month))
    items = items_of(spec, documents, duplicates)
    found = read_annotations(spec, items, files, f"review {month}")
    return found.annotations, found.rejected, (found.read or 0) - found.forgotten - found.joined


def _accepted(
    answers: pa.Table, sample: Draw, month: str
) -> tuple[pa.Table, Sequence[Mapping[str, Any]]]:
    """Answers that count, and rows of QUARANTINE about those that don't."""
    drawn = {each.item: each.annotators for each in sample.drawn}
    keep, refused = [], []
    columns = (answers[name].to_pylist() for name in ("annotator_id", "annotator_kind", "batch"))
    for item, who, kind, batch in zip(_items(answers), *columns, strict=True):
        reason, field = None, "annotator_id"
        if item not in drawn:
            rule, field = "not_drawn", "item_id"
            reason = f"the item is not in the review of {month}"
        elif kind in MACHINES:
            rule, field = "no_person", "annotator_kind"
            reason = f"{who} is a {kind}; a review is a person's"
        elif who in drawn[item]:
            rule = "same_annotator"
            reason = f"{who} annotated this item before; a review is another person's"
        keep.append(reason is None)
        if reason is not None:
            said = {"item_id": item[0], "question": item[1], "annotator_id": who}
            refused.append(
                {
                    "doc_id": item[0],
                    "source": batch,
                    "origin": batch,
                    "rule": rule,
                    "field": field,
                    "value": json.dumps(said, ensure_ascii=False)[:200],
                    "reason": reason,
                }
            )
    return answers.filter(pa.array(keep, pa.bool_())), refused


def _agreement(annotations: pa.Table, spec: VerticalSpec) -> dict[Item, bool]:
    """Whether everybody said the same of an item; of numbers, all near the median."""
    said: dict[Item, list[Any]] = defaultdict(list)
    targets = targets_of(annotations, spec.task.kind)
    for item, target in zip(_items(annotations), targets, strict=True):
        said[item].append(target)
    if spec.task.kind == "regression":
        near = tolerance_of(targets, spec)
        return {
            item: decide(each, "regression", (), near).confidence == 1.0
            for item, each in said.items()
        }
    return {item: len(set(each)) == 1 for item, each in said.items()}


def _items(table: pa.Table) -> list[Item]:
    columns = (table[name].to_pylist() for name in ("item_id", "question"))
    return list(zip(*columns, strict=True))
