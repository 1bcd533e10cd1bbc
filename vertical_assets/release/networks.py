"""A fine-tuned checkpoint of any kind as a network with named tensors, and as an OpenVINO graph.

Everything that is no tensor (windows, TF-IDF, the CRF's best path, the cascade) stays outside, in
NumPy, and is told by the artifact's description.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from vertical_assets.inference import cascade
from vertical_assets.inference.answers import AT_LEAST
from vertical_assets.release.engines import Batch
from vertical_assets.release.feature_inputs import TFIDF, save_projection
from vertical_assets.release.files import FEATURES, FORMAT, TOKENIZER
from vertical_assets.release.predictor import TOKENS
from vertical_assets.spec import VerticalSpec

if TYPE_CHECKING:
    import openvino as ov


class QuantizationError(Exception):
    """A model that can't become an artifact; the message says why and what can be done."""


class Network(nn.Module):
    """Named tensors -> logits, for tracing."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        token_type_ids: torch.Tensor | None = None,
        tfidf: torch.Tensor | None = None,
        word_vectors: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Logits, by the kind; see `inference/answers.py` for their forms."""
        given: dict[str, Any] = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        read = {"tfidf": tfidf, "word_vectors": word_vectors}
        features = {name: values for name, values in read.items() if values is not None}
        if features:
            given["features"] = features
        logits = self.model(input_ids=input_ids, attention_mask=attention_mask, **given).logits
        if not isinstance(logits, torch.Tensor):
            raise TypeError("a model without logits")
        return logits


class _Projected(nn.Module):
    """In the place of a module that projects a feature, where the feature comes projected."""

    def __init__(self, feature: str) -> None:
        super().__init__()
        self.feature = feature

    def forward(self, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return states


@dataclass(frozen=True)
class Exported:
    """A checkpoint made ready.

    Attributes:
        network: in evaluation mode.
        description: content of artifact.json, without the forms.
    """

    network: Network
    description: dict[str, Any]


def open_network(checkpoint: Path, spec: VerticalSpec, out: Path) -> Exported:
    """Opens a checkpoint, and copies into the artifact what is read beside the network.

    Args:
        checkpoint: transformers' own classifier, or a VerticalModel.
        spec: sections `model`, `task`.
        out: directory of the artifact.

    Raises:
        QuantizationError: the checkpoint lacks a feature that its modules read.
    """
    from vertical_assets.training.modules.model import is_vertical

    shutil.copyfile(checkpoint / TOKENIZER, out / TOKENIZER)
    cascade.copy(checkpoint, out)
    made = _vertical(checkpoint, out) if is_vertical(checkpoint) else _plain(checkpoint, spec)
    stage = cascade.first_stage(checkpoint)
    thresholds = {} if stage is None else {"cascade": stage.threshold}
    if made.description["kind"] == "multi_label":
        thresholds["label"] = AT_LEAST
    made.description.update(format=FORMAT, task=spec.task.name, thresholds=thresholds)
    return made


def _plain(checkpoint: Path, spec: VerticalSpec) -> Exported:
    from transformers import AutoModelForSequenceClassification

    from vertical_assets.training.adaptation.keyword_attention import terms_in

    model = AutoModelForSequenceClassification.from_pretrained(checkpoint).eval()
    config = model.config
    return Exported(
        Network(model).eval(),
        {
            "kind": "classification",
            "labels": [config.id2label[code] for code in range(config.num_labels)],
            "inputs": list(TOKENS[:2]),
            "feature_widths": {},
            "max_tokens": spec.model.max_tokens,
            "window_overlap": 0,
            "pad_id": int(config.pad_token_id or 0),
            "keyword_terms": terms_in(checkpoint),
            "chain": None,
        },
    )


def _vertical(checkpoint: Path, out: Path) -> Exported:
    from vertical_assets.training.modules.model import VerticalModel

    model = VerticalModel.from_pretrained(checkpoint).eval()
    config, chain = model.config, model.chain
    # In the order of the network's arguments.
    features = [name for name in ("tfidf", "word_vectors") if name in (config.feature_widths or {})]
    for name in features:
        folder = checkpoint / "features" / name
        if not folder.exists():
            raise QuantizationError(
                f"the model's modules read {name}, but {folder} is missing; materialize "
                "finetuned_ckpt again"
            )
        shutil.copytree(folder, out / FEATURES / name)
    widths = {name: (config.feature_widths or {})[name] for name in features}
    if TFIDF in features:
        weight: Any = model.branches[TFIDF].projection.weight
        save_projection(out, weight.detach().numpy())
        widths[TFIDF] = weight.shape[1]
        model.branches[TFIDF] = _Projected(TFIDF)
    typed = config.kind == "question_answering"
    return Exported(
        Network(model).eval(),
        {
            "kind": config.kind,
            "labels": config.labels,
            "inputs": [*(TOKENS if typed else TOKENS[:2]), *features],
            "feature_widths": widths,
            "max_tokens": config.max_tokens,
            "window_overlap": config.window_overlap,
            "pad_id": int(config.pad_token_id or 0),
            "keyword_terms": config.keyword_terms or [],
            "chain": chain
            and {name: getattr(chain, name).tolist() for name in ("starts", "transitions", "ends")},
        },
    )


def to_openvino(network: Network, sample: Batch) -> "ov.Model":
    """The graph, inputs by name -> logits, of any number of rows and tokens.

    Args:
        network: in evaluation mode.
        sample: inputs that it is traced with.
    """
    import openvino as ov

    def shape(values: np.ndarray, name: str) -> Any:
        return ov.PartialShape([-1, -1 if name in TOKENS else values.shape[1]])

    with torch.inference_mode():
        graph = ov.convert_model(
            network,
            example_input=tensors(sample),
            input=[
                (name, shape(values, name), ov.Type.i64 if name in TOKENS else ov.Type.f32)
                for name, values in sample.items()
            ],
        )
    for port, name in zip(graph.inputs, sample, strict=True):
        port.get_tensor().set_names({name})
    return graph


def tensors(batch: Batch) -> dict[str, torch.Tensor]:
    """A batch for torch."""
    return {name: torch.from_numpy(values) for name, values in batch.items()}
