"""What a report says and how it is written; the page in a browser: test_browser.py."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from spectra import metrics, summary
from spectra.analysis import analyze
from spectra.options import AnalysisOptions
from spectra.panel import FitOptions
from spectra.report import render_html, write_html
from spectra.report.text import clean, embed_json, number, rounded
from spectra.results import check_apart, read_json, targets, write_json
from spectra.types import Analysis
from tests.spectra.conftest import Save, llama_tensors
from tests.spectra.report.conftest import CONTROL, IMG, SCRIPT, mixture


class Parsed(HTMLParser):
    """Tags with attributes, the text outside scripts and styles, and the embedded data."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text, self.data, self._inside = "", "", ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = ("data" if dict(attrs).get("id") == "data" else "code") if tag in ("script", "style") else ""

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style"):
            self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "data":
            self.data += data
        elif not self._inside:
            self.text += data


def parse(html: str) -> Parsed:
    return Parsed(re.sub(r"<script>/\*\*\n\* plotly.*?</script>", "<script></script>", html, flags=re.DOTALL))


def test_names_are_text(analysis: Analysis) -> None:
    found = parse(render_html(analysis))
    assert sum(tag == "script" for tag, _ in found.tags) == 3
    assert not any(tag in ("img", "b") and "src" in attributes for tag, attributes in found.tags)
    assert not any(key.startswith("on") for _, attributes in found.tags for key in attributes)
    assert IMG in found.text and SCRIPT in found.text
    assert "\x1b" not in found.text and "\u202e" not in found.text and "a\\x1b[31m\\u202eb\\u2028c" in found.text
    assert {IMG, SCRIPT, CONTROL} <= {row["n"] for row in json.loads(found.data)["rows"]}


def test_embedded_json_cannot_leave_its_element() -> None:
    made = embed_json({"a": "</script><!--&\u2028\u2029"})
    assert not set("<>&\u2028\u2029") & set(made)
    assert json.loads(made) == {"a": "</script><!--&\u2028\u2029"}
    with pytest.raises(ValueError, match="JSON"):
        embed_json([float("nan")])


def test_text_helpers() -> None:
    assert clean("plain é") == "plain é" and clean("\udc80\n") == "\\udc80\\n"
    assert rounded(1.23456789, 3) == 1.23 and rounded(float("inf"), 3) is None and rounded(True, 3) is True
    assert number(None) == "–" == number(float("nan"))


def test_no_request_is_possible(analysis: Analysis) -> None:
    found = parse(render_html(analysis))
    for tag, attributes in found.tags:
        assert "src" not in attributes, tag
        assert (attributes.get("href") or "#").startswith(("#", "data:,")), (tag, attributes)
    policy = next(
        a["content"] for t, a in found.tags if t == "meta" and a.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None and policy.startswith("default-src 'none'")


def test_head_verdict_coverage_glossary(analysis: Analysis) -> None:
    text = parse(render_html(analysis)).text
    made = analysis.provenance
    for wanted in (made["analysed_sha256"], made["header_sha256"], made["precision"], made["libraries"]["numpy"]):
        assert wanted in text
    for line in analysis.coverage:
        if line.disposition == "skipped":
            assert clean(line.tensor) in text and line.reason in text
    odd = summary.odd_matrices(analysis)
    assert odd and all(reason in text for o in odd for reason in o.reasons)
    for failure in summary.failures(analysis):
        assert failure.status in text and all(clean(name) in text for name in failure.names)
    for metric in (*metrics.MATRIX_METRICS, *metrics.CIRCUIT_METRICS):
        assert metric.formula in text and metric.caution in text
    assert "do not say" in text and "No spectrum here tells" in text
    for note in analysis.notes:
        assert note in text


def test_rows_are_the_analysis(analysis: Analysis) -> None:
    data = json.loads(parse(render_html(analysis)).data)
    names = [c["name"] for c in data["columns"]]
    assert len(data["rows"]) == len(analysis.matrices) and len(data["circuits"]) == len(analysis.circuits)
    for made, row in zip(data["rows"], analysis.matrices, strict=True):
        assert made["n"] == row.ref.name and made["s"] == row.status
        value = dict(zip(names, made["v"], strict=True))["alpha_hill"]
        assert value == (
            None if row.values["alpha_hill"] is None else pytest.approx(row.values["alpha_hill"], rel=1e-8)
        )
        if row.null:
            null = made["z"][data["nulls"].index("stable_rank")]
            assert null[0] == pytest.approx(row.null["stable_rank"].mean, rel=1e-5)
    bad = next(row for row in data["rows"] if row["s"] == "non_finite")
    assert bad["h"] is None and bad["z"] is None and dict(zip(names, bad["v"], strict=True))["alpha_hill"] is None


@pytest.mark.parametrize(
    "options",
    [
        AnalysisOptions(workers=1, circuits=False, null=False),
        AnalysisOptions(workers=1, include=("*layers.0.self_attn.q*",)),
        AnalysisOptions(workers=1, fit=FitOptions(fits=("hill",)), summed_circuits=True),
        AnalysisOptions(workers=1, uncertainty=True, bootstrap=2, include=("*q_proj*",)),
    ],
)
def test_every_kind_of_analysis(save: Save, options: AnalysisOptions) -> None:
    found = analyze(save(llama_tensors()), options=options)
    text = parse(render_html(found)).text
    assert "Verdict" in text and "Coverage" in text and "matrices" in text
    assert ("Attention circuits" in text) == bool(found.circuits)
    assert ("fix-finger" in text.split("Glossary")[-1]) == ("fix_finger" in options.fit.fits and bool(found.matrices))


@pytest.mark.parametrize(("profile", "pooled"), [("weightwatcher-0.7.7", False), ("farms", True)])
def test_profiles(save: Save, profile: str, pooled: bool) -> None:
    found = parse(render_html(analyze(save(llama_tensors()), options=AnalysisOptions(workers=1, profile=profile))))
    assert json.loads(found.data)["pooled"] is pooled
    assert ("ww_norm" in found.text) != pooled and f"Profile {profile}" in found.text


def test_nothing_analysed(analysis: Analysis) -> None:
    text = parse(render_html(replace(analysis, matrices=(), circuits=()))).text
    assert "No matrix was analysed" in text and "All matrices" not in text


def test_unknown_names_have_no_layers(save: Save) -> None:
    tensors = {f"thing{i}": value for i, value in enumerate(llama_tensors().values())}
    html = render_html(analyze(save(tensors, config=None), options=AnalysisOptions(workers=1)))
    assert 'id="depth"' not in html and 'id="heat"' in html


def test_experts_have_a_section_of_their_own(analysis: Analysis) -> None:
    assert 'id="experts"' not in render_html(analysis)
    assert 'id="experts"' in render_html(mixture(analysis, 4))


def test_report_of_a_file_is_the_same(analysis: Analysis, tmp_path: Path, page: Path) -> None:
    write_json(analysis, tmp_path / "a.json")
    write_html(read_json(tmp_path / "a.json"), page)
    assert page.read_text(encoding="utf-8") == render_html(analysis)
    assert page.stat().st_size < 8_000_000
    assert [p.name for p in tmp_path.glob("*.html")] == ["report.html"]


def test_numbers_that_json_cannot_hold(analysis: Analysis) -> None:
    row = analysis.matrices[0]
    strange = replace(row, values={**row.values, "spectral_norm": float("nan")})
    assert json.loads(parse(render_html(replace(analysis, matrices=(strange,)))).data)["rows"][0]["s"] == row.status


def test_targets_include_the_page(tmp_path: Path, analysis: Analysis) -> None:
    page = tmp_path / "a.html"
    assert page in targets(None, None, None, page)
    with pytest.raises(Exception, match="written twice"):
        targets(page, None, None, page)
    folder = tmp_path / "model"
    write_html(analysis, folder / "r.html")
    check_apart(folder / "r.html", str(folder))  # an earlier report may be replaced
    (folder / "card.html").write_text("<html>")
    with pytest.raises(Exception, match="part of the checkpoint"):
        check_apart(folder / "card.html", str(folder))
