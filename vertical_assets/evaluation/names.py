"""Names of the models and metrics of the reports, by kind of task; light, for glue to import."""

from vertical_assets.spec import TaskKind

FINETUNED, INCUMBENT, MAJORITY, MEAN = "finetuned", "incumbent", "majority", "mean"
MAIN = "f1_macro"
# The figure that models are compared by.
MAIN_METRIC: dict[TaskKind, str] = {
    "classification": MAIN,
    "multi_label": MAIN,
    "entities": "f1_micro",
    "question_answering": "f1",
    "regression": "r2",
    "generation": "rouge_l",
}
TITLES = {"f1_macro": "macro F1", "f1_micro": "micro F1", "f1": "F1", "r2": "R2"}
LOWER_IS_BETTER = {"hamming_loss", "mae", "rmse", "ece", "perplexity"}
