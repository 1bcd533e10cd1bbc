"""Pictures of the asset pages."""

import io
import warnings

import numpy as np
import pytest
from PIL import Image

from vertical_assets import plots


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)))


def test_chinese_names_are_drawn_where_a_font_has_them() -> None:
    """Different characters look different; the boxes that stand for a missing one do not."""
    if len(plots._fonts()) == 1:
        pytest.skip("no font with Chinese characters (Debian package fonts-noto-cjk) is installed")
    once, other = (
        pixels(plots.heat_map(np.eye(2), names, "x", "y")) for names in (["正", "负"], ["负", "正"])
    )
    assert not np.array_equal(once, other)


def test_without_such_a_font_it_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from matplotlib import font_manager

    monkeypatch.setattr(font_manager.fontManager, "ttflist", [])
    monkeypatch.setattr(font_manager, "findSystemFonts", list)
    plots._fonts.cache_clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert plots._fonts() == plots._fonts() == ["DejaVu Sans"]
    assert [record.message for record in caplog.records] == [
        "no font with Chinese characters is installed: pictures show boxes in their place "
        "(Debian's package fonts-noto-cjk has one)"
    ]
    plots._fonts.cache_clear()
