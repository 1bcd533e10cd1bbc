"""Verdicts: which batches may be learnt from, and what a person has to decide (SPEC D8).

| verdict | a batch |
|---|---|
| accepted | at least `agreement.overlap` of its items have two annotators, and their alpha \
reaches the bar |
| adjudicated | does not, but a person decided all of its disputed items |
| refused | the others |

A batch is judged by what its own annotators say; pre-labels of rules and models are no votes. What
somebody says anew in a later batch takes the place of what he said before, if that batch counts: a
refused one takes nothing from the others. One in which too few items have two annotators is judged
by all that was said about its items, in whatever batch: a later one in which a second person checks
a tenth of them stands for both. Of a batch that is not accepted every item is disputed on which no
two annotators say the same and all alike; of an accepted one those for which aggregation finds no
gold.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vertical_assets.labels.aggregation import aggregate, majority
from vertical_assets.labels.agreement import agreement_report, alpha_of, batches_of
from vertical_assets.labels.targets import COLUMN
from vertical_assets.labels.votes import by_people, judgements, latest, places
from vertical_assets.spec import VerticalSpec
from vertical_assets.store.contracts import AGREEMENT
from vertical_assets.store.gates import Gate
from vertical_assets.store.label_contracts import BATCH_VERDICTS

ACCEPTED, ADJUDICATED, REFUSED = "accepted", "adjudicated", "refused"
COUNTED = (ACCEPTED, ADJUDICATED)
ITEM = ["item_id", "question"]


def judge(annotations: pa.Table, decided: pa.Table, spec: VerticalSpec) -> pa.Table:
    """BATCH_VERDICTS, the earliest batch first.

    Args:
        annotations: ANNOTATIONS of all batches; of an annotator's statements on one item only the
            latest in a batch that counts does.
        decided: DECISIONS that stand.
        spec: sections `agreement`, `task`, `seed`.
    """
    people, made = by_people(annotations), keys_of(decided)
    which, place = judgements(people), places(people)
    batch = people["batch"].combine_chunks().dictionary_encode()
    code = batch.indices.to_numpy()
    rows_of = {
        name: np.flatnonzero(code == n) for n, name in enumerate(batch.dictionary.to_pylist())
    }
    counting = np.full(len(which), -1)  # the place of each judgement's latest statement that counts
    found = {}
    # From the newest on: only what came later can take the place of a statement.
    for name in sorted(rows_of, key=lambda name: place[rows_of[name]].max(), reverse=True):
        rows = rows_of[name]
        newest = np.full(len(which), -1)
        np.maximum.at(newest, which[rows], place[rows])
        own = rows[(newest[which[rows]] == place[rows]) & (place[rows] > counting[which[rows]])]
        found[name] = _verdict(name, people, rows, own, which, made, spec)
        if found[name]["verdict"] in COUNTED:
            counting[which[own]] = place[own]
    nothing = np.zeros(0, np.int64)
    judged = [
        found.get(name) or _verdict(name, people, nothing, nothing, which, made, spec)
        for name in batches_of(annotations)
    ]
    return pa.Table.from_pylist(judged, BATCH_VERDICTS)


def counted_votes(
    annotations: pa.Table, verdicts: pa.Table, wanted: Iterable[str] = COUNTED
) -> pa.Table:
    """What people say in batches with a wanted verdict, each person's latest on every item: what
    gold is made of, and what is looked through for disputes.
    """
    return latest(by_people(in_batches(annotations, batches_with(verdicts, wanted))))


def in_batches(annotations: pa.Table, batches: Iterable[str]) -> pa.Table:
    """The annotations of some batches."""
    return annotations.filter(pc.is_in(annotations["batch"], pa.array(batches, pa.string())))


def batches_with(verdicts: pa.Table, wanted: Iterable[str]) -> list[str]:
    """Names of the batches with one of these verdicts."""
    chosen = verdicts.filter(pc.is_in(verdicts["verdict"], pa.array(wanted)))
    return chosen["batch"].to_pylist()


def report_of(annotations: pa.Table, verdicts: pa.Table, spec: VerticalSpec) -> pa.Table:
    """AGREEMENT: over the accepted batches, or over all where none is; and of every batch."""
    accepted = batches_with(verdicts, [ACCEPTED])
    chosen = by_people(in_batches(annotations, accepted) if accepted else annotations)
    rows = agreement_report(chosen, spec).to_pylist()
    rows += [
        {
            "scope": "batch",
            "name": row["batch"],
            "statistic": "alpha",
            "value": row["alpha"],
            "low": row["low"],
            "high": row["high"],
            "items": row["compared"],
        }
        for row in verdicts.to_pylist()
    ]
    return pa.Table.from_pylist(rows, AGREEMENT)


def gate_of(report: pa.Table, verdicts: pa.Table, spec: VerticalSpec) -> Gate:
    """The check `alpha`: something may be learnt from, and what was accepted agrees as a whole.

    Args:
        report: AGREEMENT, of `report_of`.
        verdicts: BATCH_VERDICTS.
        spec: section `agreement`.
    """
    bar = spec.agreement.alpha
    overall = next(
        (r for r in report.to_pylist() if (r["scope"], r["statistic"]) == ("overall", "alpha")),
        None,
    )
    if overall is None:
        return Gate("alpha", False, True, None, bar, "no overall alpha is stored; measure it anew")
    value = overall["value"]
    names = {verdict: batches_with(verdicts, [verdict]) for verdict in (*COUNTED, REFUSED)}
    interval = (
        ""
        if overall["low"] is None
        else f" (95 % interval {overall['low']:.4f}..{overall['high']:.4f})"
    )
    measured = (
        "alpha can't be told, no item has labels of two annotators"
        if value is None
        else f"Krippendorff's alpha {value:.4f}{interval} on {overall['items']} items"
    )
    if names[ACCEPTED]:
        passed = value is not None and value >= bar
        why = f"{measured} {'reaches' if passed else 'is below'} the bar of {bar}"
    elif names[ADJUDICATED]:
        passed = True
        why = f"{measured}; people decided every disputed item of {len(names[ADJUDICATED])} batches"
    else:
        passed = False
        below = value is not None and value < bar
        why = f"{measured} is below the bar of {bar}" if below else f"{measured}; no batch passes"
    if not passed:
        why += (
            ": nothing is trained on these labels; clarify the label standard and label again, or "
            "decide the items of adjudication/queue.jsonl"
        )
    why += f" ({', '.join(f'{len(each)} {name}' for name, each in names.items() if each)})"
    return Gate("alpha", passed, True, value, bar, why)


def _verdict(
    batch: str,
    people: pa.Table,
    rows: np.ndarray,
    left: np.ndarray,
    which: np.ndarray,
    made: set[tuple[str, str | None]],
    spec: VerticalSpec,
) -> dict[str, Any]:
    """Row of BATCH_VERDICTS.

    Args:
        batch: its name.
        people: ANNOTATIONS of all batches.
        rows: of the batch; `left` are those in whose place no later one is.
        which: judgement of each row of `people`.
        made: what was decided.
        spec: sections `agreement`, `task`.
    """
    own = said = people.take(left)
    replaced = len(rows) - len(left)
    items = said.group_by(ITEM).aggregate([]).num_rows
    whose, compared = "its annotators", _compared(said)
    if items and compared < spec.agreement.overlap * items:
        others = ~np.isin(which, which[left])
        about = people.filter(
            pc.and_(pa.array(others), pc.is_in(people["item_id"], said["item_id"].combine_chunks()))
        )
        about = pa.concat_tables([said, latest(about)])
        if (together := _compared(about)) > compared:
            said, compared, whose = about, together, "its annotators and those of other batches"
    unproven = not items or compared < spec.agreement.overlap * items
    alpha, low, high = (None, None, None) if unproven else alpha_of(said, spec)
    bar = spec.agreement.alpha
    accepted = alpha is not None and alpha >= bar
    open_ = keys_of(disputed(own, spec) if accepted else not_alike(own, spec))
    decided = len(open_ & made)
    if alpha is None:
        why = (
            f"{compared} of {items} items have labels of two annotators, agreement.overlap asks "
            f"for {spec.agreement.overlap:.0%}; let a second person label more of them"
            if items
            else f"its {replaced} statements were all replaced by later ones"
            if replaced
            else "it holds no usable statement of a person, see rejected_annotations"
        )
    else:
        interval = "" if low is None else f" (95 % interval {low:.4f}..{high:.4f})"
        why = (
            f"Krippendorff's alpha {alpha:.4f}{interval} of {whose} on {compared} items "
            f"{'reaches' if accepted else 'is below'} the bar of {bar}"
        )
    verdict = ACCEPTED if accepted else REFUSED
    if not accepted and items and decided == len(open_):
        verdict = ADJUDICATED
        why += f"; people decided all {decided} disputed items"
    return {
        "batch": batch,
        "verdict": verdict,
        "alpha": alpha,
        "low": low,
        "high": high,
        "items": items,
        "compared": compared,
        "annotators": pc.count_distinct(own["annotator_id"]).as_py(),
        "replaced": replaced,
        "disputed": len(open_),
        "decided": decided,
        "first_seen": pc.min(own["created_at"]).as_py(),
        "reason": why,
    }


def _compared(annotations: pa.Table) -> int:
    """Items that two annotators labelled."""
    people = annotations.group_by(ITEM).aggregate([("annotator_id", "count_distinct")])
    return int(pc.sum(pc.greater(people["annotator_id_count_distinct"], 1)).as_py() or 0)


def disputed(annotations: pa.Table, spec: VerticalSpec) -> pa.Table:
    """AGGREGATED, of items for which there is no gold."""
    found = aggregate(annotations, spec)
    return found.filter(pc.is_null(found[COLUMN[spec.task.kind]]))


def not_alike(annotations: pa.Table, spec: VerticalSpec) -> pa.Table:
    """AGGREGATED, of items of a refused batch on which no two annotators say the same and all
    alike; where there are none (numbers that are near, but no nearer than others), of all.
    """
    found = majority(annotations, spec)
    sure = pc.and_(pc.equal(found["confidence"], 1.0), pc.greater(found["n_annotators"], 1))
    unsure = found.filter(pc.invert(sure))
    return unsure if unsure.num_rows else found


def keys_of(table: pa.Table) -> set[tuple[str, str | None]]:
    return set(zip(*(table[name].to_pylist() for name in ITEM), strict=True))
