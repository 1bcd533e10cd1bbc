"""Names of the models and metrics of the reports, by kind of task; light, for glue to import."""

from vertical_assets.spec import TaskKind

FINETUNED, BASELINE, MAJORITY, MEAN = "finetuned", "tfidf_logistic_regression", "majority", "mean"
MAIN = "f1_macro"
# What the asset `baselines` holds, and the figure that models are compared by.
BASELINES: dict[TaskKind, str] = {
    "classification": BASELINE,
    "multi_label": "tfidf_one_vs_rest",
    "entities": "dictionary",
    "question_answering": "tfidf_overlap",
    "regression": "tfidf_ridge",
}
MAIN_METRIC: dict[TaskKind, str] = {
    "classification": MAIN,
    "multi_label": MAIN,
    "entities": "f1_micro",
    "question_answering": "f1",
    "regression": "r2",
}
TITLES = {"f1_macro": "macro F1", "f1_micro": "micro F1", "f1": "F1", "r2": "R2"}
LOWER_IS_BETTER = {"hamming_loss", "mae", "rmse"}
