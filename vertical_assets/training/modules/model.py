"""VerticalModel: encoder, modules, fusion and head as one transformers model.

`save_pretrained` writes config.json and model.safetensors, `from_pretrained` opens them.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.configuration_utils import SubConfigSpec
from transformers.utils import ModelOutput

from vertical_assets.inference.chain import Chain
from vertical_assets.spec import VerticalSpec
from vertical_assets.spec.modules import ModuleError
from vertical_assets.training.adaptation.keyword_attention import terms_in
from vertical_assets.training.modules.fusion import FUSIONS
from vertical_assets.training.modules.heads import CrfHead, head_of
from vertical_assets.training.modules.registry import checked_options, module_type

MODEL_TYPE = "vertical"


class VerticalConfig(PreTrainedConfig):
    """What a VerticalModel is made of.

    Attributes:
        encoder_config: of the base encoder.
        kind: of the task.
        labels: of the task, in the order of their ids.
        modules: options of each module, `type` among them.
        fusion: weighted_sum | attention_gate, where there are several modules.
        feature_widths: feature -> width of its vectors.
        max_tokens: longest input.
        window_overlap: tokens that neighbouring windows share.
        keyword_terms: of the domain, where the encoder has keyword attention.
    """

    model_type = MODEL_TYPE
    sub_configs_defaults = {  # noqa: RUF012
        "encoder_config": SubConfigSpec(config_class=AutoConfig, model_type="bert")
    }

    encoder_config: dict[str, Any] | PreTrainedConfig | None = None
    kind: str = "classification"
    labels: list[str] | None = None
    modules: list[dict[str, Any]] | None = None
    fusion: str | None = None
    feature_widths: dict[str, int] | None = None
    max_tokens: int = 128
    window_overlap: int = 16
    keyword_terms: list[str] | None = None


@dataclass
class VerticalOutput(ModelOutput):
    """Logits, by the kind; and the modules' weights, rows x modules, where they are fused."""

    logits: torch.Tensor | None = None
    fusion_weights: torch.Tensor | None = None


class VerticalModel(PreTrainedModel):
    """An encoder with modules on it, their fusion, and the head of a task."""

    config_class = VerticalConfig
    config: VerticalConfig
    base_model_prefix = "encoder"
    supports_gradient_checkpointing = True
    _supports_sdpa = True

    def __init__(self, config: VerticalConfig) -> None:
        super().__init__(config)
        self.encoder = AutoModel.from_config(config.encoder_config)
        if getattr(self.encoder, "pooler", None) is not None:
            self.encoder.pooler = None  # a layer that nothing here reads
        states = int(self.encoder.config.hidden_size)
        self.branches = nn.ModuleDict()
        for given in config.modules or []:
            options = checked_options(given["type"], given, config.kind)
            made = module_type(given["type"])
            width_in = states if made.feature is None else self._feature_width(made.feature)
            self.branches[given["type"]] = made(options, width_in)
        widths = [int(branch.width) for branch in self.parts]
        chained = any(branch.chained for branch in self.parts)
        self.fusion = None if config.fusion is None else FUSIONS[config.fusion](widths, states)
        width = widths[0] if self.fusion is None else states
        self.head = head_of(config.kind, width, config.labels or [], chained)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Modules and heads begin as their constructors leave them."""

    @property
    def parts(self) -> list[Any]:
        """The modules, in the order of the configuration."""
        return list(self.branches.values())

    @property
    def reads_first_token(self) -> bool:
        """Whether no module reads another state than the first token's."""
        return all(part.feature is not None or part.reads_first_token for part in self.parts)

    def _feature_width(self, name: str) -> int:
        widths = self.config.feature_widths or {}
        if name not in widths:
            raise ModuleError(
                f"model.modules names {name!r}, which reads the asset of the same name; "
                f"configure it under 'features.{name}'"
            )
        return widths[name]

    @property
    def chain(self) -> Chain | None:
        """The CRF's scores, where there is one."""
        return self.head.chain() if isinstance(self.head, CrfHead) else None

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        token_type_ids: torch.Tensor | None = None,
        features: Mapping[str, Any] | None = None,
    ) -> VerticalOutput:
        """Logits of a batch; see `inference/answers.py` for their forms.

        Args:
            input_ids: rows x length.
            attention_mask: rows x length, ones first; 2 at tokens of a domain term, where the
                encoder has keyword attention.
            token_type_ids: rows x length; for question answering.
            features: feature -> its batch, for the modules that read one.
        """
        types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        states = self.encoder(
            input_ids=input_ids, attention_mask=attention_mask, **types
        ).last_hidden_state
        mask = attention_mask.clamp(max=1)
        vectors = [
            part(states if part.feature is None else (features or {})[part.feature], mask)
            for part in self.parts
        ]
        if self.fusion is None:
            return VerticalOutput(logits=self.head(vectors[0]))
        fused, weights = self.fusion(vectors)
        return VerticalOutput(logits=self.head(fused), fusion_weights=weights)


AutoConfig.register(MODEL_TYPE, VerticalConfig)
AutoModel.register(VerticalConfig, VerticalModel)


def is_vertical(checkpoint: Path) -> bool:
    """Whether a checkpoint is a VerticalModel; else it is transformers' own classifier."""
    return bool(json.loads((checkpoint / "config.json").read_text())["model_type"] == MODEL_TYPE)


def vertical_config(
    encoder: PreTrainedConfig, spec: VerticalSpec, feature_widths: Mapping[str, int]
) -> VerticalConfig:
    """What a new VerticalModel is made of.

    Args:
        encoder: the adapted base model's.
        spec: sections `model` and `task`.
        feature_widths: feature -> width, of what `model.modules` names.

    Raises:
        ModuleError: a module's options are wrong, or it does not serve the task's kind.
    """
    described = encoder.to_dict()
    described.pop("_name_or_path", None)  # a place on this machine is no part of the model
    kind = spec.task.kind
    modules = [
        checked_options(m.type, m.model_dump(), kind).model_dump()
        for m in spec.model.modules_of(kind)
    ]
    return VerticalConfig(
        encoder_config=described,
        kind=kind,
        labels=list(spec.labels),
        modules=modules,
        fusion=spec.model.fusion,
        feature_widths=dict(feature_widths),
        max_tokens=spec.model.max_tokens,
        window_overlap=spec.model.overlap,
        pad_token_id=encoder.pad_token_id,
    )


def on_base(base: Path, spec: VerticalSpec, feature_widths: Mapping[str, int]) -> VerticalModel:
    """A new VerticalModel on the encoder in a Hugging Face directory; see `vertical_config`."""
    encoder = AutoModel.from_pretrained(base)
    config = vertical_config(encoder.config, spec, feature_widths)
    config.keyword_terms = terms_in(Path(base)) or None
    model = VerticalModel(config)
    weights = encoder.state_dict()
    model.encoder.load_state_dict({name: weights[name] for name in model.encoder.state_dict()})
    return model
