"""Stop words of the package stopwordsiso (stopwords-iso, MIT); only its data file is read."""

import json
from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from vertical_assets.corpus.reading.files import SourceError


def stop_words(languages: Sequence[str]) -> frozenset[str]:
    """The stop words of these languages (ISO 639-1 codes), lower case.

    Raises:
        SourceError: the package is not installed, or knows no such language.
    """
    known = _all()
    if unknown := [language for language in languages if language not in known]:
        raise SourceError(
            f"there are no stop words for {unknown[0]!r}; correct 'stop_words', known are: "
            f"{', '.join(sorted(known))}"
        )
    return frozenset(word.lower() for language in languages for word in known[language])


@lru_cache(maxsize=1)
def _all() -> dict[str, list[str]]:
    found = find_spec("stopwordsiso")  # not imported: only its data is read
    if found is None or found.origin is None:
        raise SourceError("stop words are read from the package stopwordsiso; install it")
    file = Path(found.origin).parent / "stopwords-iso.json"
    words: dict[str, list[str]] = json.loads(file.read_text("utf-8"))
    return words
