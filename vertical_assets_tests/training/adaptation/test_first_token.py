"""The last layer for a head of the first token: the whole layer's logits and gradients."""

from typing import Any

import pytest
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from vertical_assets.training.adaptation.first_token import first_token_only, reads_first_token
from vertical_assets.training.adaptation.keyword_attention import (
    KeywordBertConfig,
    KeywordBertForSequenceClassification,
)
from vertical_assets.training.loop.dropout import fast_dropout
from vertical_assets.training.modules.model import VerticalConfig, VerticalModel

SIZES = {
    "vocab_size": 50,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "max_position_embeddings": 20,
    "num_labels": 4,
    "initializer_range": 0.3,  # far more than usual, so that attention is not even
}


def classifier(kind: str, attention: str) -> Any:
    torch.manual_seed(3)
    if kind == "keywords":
        config = KeywordBertConfig(**SIZES, keyword_init=0.7, attn_implementation=attention)
        model: Any = KeywordBertForSequenceClassification(config)
    else:
        model = BertForSequenceClassification(BertConfig(**SIZES, attn_implementation=attention))
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):  # zero in a new model, where one left out would not show
            torch.nn.init.normal_(parameter, std=0.3)
    return model.double().eval()


def batch(padded: bool = True) -> dict[str, torch.Tensor]:
    """Rows of unequal length with domain terms in them."""
    mask = torch.ones(5, 11, dtype=torch.long)
    mask[:, 3:6] = 2
    if padded:
        for row, length in enumerate((11, 1, 2, 7, 4)):
            mask[row, length:] = 0
    return {"input_ids": torch.randint(50, mask.shape), "attention_mask": mask}


def logits_and_gradients(model: Any, given: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    model.zero_grad()
    logits = model(**given).logits
    loss: Any = torch.nn.functional.cross_entropy(logits, torch.arange(len(logits)) % 4)
    loss.backward()
    gradients = {name: each.grad.clone() for name, each in model.named_parameters()}
    return {"logits": logits.detach(), **gradients}


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("kind", ["plain", "keywords"])
def test_logits_and_gradients_are_those_of_the_whole_layer(
    kind: str, attention: str, padded: bool
) -> None:
    model, given = classifier(kind, attention), batch(padded)
    if kind == "plain":
        given["attention_mask"] = given["attention_mask"].clamp(max=1)
    whole = logits_and_gradients(model, given)
    names = list(model.state_dict())
    with first_token_only(model):
        assert list(model.state_dict()) == names
        assert model.base_model(**given).last_hidden_state.shape == (5, 1, 24)
        short = logits_and_gradients(model, given)
    assert model.base_model(**given).last_hidden_state.shape == (5, 11, 24)
    assert whole.keys() == short.keys()
    for name, expected in whole.items():
        torch.testing.assert_close(short[name], expected, atol=1e-12, rtol=1e-9, msg=name)


def test_with_dropout_means_are_those_of_the_whole_layer() -> None:
    """Which elements are dropped differs; over many draws it does not show."""
    config = BertConfig(**SIZES | {"num_hidden_layers": 1, "attention_probs_dropout_prob": 0.4})
    torch.manual_seed(5)
    model = BertForSequenceClassification(config).eval()
    model.bert.encoder.layer[0].attention.self.train()  # dropout of attention alone
    one = {name: tensor[:1].expand(4000, -1) for name, tensor in batch(padded=False).items()}
    with torch.no_grad():
        whole = model(**one).logits
        with first_token_only(model):
            short = model(**one).logits
    for moment in (torch.mean, torch.std):
        torch.testing.assert_close(moment(short, 0), moment(whole, 0), atol=0.02, rtol=0.05)
    assert float(short.std(0).min()) > 0.05


def test_it_computes_in_half_precision_too() -> None:
    model, given = classifier("plain", "sdpa").float(), batch()
    given["attention_mask"] = given["attention_mask"].clamp(max=1)
    exact = model(**given).logits
    model.train()
    with torch.autocast("cpu", torch.bfloat16), fast_dropout(model), first_token_only(model):
        model(**given).logits.float().sum().backward()
        model.eval()
        half = model(**given).logits.float()
    torch.testing.assert_close(half, exact, atol=0.1, rtol=0.1)


def vertical(*modules: dict[str, Any], kind: str = "classification") -> VerticalModel:
    """A model with these modules, fused where there are several."""
    encoder = {name: value for name, value in SIZES.items() if name != "num_labels"}
    return VerticalModel(
        VerticalConfig(
            encoder_config=BertConfig(**encoder).to_dict(),
            kind=kind,
            labels=["a", "b"],
            modules=list(modules),
            fusion="weighted_sum" if len(modules) > 1 else None,
            feature_widths={"tfidf": 6},
        )
    ).eval()


def test_only_a_model_that_reads_nothing_else_is_shortened() -> None:
    assert reads_first_token(classifier("plain", "sdpa"))
    assert reads_first_token(vertical({"type": "sequence"}, {"type": "tfidf"}))
    assert not reads_first_token(vertical({"type": "sequence", "pooling": "mean"}))
    assert not reads_first_token(vertical({"type": "sequence"}, {"type": "bilstm"}))
    other = RobertaForSequenceClassification(RobertaConfig(**SIZES))
    assert not reads_first_token(other)
    mean, given = vertical({"type": "sequence", "pooling": "mean"}), batch()
    expected = mean(**given).logits
    with first_token_only(mean):
        assert torch.equal(mean(**given).logits, expected)


def test_a_model_of_modules_is_shortened_alike() -> None:
    model, given = vertical({"type": "sequence"}), batch()
    expected = model(**given).logits
    with first_token_only(model):
        torch.testing.assert_close(model(**given).logits, expected)
