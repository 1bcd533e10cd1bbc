"""De-identification: personal data in a batch of texts is replaced by pseudonyms (SPEC X1).

Two steps: vectorised RE2 expressions tell which texts can hold anything at all, and only those
meet the recognisers. What is recorded is where and what kind, never the value.
"""

from collections import Counter
from dataclasses import dataclass

import pyarrow as pa

from vertical_assets.corpus.personal.personal_data import Found, PersonalData
from vertical_assets.corpus.personal.pseudonyms import Pseudonyms
from vertical_assets.corpus.personal.recognizer import fold

CHANGES = pa.list_(
    pa.struct(
        [
            pa.field("type", pa.string(), nullable=False),
            pa.field("start", pa.int32(), nullable=False),  # characters of the original text
            pa.field("end", pa.int32(), nullable=False),
            pa.field("pseudonym", pa.string(), nullable=False),
        ]
    )
)


@dataclass(frozen=True)
class Deidentified:
    """A batch without personal data.

    `texts`: the texts, null where they were null. `changes`: per text a list of CHANGES, in order.
    `counts`: type -> number of replacements.
    """

    texts: pa.Array
    changes: pa.Array
    counts: dict[str, int]


def find_personal(texts: pa.Array, data: PersonalData) -> dict[int, list[Found]]:
    """Row -> what is personal in it; rows with nothing are left out."""
    folded = fold(texts)
    found = {
        row: data.find(folded[row].as_py(), finders)
        for row, finders in data.candidates(folded).items()
    }
    return {row: findings for row, findings in sorted(found.items()) if findings}


def deidentify_batch(texts: pa.Array, data: PersonalData, pseudonyms: Pseudonyms) -> Deidentified:
    """Replaces personal data in a column of texts; a second pass finds nothing.

    Args:
        texts: strings; null stays null.
        data: what is looked for.
        pseudonyms: what is written instead.
    """
    found = find_personal(texts, data)
    if not found:
        return Deidentified(texts, pa.repeat(pa.scalar([], CHANGES), len(texts)), {})
    written = texts.to_pylist()
    changes: list[list[dict[str, object]]] = [[] for _ in written]
    counts = Counter[str]()
    for row, findings in found.items():
        parts, place = list[str](), 0
        for each in findings:
            pseudonym = pseudonyms.of(each.entity, each.value)
            parts += [written[row][place : each.start], pseudonym]
            place = each.end
            counts[each.entity] += 1
            changes[row].append(
                {
                    "type": each.entity,
                    "start": each.start,
                    "end": each.end,
                    "pseudonym": pseudonym,
                }
            )
        written[row] = "".join([*parts, written[row][place:]])
    return Deidentified(
        pa.array(written, texts.type), pa.array(changes, CHANGES), dict(sorted(counts.items()))
    )


def find_again(texts: pa.Array, data: PersonalData) -> dict[str, int]:
    """Type -> how much personal data is (still) in the texts; empty after `deidentify_batch`."""
    counts = Counter(
        each.entity for findings in find_personal(texts, data).values() for each in findings
    )
    return dict(sorted(counts.items()))
