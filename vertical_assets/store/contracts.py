"""Contracts: the columns that travel through the graph, with their meanings (DESIGN 4).

A field's description is kept in the Arrow schema and shown on the asset's page.
"""

import pyarrow as pa

from vertical_assets.store.fields import SPANS
from vertical_assets.store.fields import described as _field
from vertical_assets.store.fields import targets as _targets

__all__ = ["SPANS"]

DOCUMENTS = pa.schema(
    [
        _field("doc_id", pa.string(), "xxh3-128 of source and native id, in hexadecimal"),
        _field("source", pa.string(), "Name of the source; the partition"),
        _field("kind", pa.string(), "public | report | user (SPEC D2)"),
        _field("title", pa.string(), "Title, where the source has one", nullable=True),
        _field("text", pa.string(), "The document's text"),
        _field("language", pa.string(), "Language code, e.g. zh or en"),
        _field("author_id", pa.string(), "Author, where known", nullable=True),
        _field("published_at", pa.string(), "Time of publication, ISO 8601", nullable=True),
        _field("licence", pa.string(), "Licence of the source"),
        _field("meta", pa.string(), "Everything else the source says, as JSON"),
        _field("origin", pa.string(), "File and line, or native id, in the source"),
    ]
)

RAW_DOCUMENTS = pa.schema(
    [
        *DOCUMENTS,
        _field("rule", pa.string(), "Why the row can't be a document; null if it can", True),
        _field("reason", pa.string(), "The same in words", nullable=True),
    ]
)

QUARANTINE = pa.schema(
    [
        _field("doc_id", pa.string(), "The rejected document"),
        _field("source", pa.string(), "Its source"),
        _field("origin", pa.string(), "File and line in the source"),
        _field("rule", pa.string(), "The rule that caught it"),
        _field("field", pa.string(), "The field that the rule looked at"),
        _field("value", pa.string(), "Its value, cut to 200 characters", nullable=True),
        _field("reason", pa.string(), "What is wrong, in words"),
    ]
)

CLEAN_DOCUMENTS = pa.schema(
    [
        *DOCUMENTS,
        _field("words", pa.list_(pa.string()), "The text's words; domain terms whole (D9)"),
        _field("changes", pa.string(), "What de-identification and cleaning replaced, as JSON"),
    ]
)

AUTHOR_ATTRIBUTES = pa.schema(
    [
        _field("doc_id", pa.string(), "A document that said something of its author"),
        _field("attributes", pa.string(), "What may be said: generalised entries, as JSON"),
        _field("people", pa.int64(), "How many people share these values"),
    ]
)

PRIVATE_RELEASE = pa.schema(
    [
        _field("statistic", pa.string(), "count | mean"),
        _field("of", pa.string(), "What is counted or averaged"),
        _field("by", pa.string(), "Column that parts the groups; null for none", nullable=True),
        _field("group", pa.string(), "The group; `*` for every value that is not listed"),
        _field("value", pa.float64(), "The statistic with noise"),
        _field("accuracy", pa.float64(), "The true one is within this, with 95 % probability"),
        _field("epsilon", pa.float64(), "Privacy loss of the whole release"),
    ]
)

CONTAMINATION = pa.schema(
    [
        _field("item_id", pa.string(), "The evaluation item"),
        _field("doc_id", pa.string(), "The document of the corpus that holds text of it"),
        _field("overlap", pa.float64(), "Share of the item's n-grams found in the document"),
        _field("kind", pa.string(), "exact (the same text) | ngram"),
    ]
)

DEDUP_DOCUMENTS = pa.schema(
    [
        *CLEAN_DOCUMENTS,
        _field(
            "cluster_id",
            pa.string(),
            "Duplicate cluster: id of the document that first stood for it",
        ),
    ]
)

DUPLICATES = pa.schema(
    [
        _field("cluster_id", pa.string(), "The cluster, as in dedup_corpus"),
        _field("kept_id", pa.string(), "Document that stays"),
        _field("dropped_id", pa.string(), "Document that is dropped"),
        _field("method", pa.string(), "exact | near"),
        _field("similarity", pa.float64(), "True Jaccard similarity to the kept document"),
    ]
)

ANNOTATIONS = pa.schema(
    [
        _field("item_id", pa.string(), "The labelled document's doc_id"),
        _field("task", pa.string(), "Label standard"),
        _field("annotator_id", pa.string(), "Who said it"),
        _field("annotator_kind", pa.string(), "human | rule | model | simulated"),
        _field("label", pa.string(), "The label; of a question, its type", nullable=True),
        *_targets("", "What was said"),
        _field("question", pa.string(), "What was asked (question_answering)", nullable=True),
        _field("characters", pa.int32(), "Length of the text that spans are in", nullable=True),
        _field("batch", pa.string(), "Batch it came with; the partition"),
        _field("created_at", pa.string(), "When, ISO 8601, where known", nullable=True),
        _field("lead_time_s", pa.float64(), "Seconds that it took, where known", nullable=True),
    ]
)

AGREEMENT = pa.schema(
    [
        _field("scope", pa.string(), "overall | batch | class | pair | annotator"),
        _field("name", pa.string(), "Batch, class, pair of annotators `a | b`, or annotator"),
        _field(
            "statistic",
            pa.string(),
            "alpha (Krippendorff) | ac1 | ac2 (Gwet) | percent (equal pairs) | span_f1",
        ),
        _field("value", pa.float64(), "At most 1; null: no item has two labels", nullable=True),
        _field("low", pa.float64(), "Lower end of the 95 % bootstrap interval", nullable=True),
        _field("high", pa.float64(), "Upper end of the 95 % bootstrap interval", nullable=True),
        _field("items", pa.int64(), "Items with labels of at least two annotators"),
    ]
)

ANNOTATOR_QUALITY = pa.schema(
    [
        _field("annotator_id", pa.string(), "Who"),
        _field("annotations", pa.int64(), "How many items they labelled"),
        _field("accuracy", pa.float64(), "Expected share of right labels (Dawid and Skene 1979)"),
        _field(
            "confusion",
            pa.list_(pa.list_(pa.float64())),
            "Probability of what they say, by the true label; in the label standard's order",
        ),
    ]
)

LABELED = pa.schema(
    [
        _field("item_id", pa.string(), "The document's doc_id"),
        _field("text", pa.string(), "Its text"),
        _field("task", pa.string(), "Label standard"),
        _field("label", pa.string(), "Gold label; of a question, its type", nullable=True),
        *_targets("", "Gold"),
        _field("question", pa.string(), "What is asked (question_answering)", nullable=True),
        _field(
            "confidence",
            pa.float64(),
            "Share of the annotators who agree with it; its probability (dawid_skene, mace)",
        ),
        _field("n_annotators", pa.int64(), "How many labelled the item"),
        _field("method", pa.string(), "majority | median | adjudicated | dawid_skene | mace"),
        _field("split", pa.string(), "train | validation | test"),
        _field("cluster_id", pa.string(), "What decided the split: duplicate cluster or group"),
    ]
)

AUGMENTED = pa.schema(
    [
        *(field for field in LABELED if field.name != "method"),
        _field("method", pa.string(), "synonyms | swap | delete | back_translation (D11, D12)"),
        _field("origin_id", pa.string(), "The training item that it was made from"),
    ]
)

PAIRS = pa.schema(
    [
        _field("item_id", pa.string(), "The document's doc_id"),
        _field("task", pa.string(), "Label standard"),
        _field("label", pa.string(), "Type of the question (SPEC D6)", nullable=True),
        _field("prompt", pa.string(), "What is asked"),
        _field("text", pa.string(), "The answer: the document's text"),
        _field("method", pa.string(), "source: the pair is as its source has it"),
        _field("split", pa.string(), "train | validation | test"),
        _field("cluster_id", pa.string(), "What decided the split: duplicate cluster or group"),
    ]
)

ADJUDICATION = pa.schema(
    [
        _field("item_id", pa.string(), "The disputed document's doc_id"),
        _field("text", pa.string(), "Its text"),
        _field("task", pa.string(), "Label standard"),
        _field("question", pa.string(), "What is asked (question_answering)", nullable=True),
        _field("votes", pa.string(), "What was said -> number of annotators, as JSON"),
        _field("confidence", pa.float64(), "Of what most say"),
        _field("dispute", pa.string(), "refused (by the gate) | split: why a person has to decide"),
        _field("batches", pa.string(), "Batches that speak of it, by comma"),
    ]
)

PREDICTIONS = pa.schema(
    [
        _field("item_id", pa.string(), "The item"),
        _field("split", pa.string(), "validation | test"),
        _field("label", pa.string(), "Gold label; of a question, its type", nullable=True),
        _field("predicted", pa.string(), "Predicted label", nullable=True),
        _field("confidence", pa.float64(), "Probability of what is predicted", nullable=True),
        *_targets("", "Gold"),
        *_targets("predicted_", "Predicted"),
        _field("question", pa.string(), "What is asked (question_answering)", nullable=True),
        _field(
            "probabilities",
            pa.list_(pa.float32()),
            "Probability of each label, in the label standard's order (classification, "
            "multi_label)",
            nullable=True,
        ),
        _field("model", pa.string(), "Which baseline; null for the vertical's model", True),
        _field(
            "embedding",
            pa.list_(pa.float32()),
            "The text as the vertical's model sees it: mean state of the last layer, of length 1",
            nullable=True,
        ),
    ]
)

GENERATED = pa.schema(
    [
        _field("item_id", pa.string(), "The item"),
        _field("split", pa.string(), "validation | test"),
        _field("label", pa.string(), "Type of the question (SPEC D6)", nullable=True),
        _field("prompt", pa.string(), "What was asked"),
        _field("reference", pa.string(), "The answer that the source gives"),
        _field("generated", pa.string(), "The model's answer"),
        _field("finished", pa.bool_(), "It ended by itself, not by max_new_tokens", nullable=True),
        _field("nats", pa.float64(), "-log probability of the reference", nullable=True),
        _field("tokens", pa.int64(), "Tokens of the reference that it is over", nullable=True),
    ]
)

INSTRUCTION = pa.schema(
    [
        _field("task_id", pa.string(), "The task"),
        _field("kind", pa.string(), "code | text"),
        _field("sample", pa.int64(), "From 0; null: the canonical solution", nullable=True),
        _field("passed", pa.bool_(), "Its test passed, within the sandbox's limits"),
        _field("error", pa.string(), "What was wrong", nullable=True),
        _field("answer", pa.string(), "What the model wrote, or the canonical solution"),
        _field("finished", pa.bool_(), "It ended by itself, not by max_new_tokens", nullable=True),
    ]
)

EVALUATION = pa.schema(
    [
        _field("model", pa.string(), "finetuned, a baseline, or majority | mean"),
        _field("split", pa.string(), "validation | test"),
        _field("label", pa.string(), "A class or type, or `all`"),
        _field(
            "metric",
            pa.string(),
            "accuracy | f1_macro | rouge_l ...; <metric>_gain | <metric>_gain_p | mcnemar_p",
        ),
        _field("value", pa.float64(), "0 to 1; errors in the value's own unit; perplexity"),
        _field("low", pa.float64(), "Lower end of the 95 % bootstrap interval", nullable=True),
        _field("high", pa.float64(), "Upper end of the 95 % bootstrap interval", nullable=True),
        _field("support", pa.int64(), "Items, spans or questions it was computed on"),
        _field("against", pa.string(), "Of a gain: the model that it is over", nullable=True),
    ]
)

SLICES = pa.schema(
    [
        _field("split", pa.string(), "validation | test"),
        _field("dimension", pa.string(), "all | length | source | class | terms | question_type"),
        _field("slice", pa.string(), "Which items"),
        _field("items", pa.int64(), "How many; of a label among several, those it was said of"),
        _field("groups", pa.int64(), "How many groups they are of; each is drawn as a whole"),
        _field("metric", pa.string(), "accuracy | f1_micro | f1 | mae, by the task's kind"),
        _field("value", pa.float64(), "Of these items"),
        _field("low", pa.float64(), "Lower end of the 95 % interval"),
        _field("high", pa.float64(), "Upper end of the 95 % interval"),
        _field("overall", pa.float64(), "The same of all items of the split"),
        _field("drop", pa.float64(), "How much worse than overall; of mae, as a share of it"),
        _field("least_drop", pa.float64(), "The same at the better end of the interval"),
    ]
)

ERRORS = pa.schema(
    [
        _field("item_id", pa.string(), "The item"),
        _field("split", pa.string(), "validation | test"),
        _field("source", pa.string(), "Source of its document"),
        _field("text", pa.string(), "Its text"),
        _field("question", pa.string(), "What is asked (question_answering)", nullable=True),
        _field("label", pa.string(), "Gold target, in words"),
        _field("predicted", pa.string(), "What the model said, in words"),
        _field("confidence", pa.float64(), "Probability of what is predicted", nullable=True),
        _field("size", pa.float64(), "What errors are ordered by: confidence, or distance"),
        _field("nearest_id", pa.string(), "The training item most like it", nullable=True),
        _field("nearest_text", pa.string(), "Its text", nullable=True),
        _field("nearest_label", pa.string(), "Its gold target, in words", nullable=True),
        _field("similarity", pa.float64(), "Cosine of the model's embeddings", nullable=True),
    ]
)

RELABEL_QUEUE = pa.schema(
    [
        _field("item_id", pa.string(), "The document's doc_id"),
        _field("question", pa.string(), "What is asked (question_answering)", nullable=True),
        _field("split", pa.string(), "train | validation | test"),
        _field(
            "reasons",
            pa.list_(pa.string()),
            "label_error (confident learning) | confident_error | far_off | outlier",
        ),
        _field("score", pa.float64(), "Sum of the reasons' scores, each 0 to 1; most urgent first"),
        _field("label", pa.string(), "Gold label; of other kinds of task, the target as JSON"),
        _field("predicted", pa.string(), "What the model said, in the same form", nullable=True),
        _field("confidence", pa.float64(), "Probability of what is predicted", nullable=True),
        _field("text", pa.string(), "The text"),
    ]
)

ROBUSTNESS = pa.schema(
    [
        _field("attack", pa.string(), "none, a kind of noise, or fgsm"),
        _field("level", pa.float64(), "Share of edited characters; epsilon of FGSM", True),
        _field("metric", pa.string(), "The kind's main metric"),
        _field("score", pa.float64(), "Its value", nullable=True),
        _field("low", pa.float64(), "Lower end of the 95 % bootstrap interval", nullable=True),
        _field("high", pa.float64(), "Upper end of the 95 % bootstrap interval", nullable=True),
        _field("drop", pa.float64(), "What it is below the untouched texts'", nullable=True),
        _field("drop_low", pa.float64(), "Lower end of its paired 95 % interval", nullable=True),
        _field("drop_high", pa.float64(), "Upper end of its paired 95 % interval", nullable=True),
        _field("items", pa.int64(), "Items of the sample"),
        _field("note", pa.string(), "Why it is not measured", nullable=True),
    ]
)

RELEASE_DECISION = pa.schema(
    [
        _field("release", pa.string(), "Digest of the candidate's artifact"),
        _field("outcome", pa.string(), "champion | challenger | pending | refused"),
        _field("subject", pa.string(), "What was judged: an asset, the champion, a person"),
        _field("gate", pa.string(), "What it was judged by"),
        _field("passed", pa.bool_(), "The verdict"),
        _field("blocking", pa.bool_(), "Whether no model is released without it"),
        _field("value", pa.float64(), "What was measured", nullable=True),
        _field("bar", pa.float64(), "What it was measured by", nullable=True),
        _field("why", pa.string(), "In words, with the figures"),
    ]
)

SPOT_CHECK = pa.schema(
    [
        _field("doc_id", pa.string(), "The sampled document"),
        _field("source", pa.string(), "Its source; with the language, its stratum"),
        _field("language", pa.string(), "Its language"),
        _field("text", pa.string(), "What people judge"),
        _field("verdict", pa.string(), "People's verdict, where there is one", nullable=True),
        _field("verdicts", pa.int64(), "How many people judged it"),
    ]
)

SPOT_VERDICTS = pa.schema(
    [
        _field("doc_id", pa.string(), "The judged document"),
        _field("annotator_id", pa.string(), "Who said it"),
        _field("verdict", pa.string(), "valid | blank | meaningless | garbled | off_topic"),
        _field("comment", pa.string(), "What else was said", nullable=True),
        _field("origin", pa.string(), "File and line, or task and annotation"),
    ]
)

SPOT_VALIDITY = pa.schema(
    [
        _field("scope", pa.string(), "overall | stratum"),
        _field("source", pa.string(), "The stratum's source, or `all`"),
        _field("language", pa.string(), "The stratum's language, or `all`"),
        _field("sampled", pa.int64(), "Documents in the sample"),
        _field("judged", pa.int64(), "Of these, those with a verdict"),
        _field("valid", pa.int64(), "Of these, those judged valid"),
        _field("rate", pa.float64(), "valid / judged", nullable=True),
        _field("low", pa.float64(), "Lower end of the 95 % Wilson interval", nullable=True),
        _field("high", pa.float64(), "Upper end of the 95 % Wilson interval", nullable=True),
    ]
)

RESOURCE_PLAN = pa.schema(
    [
        _field("training", pa.string(), "pretrain | finetune | all"),
        _field("quantity", pa.string(), "What is counted"),
        _field("value", pa.float64(), "How much"),
        _field("unit", pa.string(), "1 | bytes"),
        _field("meaning", pa.string(), "In words"),
    ]
)

TRIALS = pa.schema(
    [
        _field("trial", pa.int64(), "Number of the trial, in their order"),
        _field("state", pa.string(), "complete | pruned"),
        _field("metric", pa.string(), "Validation metric that judges"),
        _field("value", pa.float64(), "Its best value; of a pruned trial, its last"),
        _field("parameters", pa.string(), "Searched keys and what was tried, as JSON"),
    ]
)
