"""Anchoring: where a span that people gave lies in the text of the corpus, or why that is unsaid.

People label a text as the source had it, or as the corpus has it; cleaning may have changed it in
between (spaces, full-width letters, numbers). So a span may carry the text it covers, `quote`, and
what stands before and after it, `prefix` and `suffix` (W3C Web Annotation Data Model, 2017, section
4.2.4, "Text Quote Selector"). Places count Unicode characters, `end` is exclusive. A span whose
place is not certain is refused, never guessed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from vertical_assets.corpus.cleaning.cleaning import clean_text
from vertical_assets.corpus.cleaning.numbers import normalize_numbers
from vertical_assets.spec.corpus import Clean


class BreachError(Exception):
    """A row breaks the label standard: `rule`, the `field` at fault, and the reason in words."""

    def __init__(self, rule: str, field: str, reason: str) -> None:
        super().__init__(reason)
        self.rule, self.field = rule, field


@dataclass(frozen=True)
class ItemText:
    """The text that spans are in; `changed` where it may differ from what people saw."""

    text: str
    changed: bool = False


def place(given: Mapping[str, Any], item: ItemText, policy: Clean) -> tuple[int, int]:
    """Start and end of a span in an item's text.

    `start` and `end` alone do where the text is as people saw it; in a text that was changed the
    quote must be found, at one place only. A quote is looked for as it is, then as cleaning would
    write it.

    Args:
        given: `start` and `end`, or `quote`, or all; `prefix` and `suffix` tell equal quotes apart.
        item: the text in the corpus.
        policy: section `clean`.

    Raises:
        BreachError: `missing_place`, `outside_text`, `blank_span`, `changed_text`,
            `quote_not_found` or `ambiguous_quote`.
    """
    quote = given.get("quote") or None
    start, end = _offset(given, "start"), _offset(given, "end")
    if quote is None and (start is None or end is None):
        raise BreachError("missing_place", "start", "a span needs 'start' and 'end', or a 'quote'")
    if quote is None and item.changed:
        raise BreachError(
            "changed_text",
            "start",
            "cleaning changed this text, so that places in the source's may be others; add what "
            "the span covers as 'quote'",
        )
    if start is not None and end is not None and not item.changed:
        inside = 0 <= start < end <= len(item.text)
        if quote is None and not inside:
            raise BreachError(
                "outside_text",
                "start",
                f"{start} to {end} is no span of a text of {len(item.text)} characters",
            )
        if inside and quote in (None, item.text[start:end]):
            return _not_blank(start, end, item.text)
    return _not_blank(*_found(str(quote), given, item.text, policy), item.text)


def _found(quote: str, given: Mapping[str, Any], text: str, policy: Clean) -> tuple[int, int]:
    prefix, suffix = (str(given.get(name) or "") for name in ("prefix", "suffix"))
    for written in (quote, _as_cleaned(quote, policy)):
        at = list(_occurrences(written, text)) if written else []
        if not at:
            continue
        fitting = [
            start
            for start in at
            if _ends(text[:start], prefix, policy)
            and _starts(text[start + len(written) :], suffix, policy)
        ]
        if len(fitting) == 1:
            return fitting[0], fitting[0] + len(written)
        raise BreachError(
            "ambiguous_quote" if len(at) > 1 else "quote_not_found",
            "quote",
            f"{quote!r} stands {len(at)} times in the text, {len(fitting)} of them between 'prefix'"
            " and 'suffix'; give what stands before and after it",
        )
    raise BreachError("quote_not_found", "quote", f"{quote!r} does not stand in the text")


def _occurrences(quote: str, text: str) -> Iterator[int]:
    at = text.find(quote)
    while at >= 0:
        yield at
        at = text.find(quote, at + 1)


def _ends(before: str, prefix: str, policy: Clean) -> bool:
    return before.endswith(prefix) or before.rstrip().endswith(_as_cleaned(prefix, policy))


def _starts(after: str, suffix: str, policy: Clean) -> bool:
    return after.startswith(suffix) or after.lstrip().startswith(_as_cleaned(suffix, policy))


def _as_cleaned(text: str, policy: Clean) -> str:
    return normalize_numbers(clean_text(text, policy)[0], policy.numbers)[0]


def _not_blank(start: int, end: int, text: str) -> tuple[int, int]:
    if not text[start:end].strip():
        raise BreachError("blank_span", "start", f"{start} to {end} covers nothing but spaces")
    return start, end


def _offset(given: Mapping[str, Any], name: str) -> int | None:
    value = given.get(name)
    if value is None or value == "":
        return None
    try:
        if isinstance(value, bool) or int(value) != float(value):
            raise ValueError
        return int(value)
    except (TypeError, ValueError):
        raise BreachError("outside_text", name, f"{name} {value!r} is no whole number") from None
