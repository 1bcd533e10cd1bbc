"""Names of the baselines, by kind of task; light, for glue to import."""

from vertical_assets.spec import TaskKind

BASELINES: dict[TaskKind, str] = {
    "classification": "tfidf_logistic_regression",
    "multi_label": "tfidf_one_vs_rest",
    "entities": "dictionary",
    "question_answering": "tfidf_overlap",
    "regression": "tfidf_ridge",
}
XGBOOST = "tfidf_xgboost"  # beside the first one, of the kinds that `boosting` serves
