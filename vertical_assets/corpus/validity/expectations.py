"""Expectations: Great Expectations' verdict on the documents that passed the rules (SPEC C6).

The suite sees a frame of narrow columns only (texts as their lengths, the fields that rules name),
at most CHUNK_ROWS rows at a time; what it finds in the chunks is added up to one result, which the
data docs show. Ids that stand twice are found over the whole column by `ids.repeated`.
"""

import datetime
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from vertical_assets.corpus.validity.rules import field_values, parse_date, parse_number
from vertical_assets.spec import Rules, VerticalSpec
from vertical_assets.spec.corpus import FieldRule
from vertical_assets.store.contracts import DOCUMENTS
from vertical_assets.store.tables import TableWriter

os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")

CHUNK_ROWS = 100_000  # some 80 MB with two fields of distinct values
VALIDATED = "validated"  # figure of a part that met every expectation: its rows
SHOWN_VALUES = 20  # Great Expectations' own number of unexpected values in a result
SITE = "documents"
_COLUMNS = ["source", "kind", "language", "licence"]
_LENGTH = "text (characters)"
_NUMBER = r"^\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?\s*\Z"
_ISO = r"^(?:\d{4}-\d{2}-\d{2}|\d{8}|\d{4}-?W\d{2}(?:-?\d)?)(?s:.*)\Z"


def docs_folder(vertical: str) -> Path:
    """Where the data docs of a vertical lie: `$VERTICAL_DOCS/<vertical>`, under `data/docs`."""
    return Path(os.environ.get("VERTICAL_DOCS", "data/docs")).absolute() / vertical


@dataclass(frozen=True)
class Expectation:
    """One expectation's outcome."""

    name: str
    column: str
    passed: bool
    unexpected: int


def validate_new(
    valid: TableWriter, spec: VerticalSpec, docs: Path | None, *, today: datetime.date
) -> list[Expectation]:
    """`validate` of those parts of a table that have not met the same expectations before."""
    new = [part for part in valid.parts if VALIDATED not in part.figures]
    batches = (batch for part in new for batch in part.batches())
    before = valid.rows - sum(part.rows for part in new)
    outcomes = validate(batches, spec, docs, today=today, before=before)
    if all(outcome.passed for outcome in outcomes):
        for part in new:
            part.figures[VALIDATED] = part.rows
    return outcomes


def validate(
    batches: Iterable[pa.RecordBatch],
    spec: VerticalSpec,
    docs: Path | None = None,
    *,
    today: datetime.date | None = None,
    before: int = 0,
) -> list[Expectation]:
    """Runs the suite over batches of DOCUMENTS.

    Args:
        batches: DOCUMENTS, in any batch size.
        spec: sections `sources` and `rules`; each rule of the rule base becomes expectations.
        docs: folder for the data docs, a static site with `index.html`; replaced as a whole.
        today: what `max: today` means.
        before: rows of the table that met all of this before; they are not looked at again.

    Raises:
        ValueError: a rule says `today` and none is given.
    """
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    suite = context.suites.add(
        gx.ExpectationSuite(name=f"{spec.name}_documents", expectations=_expectations(spec, today))
    )
    definition = context.validation_definitions.add(
        gx.ValidationDefinition(
            name=f"{spec.name}_documents",
            data=context.data_sources.add_pandas(spec.name)
            .add_dataframe_asset("documents")
            .add_batch_definition_whole_dataframe("all"),
            suite=suite,
        )
    )
    frames = _frames(batches, spec.rules)
    merged = _checked(definition.run(batch_parameters={"dataframe": next(frames)}))
    for frame in frames:
        batch = definition.data.get_batch({"dataframe": frame})
        _add(merged, _checked(batch.validate(suite)))
    if before:
        _add_rows(merged, before)
    if docs is not None:
        (key,) = context.validation_results_store.list_keys()
        context.validation_results_store.set(key, merged)
        _build_docs(context, docs)
    return [
        Expectation(
            name=result.expectation_config.type,
            column=result.expectation_config.kwargs.get("column", "table"),
            passed=bool(result.success),
            unexpected=int(result.result.get("unexpected_count", 0)),
        )
        for result in merged.results
    ]


def _expectations(spec: VerticalSpec, today: datetime.date | None) -> list[Any]:
    import great_expectations.expectations as gxe

    rules = spec.rules
    found = [
        gxe.ExpectTableRowCountToBeBetween(min_value=1),
        gxe.ExpectColumnValuesToBeInSet(
            column="source", value_set=[source.name for source in spec.sources]
        ),
        gxe.ExpectColumnValuesToBeInSet(column="kind", value_set=["public", "report", "user"]),
        *(gxe.ExpectColumnValuesToNotBeNull(column=name) for name in ("language", "licence")),
        gxe.ExpectColumnValuesToBeBetween(
            column=_LENGTH, min_value=rules.min_chars, max_value=rules.max_chars
        ),
        *(gxe.ExpectColumnValuesToNotBeNull(column=name) for name in rules.required),
    ]
    for rule in rules.fields:
        name = rule.field
        if rule.pattern is not None:
            flags = re.match(r"\(\?[aiLmsux]+\)|", rule.pattern).group()  # type: ignore[union-attr]
            whole = rf"{flags}^(?:{rule.pattern.removeprefix(flags)})\Z"
            found.append(gxe.ExpectColumnValuesToMatchRegex(column=name, regex=whole))
        elif rule.allowed is not None:
            found.append(gxe.ExpectColumnValuesToBeInSet(column=name, value_set=list(rule.allowed)))
        elif rule.number:
            found.append(gxe.ExpectColumnValuesToMatchRegex(column=name, regex=_NUMBER))
        elif rule.date == "iso":
            found.append(gxe.ExpectColumnValuesToMatchRegex(column=name, regex=_ISO))
        else:
            found.append(
                gxe.ExpectColumnValuesToMatchStrftimeFormat(column=name, strftime_format=rule.date)
            )
        if _bounded(rule):
            least, most = (
                None if bound is None else _ordered(bound) for bound in rule.bounds(today)
            )
            found.append(
                gxe.ExpectColumnValuesToBeBetween(
                    column=_derived(rule), min_value=least, max_value=most
                )
            )
    return found


def _bounded(rule: FieldRule) -> bool:
    return rule.min is not None or rule.max is not None


def _derived(rule: FieldRule) -> str:
    """Column of the values that bounds are about."""
    return f"{rule.field} ({'number' if rule.number else 'yyyymmdd'})"


def _ordered(value: float | datetime.date) -> float:
    """A number as it is, a day as the number yyyymmdd, which orders as days do in any century."""
    if isinstance(value, (int, float)):
        return float(value)
    return float(value.year * 10_000 + value.month * 100 + value.day)


def _frames(batches: Iterable[pa.RecordBatch], rules: Rules) -> Iterator[Any]:
    """Pandas frames of at most about CHUNK_ROWS rows; at least one, be it empty."""
    held: list[pa.Table] = []
    rows, first = 0, True
    for batch in batches:
        held.append(_narrow(batch, rules))
        rows += batch.num_rows
        if rows >= CHUNK_ROWS:
            yield pa.concat_tables(held).to_pandas()
            held, rows, first = [], 0, False
    if held or first:
        empty = _narrow(pa.RecordBatch.from_pylist([], DOCUMENTS), rules)
        yield pa.concat_tables([*held, empty]).to_pandas()


def _narrow(batch: pa.RecordBatch, rules: Rules) -> pa.Table:
    columns = {name: batch[name] for name in _COLUMNS}
    columns[_LENGTH] = pc.utf8_length(batch["text"]).cast("int64")
    columns |= (values := field_values(batch, rules))
    for rule in filter(_bounded, rules.fields):
        coded = values[rule.field].dictionary_encode()
        distinct = coded.dictionary.to_pylist()
        parse = parse_number if rule.number else partial(parse_date, form=str(rule.date))
        found = (parse(value) for value in distinct)
        parsed = pa.array(
            [None if each is None else _ordered(each) for each in found], pa.float64()
        )
        columns[_derived(rule)] = parsed.take(coded.indices)
    return pa.table(columns)


def _checked(result: Any) -> Any:
    """The result, unless an expectation could not be evaluated: that is an error of ours."""
    for each in result.results:
        info = each.exception_info or {}
        for error in [info] if "raised_exception" in info else info.values():
            if error.get("raised_exception"):
                config = each.expectation_config
                raise RuntimeError(f"{config.type}{config.kwargs}: {error['exception_message']}")
    return result


def _add(merged: Any, result: Any) -> None:
    """Adds one chunk's result to `merged`."""
    found = {each.expectation_config.id: each for each in result.results}
    for into in merged.results:
        other = found[into.expectation_config.id]
        sums, more = into.result, other.result
        if "observed_value" in sums:  # the number of rows
            sums["observed_value"] += more["observed_value"]
            into.success = sums["observed_value"] >= 1
            continue
        into.success = into.success and other.success
        for name in ("element_count", "unexpected_count", "missing_count"):
            if name in sums:
                sums[name] += more[name]
        rows, missing = sums["element_count"], sums.get("missing_count", 0)
        unexpected = sums["unexpected_count"]
        sums["missing_percent"] = 100 * missing / max(rows, 1)
        sums["unexpected_percent"] = 100 * unexpected / max(rows - missing, 1)
        sums["unexpected_percent_nonmissing"] = sums["unexpected_percent"]
        sums["unexpected_percent_total"] = 100 * unexpected / max(rows, 1)
        values = [*sums["partial_unexpected_list"], *more["partial_unexpected_list"]]
        sums["partial_unexpected_list"] = values[:SHOWN_VALUES]
        sums["partial_unexpected_counts"] = [
            {"value": value, "count": count}
            for value, count in Counter(values[:SHOWN_VALUES]).most_common()
        ]
        sums.pop("partial_unexpected_index_list", None)  # of the chunk, not of the table
    _sum_up(merged)


def _sum_up(merged: Any) -> None:
    passed = sum(bool(each.success) for each in merged.results)
    merged.success = passed == len(merged.results)
    merged.statistics |= {
        "successful_expectations": passed,
        "unsuccessful_expectations": len(merged.results) - passed,
        "success_percent": 100 * passed / len(merged.results),
    }


def _add_rows(merged: Any, rows: int) -> None:
    """Counts rows that were validated earlier, where rows are counted."""
    for each in merged.results:
        if "observed_value" in each.result:
            each.result["observed_value"] += rows
            each.success = each.result["observed_value"] >= 1
    _sum_up(merged)


def _build_docs(context: Any, docs: Path) -> None:
    """Builds the site beside `docs`, then puts it in its place."""
    docs.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=docs.parent, prefix=f".{docs.name}-") as staging:
        site, old = Path(staging) / "site", Path(staging) / "old"
        backend = {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(site)}
        context.add_data_docs_site(
            SITE,
            {
                "class_name": "SiteBuilder",
                "store_backend": backend,
                "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
            },
        )
        context.build_data_docs(site_names=[SITE])
        if docs.exists():
            shutil.move(docs, old)
        site.rename(docs)
