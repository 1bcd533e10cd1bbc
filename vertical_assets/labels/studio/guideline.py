"""The annotation guideline that a label standard comes to, as Markdown (SPEC D6)."""

from collections.abc import Mapping

from vertical_assets.spec import VerticalSpec
from vertical_assets.spec.labels import Label, QuestionType

ASKED = {
    "classification": "Read the text as a whole and give it **exactly one** label.",
    "multi_label": "Read the text as a whole and give it **every** label that holds; none if "
    "none does.",
    "entities": "Mark **every** mention of the types below, each with its type.",
    "question_answering": "Mark what in the text answers the question; **nothing** where the text "
    "does not answer it.",
    "regression": "Read the text as a whole and give it **a number**",
}
SPAN_RULES = (
    "Mark the shortest piece that says it in full: no spaces, quotes or full stops around it.",
    "Marked pieces never overlap; of two that would, mark the longer one.",
    "Mark a mention each time that it occurs.",
)


def guideline(spec: VerticalSpec) -> str:
    """What annotators read before they begin: what is asked, the labels, the rules.

    Args:
        spec: sections `domain`, `language`, `task`, `agreement`; of any kind but generation.
    """
    task = spec.task
    asked = ASKED[task.kind]
    if task.kind == "regression":
        low, high = task.range or (None, None)
        asked += "." if low is None else f" from {low:g} to {high:g}."
    parts = [
        f"# How to label: {task.name}",
        f"Texts: {spec.domain} (language: {spec.language}).",
        asked,
    ]
    if task.definitions:
        title = "Types" if task.has_spans else "Labels"
        parts += [f"## {title}", _meanings(task.definitions)]
    if task.questions:
        parts += ["## Types of questions", _meanings(task.questions)]
    parts += ["## Rules", "\n".join(f"- {rule}" for rule in _rules(spec))]
    return "\n\n".join(parts) + "\n"


def as_html(markdown: str) -> str:
    """The guideline for a page that shows HTML, as Label Studio's instructions."""
    from markdown_it import MarkdownIt

    rendered = str(MarkdownIt("commonmark", {"html": False}).render(markdown)).strip()
    return rendered.replace("&quot;", '"')  # as the server keeps it; there are no attributes


def _meanings(meanings: Mapping[str, Label]) -> str:
    lines = []
    for name, meaning in meanings.items():
        lines.append(f"- **{name}**: {meaning.definition}")
        if isinstance(meaning, QuestionType) and meaning.answer:
            lines.append(f"  - Answer: {meaning.answer}")
        lines += [f"  - Example: {example}" for example in meaning.examples]
    return "\n".join(lines)


def _rules(spec: VerticalSpec) -> list[str]:
    task = spec.task
    rules = ["Go by what the text says, not by what you know or guess beyond it."]
    if task.kind == "classification":
        rules.append("If two labels seem to fit, take the one that most of the text is about.")
    if task.kind == "classification" and task.measured != "nominal":
        order = " < ".join(task.labels)
        rules.append(f"The labels are in order: {order}. If torn between two, take the nearer one.")
    if task.has_spans:
        rules += SPAN_RULES[:2] if task.kind == "question_answering" else SPAN_RULES
    if task.questions:
        rules.append("Say of every question which type it is.")
    return [
        *rules,
        "In doubt, read the definitions again; if that does not help, skip the text. A skipped "
        "text costs nothing, a guess spoils the agreement.",
        "Work alone. Texts that two people label differently are decided by a third person, with "
        "a reason; do not settle them among yourselves.",
        f"Labels are used where Krippendorff's alpha reaches {spec.agreement.alpha:g}.",
    ]
