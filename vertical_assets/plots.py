"""Pictures for asset pages, as PNG bytes: what people look at rather than read."""

import io
import logging
import warnings
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Colours of Okabe and Ito: told apart by colour-blind readers too.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#E69F00", "#009E73", "#999999"
_COLOURS = (BLUE, ORANGE, GREEN, GREY)


def _figure(width: float = 7.0, height: float = 3.6) -> "Figure":
    from matplotlib import rcParams
    from matplotlib.figure import Figure

    rcParams["font.family"] = _fonts()
    return Figure(figsize=(width, height), dpi=100, layout="constrained")


def _png(figure: "Figure") -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # `_fonts` has said it once; here it would come for every character.
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font")
        figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def histogram(values: Sequence[float], label: str) -> bytes:
    """Distribution of values, cut at the 99th percentile so that a few outliers don't hide it."""
    figure = _figure()
    axes = figure.subplots()
    axes.hist(np.clip(values, None, np.percentile(values, 99)), bins=40, color=BLUE)
    axes.set(xlabel=f"{label} (cut at the 99th percentile)", ylabel="documents")
    return _png(figure)


def bars(
    groups: Mapping[str, Mapping[str, float]],
    label: str,
    ends: Mapping[str, Mapping[str, tuple[float, float]]] | None = None,
) -> bytes:
    """Grouped bars: series name -> (category -> value); `ends` are the same of intervals."""
    categories = list(next(iter(groups.values())))
    # Wider ones are cut off in the page's dialogue.
    figure = _figure(width=min(11.0, max(7.0, 0.45 * len(categories) * len(groups))))
    axes = figure.subplots()
    width = 0.8 / len(groups)
    for number, (series, values) in enumerate(groups.items()):
        places = np.arange(len(categories)) + number * width
        heights = np.array([values[c] for c in categories])
        drawn = axes.bar(places, heights, width, label=series, color=_COLOURS[number % 4])
        if ends and series in ends:
            low, high = np.array([ends[series][c] for c in categories]).T
            # An interval of a bootstrap need not hold the value itself.
            reach = np.clip([heights - low, high - heights], 0, None)
            axes.errorbar(places, heights, reach, fmt="none", ecolor="black", elinewidth=0.8)
        if len(categories) * len(groups) <= 16:
            axes.bar_label(drawn, fmt=_short, fontsize=8)
    axes.set_xticks(np.arange(len(categories)) + 0.4 - width / 2, categories)
    if max(map(len, categories)) > 6:
        axes.tick_params(axis="x", labelrotation=25)
    axes.set_ylabel(label)
    if len(groups) > 1:
        figure.legend(loc="outside upper right", ncols=len(groups), fontsize=8)
    return _png(figure)


def curves(
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]], x_label: str, y_label: str
) -> bytes:
    """Lines: name -> (x, y)."""
    figure = _figure()
    axes = figure.subplots()
    for number, (name, (x, y)) in enumerate(lines.items()):
        axes.plot(
            x,
            y,
            label=name,
            color=_COLOURS[number % 4],
            linestyle="-" if number < 4 else "--",  # colours come again
            marker="o" if len(x) < 30 else None,
        )
    axes.set(xlabel=x_label, ylabel=y_label)
    axes.legend()
    return _png(figure)


def intervals(
    names: Sequence[str],
    values: Sequence[tuple[float | None, float | None, float | None]],
    bar: float,
    label: str,
) -> bytes:
    """A value with the ends of its interval for each name, and the bar that it is measured by;
    what has no value has no point.
    """
    figure = _figure(width=min(11.0, max(7.0, 0.3 * len(names))))
    axes = figure.subplots()
    for place, (value, low, high) in enumerate(values):
        if value is not None:
            ends = [[value - (value if low is None else low)], [(high or value) - value]]
            colour = BLUE if value >= bar else GREY
            axes.errorbar(place, value, np.maximum(ends, 0.0), fmt="o", color=colour, capsize=3)
    axes.axhline(bar, color=GREY, linestyle="--", linewidth=1)
    axes.set_xticks(range(len(names)), names, rotation=90 if len(names) > 6 else 0)
    axes.set_xlim(-0.5, max(len(names), 1) - 0.5)
    axes.set(ylabel=label)
    return _png(figure)


def heat_map(values: np.ndarray, labels: Sequence[str], x_label: str, y_label: str) -> bytes:
    """A square matrix, e.g. a confusion matrix with rows as shares of their sum."""
    side = max(4.5, 0.42 * len(labels))
    figure = _figure(side + 1, side)
    axes = figure.subplots()
    image = axes.imshow(values, cmap="Blues", vmin=0.0, vmax=1.0)
    figure.colorbar(image, shrink=0.8)
    axes.set_xticks(range(len(labels)), labels, rotation=90 if len(labels) > 6 else 0)
    axes.set_yticks(range(len(labels)), labels)
    axes.set(xlabel=x_label, ylabel=y_label)
    for row in range(len(labels)):
        for column in range(len(labels)):
            value = values[row, column]
            if value >= 0.005 or value < 0:  # agreement may be below chance; nan is left blank
                axes.text(
                    column,
                    row,
                    f"{value:.2f}".lstrip("0"),
                    ha="center",
                    va="center",
                    fontsize=7,
                    color="white" if value > 0.5 else "black",
                )
    return _png(figure)


def scatter(x: Sequence[float], y: Sequence[float], x_label: str, y_label: str) -> bytes:
    """Points, with the line on which both are equal."""
    figure = _figure(width=4.6, height=4.2)
    axes = figure.subplots()
    axes.scatter(x, y, s=9, alpha=0.4, color=BLUE, linewidths=0)
    ends = [min(*x, *y), max(*x, *y)]
    axes.plot(ends, ends, color=GREY, linewidth=1)
    axes.set(xlabel=x_label, ylabel=y_label)
    return _png(figure)


def reliability_diagram(confidence: np.ndarray, accuracy: np.ndarray, items: np.ndarray) -> bytes:
    """How often a model is right by how sure it is, bin by bin, above the bins' items; the line is
    that of a model which is right as often as it says.
    """
    figure = _figure(width=4.6, height=5.2)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    above.plot([0, 1], [0, 1], color=GREY, linewidth=1)
    above.plot(confidence, accuracy, color=BLUE, marker="o")
    above.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
    below.bar(confidence, items, width=0.04, color=BLUE)
    below.set(xlabel="confidence", ylabel="items", yscale="log")
    return _png(figure)


def word_map(places: np.ndarray, words: Sequence[str]) -> bytes:
    """Words at their places in the plane, words x 2."""
    figure = _figure(8.0, 6.0)
    axes = figure.subplots()
    axes.scatter(places[:, 0], places[:, 1], s=9, color=BLUE)
    for (x, y), word in zip(places, words, strict=True):
        axes.annotate(word, (x, y), xytext=(3, 2), textcoords="offset points", fontsize=8)
    axes.set_xticks([])
    axes.set_yticks([])
    return _png(figure)


@lru_cache(maxsize=1)
def _fonts() -> list[str]:
    """matplotlib's own font, and one with Chinese characters where there is one."""
    from matplotlib import font_manager

    def eastern() -> list[str]:
        known = {font.name for font in font_manager.fontManager.ttflist}
        return sorted(name for name in known if "CJK" in name or "WenQuanYi" in name)

    if not eastern():  # the list is as old as matplotlib's first use; a font may have come since
        for file in font_manager.findSystemFonts():
            if "CJK-Regular" in file or "wqy" in file:
                font_manager.fontManager.addfont(file)
    if not eastern():
        logging.getLogger(__name__).warning(
            "no font with Chinese characters is installed: pictures show boxes in their place "
            "(Debian's package fonts-noto-cjk has one)"
        )
    return ["DejaVu Sans", *eastern()[:1]]
