"""Modules: padding never enters, fusion weighs, and other distributions can bring their own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from vertical_assets.inference.answers import Answer
from vertical_assets.inference.interfaces import OUTPUTS, message
from vertical_assets.labels.targets import Span, Target
from vertical_assets.spec.modules import SERVES, ModuleError, TfidfOptions, WordVectorsOptions
from vertical_assets.training.modules.fusion import AttentionGate, WeightedSum
from vertical_assets.training.modules.heads import HUBER_DELTA, LossSettings, ValueHead
from vertical_assets.training.modules.lstm import BiLstm
from vertical_assets.training.modules.per_text import TfidfVector, WordVector
from vertical_assets.training.modules.registry import checked_options, interface_of, module_type
from vertical_assets_tests.conftest import ROOT

WIDTH = 6


@pytest.mark.parametrize("name", ["sequence", "regression", "bilstm", "bilstm_crf", "tokens"])
def test_padding_changes_nothing(name: str) -> None:
    torch.manual_seed(0)
    made = module_type(name)
    options = checked_options(name, {"type": name}, made.kinds[0])
    module = made(options, WIDTH).eval()
    states, mask = torch.randn(1, 4, WIDTH), torch.ones(1, 4, dtype=torch.long)
    longer = torch.cat([states, torch.full((1, 3, WIDTH), 9.0)], dim=1)
    longer_mask = torch.cat([mask, torch.zeros(1, 3, dtype=torch.long)], dim=1)
    alone, padded = module(states, mask), module(longer, longer_mask)
    assert alone.shape[-1] == module.width
    if made.per_token:
        padded = padded[:, :4]
    assert torch.allclose(alone, padded, atol=1e-6)


def test_the_exported_bilstm_computes_what_the_packed_one_does() -> None:
    torch.manual_seed(0)
    lstm = BiLstm(WIDTH, 5).eval()
    states = torch.randn(3, 7, WIDTH)
    mask = (torch.arange(7) < torch.tensor([7, 2, 4])[:, None]).long()
    packed = lstm(states, mask)
    assert packed.shape == (3, 7, 10)
    assert torch.allclose(lstm._by_reversal(states, mask.sum(1)), packed, atol=1e-6)
    assert not packed[1, 2:].any()


def test_the_bilstm_sees_what_comes_before_and_behind() -> None:
    torch.manual_seed(0)
    lstm = BiLstm(WIDTH, 5).eval()
    states, mask = torch.randn(1, 5, WIDTH), torch.ones(1, 5, dtype=torch.long)
    changed = states.clone()
    changed[0, 4] += 1.0
    difference = (lstm(states, mask) - lstm(changed, mask)).abs()[0, 0]
    assert not difference[:5].any()  # forward: the first token knows nothing of the last
    assert difference[5:].all()  # backward: it does


def test_the_weighted_sum_begins_equal_and_learns_what_helps() -> None:
    torch.manual_seed(0)
    fusion, readout = WeightedSum([3, 3], 4), torch.nn.Linear(4, 1)
    useful = torch.randn(256, 3)
    noise = torch.randn(256, 3)
    wanted = useful[:, :1] * 2
    _, weights = fusion([useful, noise])
    assert torch.allclose(weights, torch.full((256, 2), 0.5))
    optimizer = torch.optim.Adam([*fusion.parameters(), *readout.parameters()], lr=0.05)
    for _ in range(80):
        optimizer.zero_grad()
        (readout(fusion([useful, noise])[0]) - wanted).pow(2).mean().backward()
        optimizer.step()
    _, weights = fusion([useful, noise])
    assert weights[0, 0] > 0.7
    assert torch.allclose(weights.sum(1), torch.ones(256))


def test_features_say_nothing_before_they_have_learnt() -> None:
    """Random projections would be noise in the fused vector from the first step on."""
    mask = torch.ones(2, 1)
    csr = torch.tensor([0, 2, 1]), torch.tensor([0, 2]), torch.tensor([0.6, 0.8, 1.0])
    for module, states in (
        (TfidfVector(TfidfOptions(width=4), 3), csr),
        (WordVector(WordVectorsOptions(width=4), 3), torch.randn(2, 3)),
    ):
        one, other = module(states, mask)
        assert torch.equal(one, other)
        optimizer = torch.optim.Adam(module.parameters(), lr=0.1)
        (module(states, mask) * torch.tensor([[1.0], [-1.0]])).sum().backward()
        optimizer.step()
        one, other = module(states, mask)
        assert not torch.isclose(one, other).any()


def test_the_attention_gate_weighs_each_item_by_itself() -> None:
    torch.manual_seed(0)
    fused, weights = AttentionGate([3, 5], 4)([torch.randn(8, 3), torch.randn(8, 5)])
    assert fused.shape == (8, 4)
    assert torch.allclose(weights.sum(1), torch.ones(8))
    assert weights[:, 0].std() > 0


def test_the_value_head_is_huber_in_standard_deviations() -> None:
    head = ValueHead(2)
    head.fit(torch.tensor([90.0, 110.0]))  # mean 100, standard deviation 10
    near, far = torch.tensor([105.0]), torch.tensor([130.0])
    wanted = {"values": torch.tensor([100.0])}
    assert HUBER_DELTA == 1.0  # SPEC T9
    assert float(head.loss(near, wanted, LossSettings())) == pytest.approx(0.5 * 0.5**2)
    assert float(head.loss(far, wanted, LossSettings())) == pytest.approx(3.0 - 0.5)


def test_every_module_has_an_input_and_an_output_schema() -> None:
    for name, kinds in SERVES.items():
        for kind in kinds:
            described = interface_of(kind, [{"type": name}])
            assert described["input"]["type"] == described["output"]["type"] == "object"
            assert described["modules"][0]["output"] == OUTPUTS[kind].model_json_schema()
    fused = interface_of("classification", [{"type": "sequence"}, {"type": "tfidf"}])
    assert [m["output"]["title"] for m in fused["modules"]] == ["VectorOutput", "VectorOutput"]
    asked = interface_of("question_answering", [{"type": "question_answering"}])
    assert asked["input"]["required"] == ["question", "text"]


@pytest.mark.parametrize(
    ("kind", "target", "spans", "expected"),
    [
        ("classification", "a", (), {"label": "a", "confidence": 0.75}),
        ("multi_label", ("a", "b"), (), {"labels": ["a", "b"], "confidence": 0.75}),
        (
            "entities",
            (Span(2, 5, "drug"),),
            (0.9,),
            {
                "spans": [{"start": 2, "end": 5, "label": "drug", "confidence": 0.9}],
                "confidence": 0.75,
            },
        ),
        ("regression", 2.5, (), {"value": 2.5}),
    ],
)
def test_answers_fit_their_schema(
    kind: str, target: Target, spans: tuple[float, ...], expected: dict[str, object]
) -> None:
    confidence = None if kind == "regression" else 0.75
    assert message(kind, Answer(target, confidence, spans)).model_dump() == expected


def test_wrong_options_and_kinds_are_named() -> None:
    with pytest.raises(ModuleError, match="'crf' serves entities, the task is regression"):
        checked_options("crf", {"type": "crf"}, "regression")
    with pytest.raises(ModuleError, match=r"(?s)options of 'bilstm'.*hidden"):
        checked_options("bilstm", {"type": "bilstm", "hidden": 0}, "classification")


OTHER = '''
from typing import Literal

from pydantic import BaseModel, ConfigDict
from torch import nn

from vertical_assets.training.modules.interface import Module


class Options(BaseModel):
    model_config = ConfigDict(extra="forbid")
    type: Literal["longest"] = "longest"
    width: int = 8


class Longest(Module):
    """The greatest value of every dimension."""

    kinds = ("classification",)
    options = Options

    def __init__(self, options, width_in):
        super().__init__(options, width_in)
        self.width, self.dense = options.width, nn.Linear(width_in, options.width)

    def forward(self, states, mask):
        closed = states.masked_fill(mask[..., None] == 0, -1e4)
        return self.dense(closed.max(dim=1).values)
'''
USE = """
import json, sys
import torch
from transformers import BertConfig, BertModel
from vertical_assets.spec import VerticalSpec
from vertical_assets_tests.conftest import tiny
from vertical_assets.training.modules.model import VerticalModel, on_base

BertModel(BertConfig(vocab_size=50, hidden_size=32, num_hidden_layers=1, num_attention_heads=1,
                     intermediate_size=32)).save_pretrained(sys.argv[1] + "/base")
model = {**tiny()["model"], "modules": [{"type": "longest", "width": 5}]}
spec = VerticalSpec(**tiny(model=model))
made = on_base(sys.argv[1] + "/base", spec, {}).eval()
made.save_pretrained(sys.argv[1] + "/made")
opened = VerticalModel.from_pretrained(sys.argv[1] + "/made").eval()
inputs = {"input_ids": torch.tensor([[2, 7, 3]]), "attention_mask": torch.ones(1, 3).long()}
a, b = made(**inputs).logits, opened(**inputs).logits
print(json.dumps({"equal": torch.allclose(a, b, atol=1e-6), "width": opened.parts[0].width}))
"""


def test_an_installed_distribution_brings_a_module_type(tmp_path: Path) -> None:
    """Named in YAML, without touching the package (SPEC M10)."""
    site = tmp_path / "site"
    information = site / "longest-1.0.dist-info"
    information.mkdir(parents=True)
    (site / "longest.py").write_text(OTHER)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: longest\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(
        "[vertical_assets.modules]\nlongest = longest:Longest\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", USE, str(tmp_path)],
        cwd=ROOT,
        env={"PYTHONPATH": str(site), "PATH": "", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == {"equal": True, "width": 5}
