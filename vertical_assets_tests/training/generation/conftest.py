"""A very small decoder, made once, and real pairs to teach it."""

from pathlib import Path

import pytest

from vertical_assets.labels.generation.pairs import Pairs
from vertical_assets.spec import VerticalSpec
from vertical_assets.training.generation.decoders import prepare_decoder
from vertical_assets_tests.conftest import questions_of, tiny_generation


@pytest.fixture(scope="session")
def spec() -> VerticalSpec:
    return VerticalSpec(**tiny_generation())


@pytest.fixture(scope="session")
def pairs() -> Pairs:
    rows = [row for row in questions_of("shutil", "bisect", "textwrap") if len(row["text"]) < 200]
    return Pairs([row["question"] for row in rows], [row["text"] for row in rows])


@pytest.fixture(scope="session")
def decoder(spec: VerticalSpec, pairs: Pairs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of a new decoder, untrained, with a tokenizer of these pairs."""
    return prepare_decoder(spec, pairs.answers, tmp_path_factory.mktemp("decoder")).path
