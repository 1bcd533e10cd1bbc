"""Rules: a document is valid, or it is quarantined with rule, field, value and reason (D4, D5)."""

import datetime
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vertical_assets.corpus.validity.language import foreign
from vertical_assets.corpus.validity.quality import FILTERS, NAMES, meaningless, measure
from vertical_assets.spec import Rules
from vertical_assets.spec.corpus import FieldRule
from vertical_assets.store.contracts import DOCUMENTS, QUARANTINE

SHOWN_CHARS = 200
# Something to see: neither space, control or format characters, nor what only looks empty (Hangul
# fillers, braille blank, combining joiner, variation selectors).
VISIBLE = r"[^\pZ\p{Cc}\p{Cf}\x{115F}\x{1160}\x{3164}\x{FFA0}\x{2800}\x{034F}\x{FE00}-\x{FE0F}]"

Verdict = tuple[str, str]  # rule and reason


def apply_rules(
    batch: pa.RecordBatch,
    rules: Rules,
    *,
    today: datetime.date | None = None,
    repeated: NDArray[np.bool_] | None = None,
) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """Parts a batch of RAW_DOCUMENTS into (DOCUMENTS, QUARANTINE); the first broken rule counts.

    No row is lost: `len(batch) == len(valid) + len(quarantined)`. In this order: what reading
    found, `duplicate_id`, `blank`, `too_short`, `too_long`, `required`, the rule base (`pattern`,
    `date`, `date_range`, `number`, `number_range`, `allowed`), `language`, and the names of
    `quality.FILTERS`.

    Args:
        batch: RAW_DOCUMENTS.
        rules: the section `rules`.
        today: what `max: today` means; the run's day, so that a run can be repeated.
        repeated: which rows' doc_id was seen before, from `ids.repeated`.

    Raises:
        ValueError: a rule says `today` and none is given, or a row's `meta` is no JSON object.
    """
    verdicts = _Verdicts(batch)
    ids, text = batch["doc_id"], batch["text"]
    if repeated is not None:
        verdicts.reject(
            pa.array(repeated), "duplicate_id", "doc_id", ids, "id was seen before in this source"
        )
    verdicts.reject(pc.invert(_visible(text)), "blank", "text", text, "the text is blank")
    length = pc.utf8_length(pc.utf8_trim_whitespace(text))
    least, most = rules.min_chars, rules.max_chars
    verdicts.reject(
        pc.less(length, least), "too_short", "text", text, f"fewer than {least} characters"
    )
    verdicts.reject(
        pc.greater(pc.utf8_length(text), most), "too_long", "text", text,
        f"more than {most} characters",
    )  # fmt: skip
    values = field_values(batch, rules)
    for name in rules.required:
        missing = pc.is_null(values[name])
        verdicts.reject(missing, "required", name, values[name], f"no {name!r}, or it is blank")
    for rule in rules.fields:
        _apply_field_rule(verdicts, values[rule.field], rule, today)
    if rules.languages:
        verdicts.reject_rest(lambda rest: _languages(rest, rules.languages))
    if rules.meaningless:
        verdicts.reject_rest(lambda rest: _meaningless(rest, rules.filters_off))
    return verdicts.parted()


class _Verdicts:
    """Rule, field, value and reason of each row's first broken rule; null where none is broken."""

    def __init__(self, batch: pa.RecordBatch) -> None:
        self.batch = batch
        self.rule, self.reason = batch["rule"], batch["reason"]  # what reading found comes first
        read = pc.is_valid(self.rule)
        none = pa.nulls(batch.num_rows, pa.string())
        self.field = pc.if_else(read, "text", none)
        self.value = pc.if_else(read, batch["text"], none)

    def reject(
        self, broken: pa.BooleanArray, rule: Any, field: str, value: pa.Array, reason: Any
    ) -> None:
        """Rows where `broken` is true and no rule came before; rule and reason: text or array."""
        first = pc.and_(pc.fill_null(broken, False), pc.is_null(self.rule))
        if not pc.any(first).as_py():
            return
        self.rule = pc.if_else(first, rule, self.rule)
        self.field = pc.if_else(first, field, self.field)
        self.value = pc.if_else(first, value, self.value)
        self.reason = pc.if_else(first, reason, self.reason)

    def reject_rest(self, judge: Callable[[pa.StringArray], dict[int, Verdict]]) -> None:
        """Judges the texts that broke no rule so far; `judge` gives verdicts by position."""
        rest = pc.is_null(self.rule)
        text = self.batch["text"]
        found = judge(text.filter(rest))
        if not found:
            return
        places = np.flatnonzero(rest.to_numpy(zero_copy_only=False))
        verdicts = {int(places[row]): verdict for row, verdict in found.items()}
        rule, reason = (
            pa.array([verdicts[row][part] if row in verdicts else None for row in range(len(text))])
            for part in (0, 1)
        )
        self.reject(pc.is_valid(rule), rule, "text", text, reason)

    def parted(self) -> tuple[pa.RecordBatch, pa.RecordBatch]:
        rejected = pc.is_valid(self.rule)
        shown = pc.utf8_slice_codeunits(self.value, 0, SHOWN_CHARS)
        columns = [self.batch[name] for name in ("doc_id", "source", "origin")]
        quarantine = pa.RecordBatch.from_arrays(
            [*columns, self.rule, self.field, shown, self.reason], names=QUARANTINE.names
        )
        valid = self.batch.select(DOCUMENTS.names).filter(pc.invert(rejected))
        return valid, quarantine.filter(rejected).cast(QUARANTINE)


def _visible(values: pa.StringArray) -> pa.BooleanArray:
    return pc.match_substring_regex(values, VISIBLE)


def field_values(batch: pa.RecordBatch, rules: Rules) -> dict[str, pa.StringArray]:
    """What the fields that rules name hold, as text; null where absent or blank.

    A field is a column of DOCUMENTS, else an entry of `meta`: numbers, lists and the like as JSON
    writes them. `meta` is parsed only where a rule needs it.

    Raises:
        ValueError: a row's `meta` is no JSON object.
    """
    names = [*dict.fromkeys([*rules.required, *(rule.field for rule in rules.fields)])]
    entries = [name for name in names if name not in DOCUMENTS.names]
    found = {name: batch[name] for name in names if name not in entries}
    if entries:
        rows = [_parsed(row, meta) for row, meta in enumerate(batch["meta"].to_pylist())]
        found |= {
            name: pa.array([_as_text(row.get(name)) for row in rows], pa.string())
            for name in entries
        }
    return {
        name: pc.if_else(pc.fill_null(_visible(found[name]), False), found[name], None)
        for name in names
    }


def _parsed(row: int, meta: str) -> dict[str, Any]:
    try:
        parsed = orjson.loads(meta)
        if not isinstance(parsed, dict):
            raise ValueError("not an object")
    except ValueError as error:
        raise ValueError(
            f"row {row} of the batch: meta is no JSON object ({error}): {meta[:SHOWN_CHARS]!r}; "
            "materialize raw_corpus again"
        ) from error
    return parsed


def _as_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return orjson.dumps(value).decode() if value not in ([], {}) else None


def _apply_field_rule(
    verdicts: _Verdicts, values: pa.StringArray, rule: FieldRule, today: datetime.date | None
) -> None:
    """Judges each distinct value once."""
    coded = values.dictionary_encode()
    check = value_check(rule, today)
    found = [check(value) for value in coded.dictionary.to_pylist()]
    if any(found):
        names, reasons = (
            pa.array([each and each[part] for each in found], pa.string()).take(coded.indices)
            for part in (0, 1)
        )
        verdicts.reject(pc.is_valid(names), names, rule.field, values, reasons)


def value_check(rule: FieldRule, today: datetime.date | None) -> Callable[[str], Verdict | None]:
    """What a rule says of one value: rule and reason where it is broken."""
    if rule.pattern is not None:
        matches = re.compile(rule.pattern).fullmatch
        broken = ("pattern", f"does not match {rule.pattern!r} as a whole")
        return lambda value: None if matches(value) else broken
    if rule.allowed is not None:
        allowed = frozenset(rule.allowed)
        wrong = ("allowed", f"is none of {', '.join(rule.allowed)}")
        return lambda value: None if value in allowed else wrong
    least, most = rule.bounds(today)
    if rule.number:
        return lambda value: _bounded(parse_number(value), least, most, "number", "a number")
    form = "an ISO 8601 date" if rule.date == "iso" else f"a date of the form {rule.date}"
    return lambda value: _bounded(parse_date(value, str(rule.date)), least, most, "date", form)


def _bounded(parsed: Any, least: Any, most: Any, kind: str, form: str) -> Verdict | None:
    if parsed is None:
        return kind, f"is not {form}"
    if least is not None and parsed < least:
        return f"{kind}_range", f"below the least allowed, {_shown(least)}"
    if most is not None and parsed > most:
        return f"{kind}_range", f"above the greatest allowed, {_shown(most)}"
    return None


def _shown(bound: float | datetime.date) -> str:
    return f"{bound:.12g}" if isinstance(bound, (int, float)) else str(bound)


def parse_number(value: str) -> float | None:
    """A finite number as JSON or a spreadsheet writes it (no `_` between digits), else None."""
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) and "_" not in value else None


def parse_date(value: str, form: str) -> datetime.date | None:
    """The day of a time in a strptime format or, for `iso`, in ISO 8601; None if it is none."""
    try:
        if form == "iso":
            return datetime.datetime.fromisoformat(value).date()
        return datetime.datetime.strptime(value, form).date()
    except ValueError:
        return None


def _languages(texts: pa.StringArray, languages: tuple[str, ...]) -> dict[int, Verdict]:
    broken = ("language", f"is not written in {' or '.join(languages)}")
    wrong = foreign(texts, languages).to_numpy(zero_copy_only=False)
    return dict.fromkeys(np.flatnonzero(wrong).tolist(), broken)


def _meaningless(texts: pa.StringArray, off: tuple[str, ...]) -> dict[int, Verdict]:
    figures = measure(texts)
    figures[:, [NAMES.index(name) for name in off]] = np.nan
    found = meaningless(figures)
    return {
        row: (FILTERS[found[row]].name, FILTERS[found[row]].reason(figures[row, found[row]]))
        for row in np.flatnonzero(found >= 0).tolist()
    }
