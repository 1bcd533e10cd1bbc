"""The cascade's first stage at work: TF-IDF with logistic regression, in NumPy (SPEC M8).

`cascade.json` and `cascade.safetensors` beside a model hold it; where its calibrated confidence is
at or above the threshold, the network need not be asked.
"""

import json
import re
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from vertical_assets.inference.answers import softmax

DESCRIPTION, WEIGHTS = "cascade.json", "cascade.safetensors"

# As scikit-learn's TfidfVectorizer cuts texts: words of two letters or more; runs of white space
# are one space.
_WORD = re.compile(r"(?u)\b\w\w+\b")
_SPACES = re.compile(r"\s\s+")


@dataclass(frozen=True)
class FirstStage:
    """A linear classifier on TF-IDF with a calibrated confidence.

    Attributes:
        labels: in the order of the probabilities.
        by_character: n-grams of characters instead of words.
        ngrams: shortest and longest.
        terms: n-grams, in the order of the rows of `weights`.
        idf: inverse document frequency of the terms.
        weights: terms x labels.
        bias: of the labels.
        temperature: what logits are divided by (Guo et al. 2017).
        threshold: confidence from which the network is skipped.
    """

    labels: tuple[str, ...]
    by_character: bool
    ngrams: tuple[int, int]
    terms: tuple[str, ...]
    idf: np.ndarray
    weights: np.ndarray
    bias: np.ndarray
    temperature: float
    threshold: float

    @cached_property
    def _columns(self) -> dict[str, int]:
        return {term: column for column, term in enumerate(self.terms)}

    def logits(self, texts: Sequence[str]) -> np.ndarray:
        """Texts x labels, before calibration."""
        found = np.tile(self.bias.astype(np.float64), (len(texts), 1))
        for row, text in enumerate(texts):
            counts = Counter(term for term in self._grams(text) if term in self._columns)
            if counts:
                columns = np.array([self._columns[term] for term in counts])
                times = np.array(list(counts.values()), np.float64)
                values = (1.0 + np.log(times)) * self.idf[columns]
                values /= np.sqrt((values**2).sum())
                found[row] += values @ self.weights[columns]
        return found

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """Texts x labels, calibrated."""
        return softmax(self.logits(texts) / self.temperature)

    def sure(self, probabilities: np.ndarray) -> np.ndarray:
        """Which texts need no network."""
        return probabilities.max(axis=1) >= self.threshold

    def _grams(self, text: str) -> list[str]:
        least, most = self.ngrams
        lowered = text.lower()
        if self.by_character:
            plain = _SPACES.sub(" ", lowered)
            return [
                plain[start : start + size]
                for size in range(least, most + 1)
                for start in range(len(plain) - size + 1)
            ]
        words = _WORD.findall(lowered)
        return [
            " ".join(words[start : start + size])
            for size in range(least, most + 1)
            for start in range(len(words) - size + 1)
        ]

    def save(self, directory: Path) -> None:
        """Writes both files."""
        save_file(
            {
                "idf": self.idf.astype(np.float32),
                "weights": self.weights.astype(np.float32),
                "bias": self.bias.astype(np.float32),
            },
            directory / WEIGHTS,
        )
        description = {
            "labels": self.labels,
            "by_character": self.by_character,
            "ngrams": self.ngrams,
            "temperature": self.temperature,
            "threshold": self.threshold,
            "terms": self.terms,
        }
        (directory / DESCRIPTION).write_text(json.dumps(description, ensure_ascii=False))

    @classmethod
    def load(cls, directory: Path) -> "FirstStage":
        """Opens what `save` wrote."""
        said = json.loads((directory / DESCRIPTION).read_text())
        said |= {name: tuple(said[name]) for name in ("labels", "ngrams", "terms")}
        return cls(**said, **load_file(directory / WEIGHTS))


def first_stage(directory: Path) -> FirstStage | None:
    """The first stage beside a model, where there is one."""
    return FirstStage.load(directory) if (directory / DESCRIPTION).exists() else None


def copy(source: Path, target: Path) -> None:
    """Copies the first stage beside another model, where there is one."""
    for name in (DESCRIPTION, WEIGHTS):
        if (source / name).exists():
            shutil.copyfile(source / name, target / name)


def cascaded(
    stage: FirstStage | None,
    texts: Sequence[str],
    network: Callable[[Sequence[str]], np.ndarray],
) -> np.ndarray:
    """Probabilities, texts x labels: the first stage's where it is sure, else the network's."""
    if stage is None:
        return network(texts)
    probabilities = stage.probabilities(texts)
    unsure = np.flatnonzero(~stage.sure(probabilities)).tolist()
    if unsure:
        probabilities[unsure] = network([texts[row] for row in unsure])
    return probabilities
