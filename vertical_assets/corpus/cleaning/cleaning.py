"""Cleaning: one spelling for what reads alike; text that is clean already costs nearly nothing.

The steps, by the YAML section `clean` (SPEC D9), are repeated until nothing changes, so that
cleaning twice is cleaning once:

- `unicode`: Normalization Form C (Unicode Standard Annex 15). Canonical equivalents become one:
  letter and accent, the Kelvin and Angstrom signs, CJK compatibility ideographs U+F900-FAFF.
  Compatibility characters mean more than their look and stay (NFKC would map them): ① ㎡ ½ ² ﬁ.
  Mojibake is not touched.
- `invisible`: control characters, zero-width characters, byte-order marks, soft hyphens, bidi
  marks and stray tag characters go. Joiners stay inside emoji and after Arabic and Indic letters.
- `html`: tags of HTML's own elements with well-formed attributes, comments, `script` and `style`
  with their content go; entities that end in `;` (and `&nbsp`) become characters. `<张三>`,
  `a < b and c > d` and `&copy=1` are text. An escaped tag is a tag, too: `&lt;br&gt;`.
- `width`: full-width ASCII becomes half-width, except what Chinese text sets full-width itself,
  ！＂＇（），：；？［］｛｝～, and ＜＞, which would become tags.
- `simplify`: traditional to simplified by OpenCC's `t2s`.
- `spaces`: every line end is `\\n`, at most one line is blank; a run of other white space is one
  space (one tab, if it has a tab); lines and texts begin and end without.
"""

import html
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from html.entities import html5

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vertical_assets.spec import Clean

Changes = dict[str, int]  # step -> characters, tags, entities or runs that it changed
Step = Callable[[str], tuple[str, int]]

ROUNDS = 8  # tags nested deeper by their own removal (`<<b>b>`) are made harmless instead

_KEPT_WIDE = "！＂＇（），：；？［］｛｝～＜＞"
_HALF = {w: w - 0xFEE0 for w in range(0xFF01, 0xFF5F) if chr(w) not in _KEPT_WIDE}
_WIDE = re.compile("[" + "".join(map(chr, _HALF)) + "]")

_PICTURE = "\u2190-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff"
_JOINING_SCRIPTS = "\u0600-\u109f\u1780-\u18af"
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e"
    "\u2060-\u206f\ufeff\ufff9-\ufffb]"
    f"|(?<![{_JOINING_SCRIPTS}])(?:\u200c|\u200d(?![{_PICTURE}])|(?<![{_PICTURE}\ufe0f])\u200d)"
    # A flag such as Scotland's is a black flag and tag characters.
    "|(?<![\U0001f3f4\U000e0020-\U000e007f])[\U000e0001-\U000e007f]+"
)

_BLANKS = " \t\xa0\u1680\u2000-\u200a\u202f\u205f\u3000"
_LINE_END = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_BLANK_RUN = re.compile(f"[{_BLANKS}]{{2,}}|[{_BLANKS[2:]}]")
_LINE_EDGE = re.compile("[ \t](?=\n)|(?<=\n)[ \t]|\\A[ \t\n]+|[ \t\n]+\\Z")
_BLANK_LINES = re.compile("\n{3,}")

_NAME = re.compile(r"\w+")
# HTML Living Standard, section 4, with section 16's obsolete elements.
_BLOCKS = frozenset(
    _NAME.findall("""
    address article aside blockquote body br caption center dd details dialog dir div dl dt fieldset
    figcaption figure footer form h1 h2 h3 h4 h5 h6 head header hgroup hr html legend li main menu
    nav ol optgroup option p pre search section summary table tbody tfoot thead title tr ul
    """)
)
_CELLS = frozenset({"td", "th"})
_INLINE = frozenset(
    _NAME.findall("""
    a abbr acronym applet area audio b base basefont bdi bdo big blink button canvas cite code col
    colgroup data datalist del dfn em embed font frame frameset i iframe img input ins kbd label
    link map mark marquee math meta meter nobr noembed noframes noscript object output param path
    picture progress q rp rt ruby s samp script select slot small source span strike strong style
    sub sup svg template textarea time track tt u var video wbr
    """)
)
_SWITCHES = (
    "allowfullscreen|async|autofocus|autoplay|checked|compact|controls|default|defer|disabled|"
    "hidden|ismap|loop|multiple|muted|nohref|noresize|noshade|novalidate|nowrap|open|playsinline|"
    "readonly|required|reversed|selected"
)
# No pattern crosses another `<`: the time is linear in the text, whatever it holds.
_ATTRIBUTES = (
    r"(?:\s++(?:[a-z_:@][\w:.\-]*+\s*+=\s*+(?:\"[^\"<]*+\"|'[^'<]*+'|[^\s\"'<>=`]++)"
    rf"|(?:{_SWITCHES})(?=[\s/>])))*+\s*+/?"
)
_DROPPED = re.compile(
    r"<!--(?:(?!<!--|-->).)*+-->|<(?:!doctype|\?xml|!\[if|!\[endif)\b[^<>]*+>"
    rf"|<(script|style)\b{_ATTRIBUTES}>(?:(?!</?\1\b).)*+</\1\s*+>",
    re.IGNORECASE | re.DOTALL,
)
_TAG = re.compile(
    rf"<(?:/((?:[ovwxm]:)?[a-z][a-z0-9]*+)\s*+|((?:[ovwxm]:)?[a-z][a-z0-9]*+){_ATTRIBUTES})>",
    re.IGNORECASE,
)
# `&amp;` in front was put there by escaping what was escaped already.
_ENTITY = re.compile(
    r"&(?:amp;)*(#[0-9]{1,7};|#[xX][0-9a-fA-F]{1,6};|[a-zA-Z][a-zA-Z0-9]{1,31};|nbsp(?![A-Za-z0-9_=;]))"
)
_MARKUP_START = re.compile("([<&])(?=[A-Za-z/!?#])")

# Characters that no step but `width` changes and that NFC never composes or reorders.
PLAIN = (
    "\n\t\x20-\x7e\xa1-\xac\xae-\u02ff\u0400-\u0482\u048a-\u052f\u2010-\u2027\u2030-\u205e"
    "\u2070-\u20cf\u2100-\u2125\u2127-\u2129\u212c-\u2328\u232b-\u2adb\u2add-\u2bff\u2e80-\u2fff"
    "\u3001-\u3029\u3030-\u3096\u309b-\u9fff\uac00-\ud7a3\ue000-\uf8ff\ufe0f\ufe30-\ufe6b"
    "\uff01-\uffef\ufffd\U0001f000-\U0001faff\U00020000-\U0002f7ff"
)


def clean_text(text: str, policy: Clean) -> tuple[str, Changes]:
    """Cleans one text; how often each step changed something is told with it.

    Args:
        text: any text.
        policy: section `clean`; `html`, `width` and `simplify` count here.

    Returns:
        The text, and the count of each step that changed it.
    """
    changes: Counter[str] = Counter()
    steps = list(_steps(policy))
    for done in range(2 * ROUNDS):
        before = text
        for name, step in steps:
            text, count = step(text)
            changes[name] += count
        if text == before:
            break
        if policy.html and done == ROUNDS:
            text, count = _MARKUP_START.subn(r"\1 ", text)
            changes["html"] += count
    return text, {name: count for name, count in changes.items() if count}


def clean_batch(texts: pa.Array, policy: Clean) -> tuple[pa.Array, dict[int, Changes]]:
    """Cleans texts; only those that a vectorised filter points at are looked into.

    Args:
        texts: strings; nulls stay null.
        policy: section `clean`.

    Returns:
        The texts, and what was changed by row; rows that were clean have no entry.
    """
    suspect = pc.match_substring_regex(texts, _suspects(policy.html, policy.width == "half"))
    suspect = pc.fill_null(suspect, False)
    looked_at = suspect
    if policy.simplify:
        chinese = pc.fill_null(pc.match_substring_regex(texts, r"\p{Han}"), False)
        looked_at = pc.or_(suspect, chinese)
    rows = pc.indices_nonzero(looked_at)
    changes: dict[int, Changes] = {}
    cleaned = []
    for row, text, other in zip(
        rows.to_pylist(), texts.take(rows).to_pylist(), suspect.take(rows).to_pylist(), strict=True
    ):
        if not other and _converter()(text) == text:
            continue
        text, changed = clean_text(text, policy)
        if changed:
            changes[row] = changed
            cleaned.append(text)
    if not changes:
        return texts, changes
    mask = np.zeros(len(texts), bool)
    mask[list(changes)] = True
    return pc.replace_with_mask(texts, mask, pa.array(cleaned, texts.type)), changes


@cache
def _suspects(markup: bool, half: bool) -> str:
    """A pattern without which a text is clean, as Arrow's RE2 reads it; `simplify` apart."""
    patterns = [f"[^{PLAIN}]", "[ \t][ \t\n]|\n[ \t]|\n\n\n|^[ \t\n]|[ \t\n]$"]
    if markup:
        patterns.append("[<&][A-Za-z/!?#]")
    if half:
        patterns.append(_WIDE.pattern)
    return "|".join(patterns)


def _steps(policy: Clean) -> Iterator[tuple[str, Step]]:
    yield "unicode", _compose
    yield "invisible", lambda text: _INVISIBLE.subn("", text)
    if policy.html:
        yield "html", _strip_markup
    if policy.width == "half":
        yield "width", lambda text: (text.translate(_HALF), len(_WIDE.findall(text)))
    if policy.simplify:
        yield "simplify", _simplify
    yield "spaces", _space


def _compose(text: str) -> tuple[str, int]:
    composed = unicodedata.normalize("NFC", text)
    return composed, _differences(text, composed)


def _differences(before: str, after: str) -> int:
    """Characters that differ; of texts of different length, by how many it is longer or shorter."""
    if len(before) == len(after):
        return sum(map(str.__ne__, before, after))
    return abs(len(before) - len(after))


def _strip_markup(text: str) -> tuple[str, int]:
    if "<" not in text and "&" not in text:
        return text, 0
    kept = 0

    def tag(match: re.Match[str]) -> str:
        nonlocal kept
        name = (match[1] or match[2]).lower()
        if name in _BLOCKS:
            return "\n"
        if name in _CELLS:
            return " "
        if name in _INLINE or ":" in name:  # `<o:p>` and its like come from word processors
            return ""
        kept += 1
        return match[0]

    def character(match: re.Match[str]) -> str:
        nonlocal kept
        body = match[1]
        if body.startswith("#"):
            return html.unescape(f"&{body}")
        known = html5.get(body if body.endswith(";") else f"{body};")
        kept += known is None and match[0] == f"&{body}"
        return f"&{body}" if known is None else known

    text, dropped = _DROPPED.subn("", text)
    text, tags = _TAG.subn(tag, text)
    text, entities = _ENTITY.subn(character, text)
    return text, dropped + tags + entities - kept


@cache
def _converter() -> Callable[[str], str]:
    from opencc import OpenCC

    return OpenCC("t2s").convert


def _simplify(text: str) -> tuple[str, int]:
    simplified = _converter()(text)
    return simplified, _differences(text, simplified)


def _space(text: str) -> tuple[str, int]:
    text, ends = _LINE_END.subn("\n", text)
    text, runs = _BLANK_RUN.subn(lambda run: "\t" if "\t" in run[0] else " ", text)
    text, edges = _LINE_EDGE.subn("", text)
    text, lines = _BLANK_LINES.subn("\n\n", text)
    return text, ends + runs + edges + lines
