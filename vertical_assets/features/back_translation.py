"""Back-translation by two translation models (SPEC D11; Sennrich et al., 2016).

A model is a Hugging Face directory or hub name of one pair of languages (Marian's are such), or a
directory that CTranslate2 converted, with the tokenizer's files beside `model.bin`.
"""

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from vertical_assets.batching import in_order
from vertical_assets.spec.features import BackTranslation

CTRANSLATE2 = "model.bin"  # the file that tells a converted model


class TranslationError(Exception):
    """A translation model can't be used; the message names the remedy."""


class Generate(Protocol):
    """Token ids of a translation for each row of token ids."""

    def __call__(self, rows: list[list[int]]) -> list[list[int]]: ...


class Translator:
    """Translates texts in batches of similar length, by beam search.

    Args:
        name: directory or hub name.
        settings: section `features.augment.back_translation`.

    Raises:
        TranslationError: there is no such model, or it translates nothing.
    """

    def __init__(self, name: str, settings: BackTranslation) -> None:
        self.settings = settings
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(name)
            self.generate = (
                _ctranslate2(name, self.tokenizer, settings)
                if (Path(name) / CTRANSLATE2).exists()
                else _transformers(name, self.tokenizer, settings)
            )
        except (OSError, ValueError, ImportError) as error:
            raise TranslationError(
                f"translation model {name!r}: {error}; name a directory or hub name of a model "
                "for one pair of languages, e.g. Helsinki-NLP/opus-mt-zh-en (such tokenizers need "
                "the extra 'translation')"
            ) from error

    def __call__(self, texts: list[str | None]) -> list[str | None]:
        """The translations; None for what is None, longer than `max_tokens`, or translated to
        nothing.
        """
        there = [place for place, text in enumerate(texts) if text]
        ids = self.tokenizer([texts[place] for place in there])["input_ids"] if there else []
        chosen = [n for n, row in enumerate(ids) if len(row) <= self.settings.max_tokens]
        found: list[str | None] = [None] * len(texts)
        lengths = np.array([len(ids[n]) for n in chosen], np.int64)
        batches = in_order(lengths, self.settings.batch_tokens) if chosen else []
        for rows in batches:
            made = self.generate([ids[chosen[row]] for row in rows])
            spoken = self.tokenizer.batch_decode(made, skip_special_tokens=True)
            for row, text in zip(rows, spoken, strict=True):
                found[there[chosen[row]]] = text.strip() or None
        return found


def back_translate(texts: list[str], settings: BackTranslation) -> list[str | None]:
    """Texts there and back; None where a model could not translate one (see `Translator`).

    A text's translation does not depend on the others but for the rounding of floats, which
    differs with the batch that it stands in.
    """
    there = Translator(settings.forward, settings)(list(texts))
    return Translator(settings.backward, settings)(there)


def _transformers(name: str, tokenizer: Any, settings: BackTranslation) -> Generate:
    model = AutoModelForSeq2SeqLM.from_pretrained(name).eval()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model.to(device)

    @torch.inference_mode()
    def generate(rows: list[list[int]]) -> list[list[int]]:
        batch = tokenizer.pad({"input_ids": rows}, return_tensors="pt").to(device)
        made = model.generate(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            num_beams=settings.beams,
            max_new_tokens=settings.max_tokens,
            do_sample=False,
        )
        return [list(map(int, row)) for row in made]

    return generate


def _ctranslate2(name: str, tokenizer: Any, settings: BackTranslation) -> Generate:
    import ctranslate2

    model = ctranslate2.Translator(
        name, device="cuda" if ctranslate2.get_cuda_device_count() else "cpu"
    )

    def generate(rows: list[list[int]]) -> list[list[int]]:
        results = model.translate_batch(
            [tokenizer.convert_ids_to_tokens(row) for row in rows],
            beam_size=settings.beams,
            max_decoding_length=settings.max_tokens,
        )
        return [tokenizer.convert_tokens_to_ids(result.hypotheses[0]) for result in results]

    return generate
