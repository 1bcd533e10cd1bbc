"""Sections of the corpus: sources, rules, deidentify, clean, dedup, spot_check."""

import datetime
import re
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from vertical_assets.spec.section import Fraction, Name, Positive, Strict

FORMATS = r"jsonl|csv|tsv|parquet|lines|text|html|pdf|docx"
FIELDS = ("id", "title", "text", "language", "author_id", "published_at", "pages")


class Source(Strict):
    """Where documents come from (SPEC D2); one partition of `raw_corpus`.

    Exactly one of `path` (a file or glob, relative to `data/<vertical>/`, or any fsspec URL),
    `package` with `resource` (a file or glob inside an installed Python package), and `database`
    with `query`.
    """

    name: Name
    kind: Literal["public", "report", "user"]
    licence: str
    language: str | None = None
    path: str | None = None
    package: str | None = None
    resource: str | None = None
    database: str | None = Field(
        default=None,
        description="A SQLAlchemy URL, or `env:NAME` where it holds a password that does not "
        "belong in a YAML file.",
    )
    query: str | None = Field(default=None, description="SQL whose columns are the fields.")
    format: Annotated[str, Field(pattern=rf"^({FORMATS}|[\w.]+:\w+)$")] | None = Field(
        default=None,
        description="jsonl | csv | tsv | parquet | lines (one document a line) | text (one a file) "
        "| html | pdf | docx, or `module:function` that yields one mapping per document of a file; "
        "told from the file name's ending where not given.",
    )
    encoding: str | None = Field(default=None, description="Detected where not given.")
    fields: dict[str, str] = Field(
        default_factory=dict, description="Document field -> field of the source."
    )
    constants: dict[str, str] = Field(
        default_factory=dict, description="Entries added to every document's `meta`."
    )

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if [self.path, self.package, self.database].count(None) != 2:
            raise ValueError(
                f"source {self.name!r} needs exactly one of 'path', 'package' (with 'resource') "
                "and 'database' (with 'query'); keep one"
            )
        if (self.package is None) != (self.resource is None):
            raise ValueError(
                f"source {self.name!r}: 'package' and 'resource' belong together; "
                "'resource' is the file's path inside the package"
            )
        if (self.database is None) != (self.query is None):
            raise ValueError(
                f"source {self.name!r}: 'database' and 'query' belong together; "
                "'query' is the SELECT whose rows are the documents"
            )
        if self.database and (self.format or self.encoding):
            raise ValueError(
                f"source {self.name!r}: 'format' and 'encoding' are of files; remove them beside "
                "'database'"
            )
        if stray := sorted(self.fields.keys() - FIELDS):
            raise ValueError(
                f"source {self.name!r}: documents have no field {stray[0]!r}; the keys of 'fields' "
                f"are of {', '.join(FIELDS)}, and other fields of a source go to 'meta' as they are"
            )
        return self


class FieldRule(Strict):
    """One rule of the rule base (SPEC D4): what a field must look like where it is present.

    `field` is a column of the documents (title, text, author_id, published_at) or an entry of
    `meta`. Exactly one of `pattern`, `date`, `number` and `allowed`.
    """

    field: str
    pattern: str | None = Field(default=None, description="A regular expression; whole match.")
    date: str | None = Field(
        default=None, description="A strptime format such as %Y-%m-%d, or `iso` for ISO 8601."
    )
    number: Literal[True] | None = Field(default=None, description="`true`: a number is wanted.")
    allowed: tuple[str, ...] | None = None
    min: float | datetime.date | None = Field(
        default=None, description="Least number or earliest date."
    )
    max: float | datetime.date | Literal["today"] | None = Field(
        default=None, description="Greatest number or latest date."
    )

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if [self.pattern, self.date, self.number, self.allowed].count(None) != 3:
            raise ValueError(
                f"the rule on {self.field!r} needs exactly one of 'pattern', 'date', "
                "'number: true' and 'allowed'; split it into several rules"
            )
        dates, numbers = self.date is not None, self.number is not None
        for bound in (self.min, self.max):
            fits = bound is None or (numbers if isinstance(bound, (int, float)) else dates)
            if not fits:
                raise ValueError(
                    f"the rule on {self.field!r}: {bound} does not fit its kind; numbers bound "
                    "'number' rules, dates (YYYY-MM-DD) bound 'date' rules"
                )
        return self

    def bounds(
        self, today: datetime.date | None
    ) -> tuple[float | datetime.date | None, float | datetime.date | None]:
        """Least and greatest value, both allowed; `today` is what the word means.

        Raises:
            ValueError: the rule says `today` and none is given.
        """
        if self.max != "today":
            return self.min, self.max
        if today is None:
            raise ValueError(
                f"the rule on {self.field!r} says 'max: today'; pass the run's day as `today`"
            )
        return self.min, today

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise ValueError(f"{pattern!r} is no regular expression: {error}") from error
        return pattern


MeaninglessFilter = Literal[
    "few_letters", "one_character", "low_entropy", "lorem_ipsum", "hashes", "ellipses",
    "few_alphabetic_words", "bullet_lines", "ellipsis_lines", "duplicate_lines",
    "duplicate_line_characters", "duplicate_paragraphs", "duplicate_paragraph_characters",
    "top_2_gram", "top_3_gram", "top_4_gram", "duplicate_5_grams", "duplicate_6_grams",
    "duplicate_7_grams", "duplicate_8_grams", "duplicate_9_grams", "duplicate_10_grams",
    "unfinished_lines", "short_lines", "repeated_lines",
]  # fmt: skip


class Rules(Strict):
    """What makes a document valid (SPEC D4, D5)."""

    min_chars: Positive = Field(default=2, description="Shorter texts carry no meaning (D5).")
    max_chars: Positive = 100_000
    required: tuple[str, ...] = Field(
        default=(), description="Fields, or entries of `meta`, that must be there and not blank."
    )
    fields: tuple[FieldRule, ...] = Field(default=(), description="The rule base (D4).")
    languages: tuple[str, ...] = Field(
        default=(), description="Languages that texts may be written in; any where empty."
    )
    meaningless: bool = Field(
        default=True, description="Apply the filters of symbols, repetition and entropy (D5)."
    )
    filters_off: tuple[MeaninglessFilter, ...] = Field(
        default=(),
        description="Of these filters, those not to apply: e.g. `short_lines` and "
        "`repeated_lines` where documents are forms rather than prose.",
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_chars > self.max_chars:
            raise ValueError(
                f"rules.min_chars ({self.min_chars}) is above rules.max_chars "
                f"({self.max_chars}): no document could pass; lower the first"
            )
        return self


class Dictionary(Strict):
    """A list of terms, one a line, a tab and a frequency after it where known."""

    path: str | None = Field(default=None, description="Relative to `data/<vertical>/`.")
    package: str | None = None
    resource: str | None = None

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if (self.path is None) == (self.package is None) or (
            (self.package is None) != (self.resource is None)
        ):
            raise ValueError("a dictionary needs 'path', or 'package' with 'resource'; give one")
        return self


class Attributes(Strict):
    """What may be said of authors (SPEC X1): entries of `meta`, generalised until k are alike."""

    quasi_identifiers: tuple[str, ...] = Field(
        description="Entries of `meta` that together could tell who somebody is, e.g. age, region."
    )
    sensitive: tuple[str, ...] = Field(default=(), description="What nobody should learn of one.")
    k: Annotated[int, Field(ge=2)] = Field(default=5, description="Least size of a group.")
    hierarchies: dict[str, tuple[float, ...] | dict[str, str]] = Field(
        default_factory=dict,
        description="How a value is generalised: widths of ranges for numbers, e.g. [5, 10, 20]; "
        "value -> wider value for words (applied again and again). Suppressed (`*`) at last.",
    )
    epsilon: Annotated[float, Field(gt=0)] = Field(
        default=1.0, description="Privacy budget of all released counts and means together."
    )
    epsilon_per_release: Annotated[float, Field(gt=0)] = Field(
        default=0.1, description="Part of it that a release for new data spends."
    )
    delta: Annotated[float, Field(gt=0, lt=1)] = Field(default=1e-5, description="X1.")

    @model_validator(mode="after")
    def _generalisable(self) -> Self:
        stray = sorted(set(self.hierarchies) - set(self.quasi_identifiers))
        if stray or not self.quasi_identifiers:
            raise ValueError(
                f"attributes.hierarchies of {stray}: list them under 'quasi_identifiers' too"
                if stray
                else "attributes.quasi_identifiers is empty; name at least one entry of 'meta'"
            )
        if self.epsilon_per_release > self.epsilon:
            raise ValueError(
                f"attributes.epsilon_per_release ({self.epsilon_per_release:g}) is more than all "
                f"there is, epsilon ({self.epsilon:g}); lower it"
            )
        if both := sorted(set(self.quasi_identifiers) & set(self.sensitive)):
            raise ValueError(f"{both} are both quasi-identifiers and sensitive; keep them in one")
        for name, steps in self.hierarchies.items():
            if isinstance(steps, dict):
                for value in steps:
                    seen = {value}
                    while (value := steps.get(value, "*")) not in seen:
                        seen.add(value)
                    if value in steps:
                        raise ValueError(
                            f"attributes.hierarchies.{name}: {value!r} is generalised to itself; "
                            "every chain of values must end"
                        )
                continue
            for narrow, wide in pairwise((0.0, *steps)):
                times = wide / narrow if narrow else 2.0
                if wide <= narrow or abs(times - round(times)) > 1e-9:
                    raise ValueError(
                        f"attributes.hierarchies.{name}: {wide:g} after {narrow:g}; each width "
                        "must be a multiple of the one before, so that ranges nest"
                    )
        return self


PersonalType = Literal[
    "ID_CARD", "PHONE", "BANK_CARD", "EMAIL", "IP", "URL", "PLATE", "PASSPORT", "MRN",
    "INSURANCE", "SSN", "ACCOUNT", "BIRTH_DATE", "ADDRESS", "NAME",
]  # fmt: skip


class Deidentify(Strict):
    """Personal data in texts (SPEC X1)."""

    enabled: bool = True
    entities: tuple[PersonalType, ...] = Field(
        default=(), description="Types that are looked for; all known ones where empty."
    )
    names: tuple[Dictionary, ...] = Field(
        default=(), description="Lists of people's names to be found wherever they stand."
    )
    action: Literal["pseudonym", "mask"] = Field(
        default="pseudonym",
        description="`pseudonym`: the same person gets the same stand-in everywhere, keyed by a "
        "secret; `mask`: only the type is left.",
    )
    attributes: Attributes | None = None


class Clean(Strict):
    """How texts are normalised and segmented (SPEC D9, D10)."""

    html: bool = Field(default=True, description="Tags go, entities become characters.")
    width: Literal["half", "keep"] = Field(
        default="half", description="Full-width letters and digits become half-width."
    )
    simplify: bool = Field(default=False, description="Traditional to simplified Chinese (OpenCC).")
    numbers: Literal["digits", "grouped", "scientific", "keep"] = Field(
        default="keep", description="How numbers are written (D10): 1000000, 1,000,000 or 1e6."
    )
    segment: bool = Field(default=True, description="Words are told apart (D9).")
    dictionaries: tuple[Dictionary, ...] = Field(
        default=(), description="Domain terms that are never split (D9)."
    )


class Dedup(Strict):
    """Exact and near duplicates (SPEC D3)."""

    threshold: Annotated[float, Field(gt=0.0, le=1.0)] = Field(
        default=0.8, description="Jaccard similarity from which two texts are near duplicates."
    )
    unit: Literal["script", "character", "word"] = Field(
        default="script",
        description="What n-grams are made of; script: characters of scripts that have no spaces "
        "between words (Chinese, Japanese, Thai ...), words of all others.",
    )
    ngram: Positive | None = Field(
        default=None, description="By default 3 where the language has no spaces, else 2."
    )
    keep: Literal["longest", "newest", "source", "first"] = Field(
        default="longest",
        description="Which of a cluster stays: the longest, the newest by `published_at`, or that "
        "of the source that stands first in `sources`.",
    )
    label: str | None = Field(
        default=None,
        description="Entry of `meta` that is a label: texts that carry two of its values are "
        "reported.",
    )
    engine: Literal["local", "daft"] = Field(
        default="local", description="Where it runs; both give the same clusters."
    )


class SpotCheck(Strict):
    """The sample that people judge (SPEC D5)."""

    size: Positive = 200
    verdicts: str = Field(
        default="spot_check/verdicts*",
        description="Files of people's verdicts, CSV or Label Studio's JSON export, relative to "
        "`data/<vertical>/`.",
    )
    validity: Fraction = Field(
        default=0.95, description="Share of valid documents under which the check warns."
    )
