"""Pages: files of one document each, made with the libraries that people make them with."""

import io
from pathlib import Path
from typing import Any

import pytest
from docx import Document
from upath import UPath

from vertical_assets.corpus.reading.sources import read_source
from vertical_assets.spec import Source

SENTENCE = "人工智能在医疗领域的应用越来越广，医生可以用它来读片和写报告。"


def read(folder: Path, path: str, **more: Any) -> list[dict[str, Any]]:
    declared = Source(name="reports", kind="report", licence="own", path=path, **more)
    batches = read_source(declared, UPath(folder), "zh")
    return [row for batch in batches for row in batch.to_pylist()]


def pdf(text: str) -> bytes:
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.cidfonts import UnicodeCIDFont
    from reportlab.pdfgen.canvas import Canvas

    pdfmetrics.registerFont(UnicodeCIDFont("STSong-Light"))
    content = io.BytesIO()
    canvas = Canvas(content)
    canvas.setTitle("年度报告")
    for page in (1, 2):
        canvas.setFont("STSong-Light", 12)
        canvas.drawString(50, 800, text and f"第{page}页：{text}")
        canvas.showPage()
    canvas.save()
    return content.getvalue()


def test_a_pdf_is_one_document_with_the_text_of_all_pages(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(pdf(SENTENCE))
    (row,) = read(tmp_path, "*.pdf")
    assert row["text"] == f"第1页：{SENTENCE}\n第2页：{SENTENCE}"
    assert (row["title"], row["origin"], row["meta"]) == ("年度报告", "a.pdf", '{"pages":2}')


def test_pdfs_without_text_damaged_and_encrypted_ones_do_not_lose_their_neighbours(
    tmp_path: Path,
) -> None:
    from pypdf import PdfReader, PdfWriter

    good = pdf(SENTENCE)
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(good)))
    writer.encrypt("secret", algorithm="RC4-128")
    writer.write(tmp_path / "encrypted.pdf")
    (tmp_path / "damaged.pdf").write_bytes(good[:300])
    (tmp_path / "good.pdf").write_bytes(good)
    (tmp_path / "scan.pdf").write_bytes(pdf(""))
    rows = {row["origin"]: row for row in read(tmp_path, "*.pdf")}
    assert {name: row["rule"] for name, row in rows.items()} == {
        "damaged.pdf": "unreadable_file",
        "encrypted.pdf": "unreadable_file",
        "good.pdf": None,
        "scan.pdf": "no_text",
    }
    assert "password" in rows["encrypted.pdf"]["reason"]
    assert rows["scan.pdf"]["reason"].startswith("scan.pdf: no text is found in it; run OCR")


def test_a_docx_keeps_paragraphs_and_tables_in_their_order(tmp_path: Path) -> None:
    document = Document()
    document.core_properties.title = "季度报告"
    document.add_paragraph("前言")
    table = document.add_table(2, 3)
    for cell, text in zip(table._cells, "甲乙丙丁戊己", strict=True):
        cell.text = text
    table.cell(1, 0).merge(table.cell(1, 1))
    table.cell(0, 2).add_table(1, 2).cell(0, 1).text = "内"
    document.add_paragraph("结语")
    document.save(str(tmp_path / "a.docx"))
    (tmp_path / "b.docx").write_bytes(b"PK\x03\x04 is no archive")
    good, broken = read(tmp_path, "*.docx")
    assert good["text"].split("\n") == ["前言", "甲\t乙\t丙 \t内", "丁 戊\t己", "结语"]
    assert (good["title"], good["origin"]) == ("季度报告", "a.docx")
    assert broken["rule"] == "unreadable_file"


PAGE = (
    '<?xml version="1.0" encoding="{0}"?><html><head><meta charset="{0}">'
    "<title>年报</title></head><body><nav><a href='/'>首页</a></nav>"
    f"<article><h1>年报</h1>{f'<p>{SENTENCE}</p>' * 4}</article>"
    "<footer>版权所有</footer></body></html>"
)


@pytest.mark.parametrize("charset", ["utf-8", "gb2312", "big5"])
def test_a_web_page_gives_title_and_main_text_in_the_charset_it_declares(
    tmp_path: Path, charset: str
) -> None:
    page = PAGE.format(charset) if charset != "big5" else PAGE.format(charset).replace("医", "醫")
    (tmp_path / "a.html").write_bytes(page.encode(charset, "replace"))
    (row,) = read(tmp_path, "a.html")
    assert row["rule"] is None
    assert row["title"] == "年报".encode(charset, "replace").decode(charset)
    assert "人工智能在" in row["text"]
    assert "版" not in row["text"]
    assert "首" not in row["text"]


def test_a_page_without_a_main_part_gives_all_of_its_text(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text("<div><a href='/x'>登录</a><script>var x</script></div>")
    (tmp_path / "b.html").write_text("<html><body><img src='x.png'></body></html>")
    short, none = read(tmp_path, "*.html")
    assert short["text"].strip() == "登录"
    assert none["rule"] == "no_text"


def test_a_text_file_is_one_document_and_tells_its_first_broken_line(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(f"{SENTENCE}\r\n{SENTENCE}".encode("utf-8-sig"))
    content = f"{SENTENCE}\n".encode()
    (tmp_path / "b.txt").write_bytes(content * 12 + b"\xff\xff\n" + content * 12)
    good, broken = read(tmp_path, "*.txt", format="text")
    assert (good["text"], good["rule"]) == (f"{SENTENCE}\n{SENTENCE}", None)
    assert broken["rule"] == "undecodable"
    assert broken["reason"].startswith("b.txt:13: bytes that are no text in utf-8")
