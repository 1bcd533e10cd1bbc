"""What kinds of tasks and of models know, and what means nothing to them (SPEC D6, M1)."""

from vertical_assets.spec.labels import TaskKind

# Kinds of tasks whose gold labels speak of the text as a whole.
SURVIVES_TRANSLATION = ("classification", "multi_label", "regression")
# Kinds of tasks whose labels can be weighted by their frequency.
WEIGHED = ("classification", "multi_label")

# Kinds of tasks on which a model can't say beforehand how sure it will be.
UNSURE: dict[TaskKind, str] = {
    "regression": "a regression has no confidence",
    "question_answering": "a model is sure of an answer, and documents without labels have no "
    "questions yet",
}
# Gates that a task of numbers does not have.
OF_ANSWERS = ("argmax_agreement", "f1_excellent")
# Of sections with defaults: what only one of the architectures knows.
FOR_DECODERS = ("instruct", "generate", "evaluate.rouge_l")
FOR_ENCODERS = (
    "pretrain.layer_decay",
    "pretrain.l1",
    "pretrain.dropout",
    "pretrain.packing",
    "finetune.layer_decay",
    "finetune.l1",
    "finetune.dropout",
    "features",
    "search",
    "agreement",
    "evaluate.f1",
    "evaluate.xgboost",
    "evaluate.slices",
    "evaluate.errors",
    "evaluate.robustness",
    "quantize",
    "promote",
    "pretrain.mask",
    "pretrain.freeze_layers",
    "pretrain.head_factor",
    "finetune.freeze_layers",
    "finetune.head_factor",
    "finetune.class_weights",
    "finetune.per_group",
    "finetune.warm_start",
)
