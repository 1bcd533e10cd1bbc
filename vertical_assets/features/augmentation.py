"""Augmentation: new training rows from training items (SPEC D11, D12).

Synonym replacement, random swap and random deletion after EDA (Wei and Zou, "EDA: Easy Data
Augmentation Techniques", 2019), and back-translation. Gold spans, domain terms and negations stay
as they are. What a row becomes depends on the seed and its item's id only, so that other items
change no row. A row that equals or nearly duplicates a held-out item is dropped.
"""

import random
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from upath import UPath

from vertical_assets.corpus.cleaning.segmentation import Segmenter, domain_terms
from vertical_assets.corpus.dedup.dedup import normalize
from vertical_assets.features.edits import Edit, Word, apply, deleted, free_words, swapped
from vertical_assets.features.nearness import matches
from vertical_assets.features.stop_words import stop_words
from vertical_assets.features.thesauri import Synonymous, open_thesaurus
from vertical_assets.labels.splits import TRAIN, held_out
from vertical_assets.labels.targets import Span
from vertical_assets.spec import VerticalSpec
from vertical_assets.store.contracts import AUGMENTED

SYNONYMS, SWAP, DELETE, BACK_TRANSLATION = "synonyms", "swap", "delete", "back_translation"
KEPT, UNTRANSLATED, UNCHANGED, REPEATED, HELD_OUT_EXACT, HELD_OUT_NEAR = (
    "kept",
    "too long to translate, or translated to nothing",
    "nothing to change",
    "same as another row of its item",
    "equals a held-out item",
    "near duplicate of a held-out item",
)
FEWEST_WORDS = 4  # of fewer, the one that is left out may be all that the label is about
_VOWELS = frozenset("aeiou")

Translate = Callable[[list[str]], Sequence[str | None]]


@dataclass(frozen=True)
class Words:
    """What the changes of words need to know of the language and the domain."""

    segmenter: Segmenter
    thesaurus: Synonymous | None = None
    stop_words: Collection[str] = frozenset()


def words_of(spec: VerticalSpec, data: UPath) -> Words:
    """What the section `features.augment` needs of the vertical's language and dictionaries.

    Args:
        spec: sections `features.augment`, `clean`, `language`.
        data: the vertical's drop folder.

    Raises:
        SourceError: a dictionary, a thesaurus or the stop words can't be read.
    """
    segmenter = Segmenter(domain_terms(spec.clean, data))
    synonyms = spec.features.augment and spec.features.augment.synonyms
    if not synonyms:
        return Words(segmenter)
    thesaurus = open_thesaurus(synonyms, spec.language, data)
    return Words(segmenter, thesaurus, stop_words([spec.language]))


@dataclass(frozen=True)
class Augmented:
    """AUGMENTED rows, and what became of every row tried: "method<tab>outcome" -> count."""

    rows: pa.Table
    counts: Counter[str]


def augment(
    labeled: pa.Table, spec: VerticalSpec, words: Words, translate: Translate | None = None
) -> Augmented:
    """New rows from the training split of a LABELED table.

    Args:
        labeled: all splits; only training items are augmented, the others are kept clear of.
        spec: sections `features.augment`, `dedup`, `language`, `seed`.
        words: segmenter with the domain's terms, thesaurus and stop words.
        translate: texts there and back, None for one that it can't; needed where
            `back_translation` is asked for.

    Raises:
        ValueError: a method is asked for and what it needs is not given.
    """
    settings = spec.features.augment
    if settings is None:
        raise ValueError("the vertical has no section features.augment")
    items = labeled.filter(pc.equal(labeled["split"], TRAIN)).to_pylist()
    rows: list[dict[str, Any]] = []
    counts = Counter[str]()
    translated: Sequence[str | None] = [None] * len(items)
    if settings.back_translation is not None:
        if translate is None:
            raise ValueError("back_translation needs two translation models")
        translated = translate([item["text"] for item in items])
    for item, back in zip(items, translated, strict=True):
        seen = {normalize(item["text"])}
        if settings.back_translation is not None and back is None:
            counts[f"{BACK_TRANSLATION}\t{UNTRANSLATED}"] += 1
        for method, number, text, spans in variants(item, spec, words, back):
            if not text.strip() or text == item["text"]:
                counts[f"{method}\t{UNCHANGED}"] += 1
            elif (key := normalize(text)) in seen:
                counts[f"{method}\t{REPEATED}"] += 1
            else:
                seen.add(key)
                rows.append(_row(item, method, number, text, spans))
    others = held_out(labeled)["text"].to_pylist()
    found = matches([row["text"] for row in rows], others, spec)
    outcome = {None: KEPT, "exact": HELD_OUT_EXACT, "near": HELD_OUT_NEAR}
    counts.update(
        f"{row['method']}\t{outcome[match]}" for row, match in zip(rows, found, strict=True)
    )
    kept = [row for row, match in zip(rows, found, strict=True) if match is None]
    return Augmented(pa.Table.from_pylist(kept, AUGMENTED), counts)


def with_augmented(labeled: pa.Table, augmented: pa.Table) -> pa.Table:
    """A LABELED table, or some of its columns, with the augmented rows behind its own.

    The new rows have `split` train and the `cluster_id` of their origin, so that everything that
    reads the training split reads them too, and nothing else does.
    """
    return pa.concat_tables([labeled, augmented.select(labeled.schema.names).cast(labeled.schema)])


def strays(labeled: pa.Table, augmented: pa.Table) -> int:
    """How many augmented rows come from no training item, or don't stand in the training split."""
    training = labeled.filter(pc.equal(labeled["split"], TRAIN))["item_id"]
    known = pc.is_in(augmented["origin_id"], training.combine_chunks())
    right = pc.and_(known, pc.equal(augmented["split"], TRAIN))
    return int(augmented.num_rows - (pc.sum(right).as_py() or 0))


def variants(
    item: dict[str, Any], spec: VerticalSpec, words: Words, translated: str | None
) -> list[tuple[str, int, str, tuple[Span, ...]]]:
    """(method, number, text, spans) of every row that is asked for of an item.

    Args:
        item: `item_id`, `text`, and `spans` where it has any.
        spec: sections `features.augment`, `seed`.
        words: segmenter, thesaurus and stop words.
        translated: the text there and back; None for none.
    """
    settings, text = spec.features.augment, item["text"]
    assert settings is not None
    spans = tuple(Span(**span) for span in item.get("spans") or ())
    found = [] if translated is None else [(BACK_TRANSLATION, 0, translated, spans)]
    asked = {SYNONYMS: settings.synonyms, SWAP: settings.swap, DELETE: settings.delete}
    free = free_words(text, spans, words.segmenter) if any(asked.values()) else []
    for method, how in asked.items():
        for number in range(how.per_item if how else 0):
            assert how is not None
            key = f"{spec.seed}\0{method}\0{number}\0{item['item_id']}"
            rng = random.Random(xxhash.xxh3_64_intdigest(key.encode()))
            edits = _edits(method, text, spans, free, how.share, words, rng)
            found.append((method, number, *apply(text, spans, edits)))
    return found


def _edits(
    method: str,
    text: str,
    spans: Sequence[Span],
    free: list[Word],
    share: float,
    words: Words,
    rng: random.Random,
) -> list[Edit]:
    """One way to change a text; none where there is too little to change."""
    if method == SYNONYMS:
        return synonym_edits(text, free, share, words, rng)
    count = max(1, round(share * len(free)))
    if method == SWAP:
        chosen = rng.sample(free, min(2 * count, len(free) // 2 * 2))
        pairs = zip(chosen[::2], chosen[1::2], strict=True)
        return [edit for first, second in pairs for edit in swapped(first, second)]
    if len(free) < FEWEST_WORDS:
        return []
    return deleted(rng.sample(free, count), text, spans)


def synonym_edits(
    text: str, free: list[Word], share: float, words: Words, rng: random.Random
) -> list[Edit]:
    """Replaces words by synonyms: a share of all words, of those that have any.

    Stop words stay, and words of capitals; an initial capital is kept; after `a` and `an` only
    what fits them is put.

    Raises:
        ValueError: there is no thesaurus.
    """
    if words.thesaurus is None:
        raise ValueError("synonym replacement needs a thesaurus")
    choices: list[tuple[Word, list[str]]] = []
    for word in free:
        small = word.text.lower()
        if small in words.stop_words or (word.text.isupper() and len(small) > 1):
            continue
        found = [o for o in words.thesaurus.synonyms(small) if _fits(o, small, text[: word.start])]
        if found:
            choices.append((word, found))
    chosen = rng.sample(choices, min(max(1, round(share * len(free))), len(choices)))
    edits = []
    for word, found in chosen:
        other = rng.choice(found)
        written = other.capitalize() if word.text[0].isupper() else other
        edits.append(Edit(word.start, word.end, written))
    return edits


def _fits(other: str, word: str, before: str) -> bool:
    article = before.rstrip().rpartition(" ")[2].lower()
    return article not in ("a", "an") or (other[0] in _VOWELS) == (word[0] in _VOWELS)


def _row(
    item: dict[str, Any], method: str, number: int, text: str, spans: tuple[Span, ...]
) -> dict[str, Any]:
    row = {
        **item,
        "item_id": f"{item['item_id']}.{method}.{number}",
        "text": text,
        "method": method,
        "origin_id": item["item_id"],
    }
    if item.get("spans") is not None:
        row["spans"] = [vars(span) for span in spans]
    return row
