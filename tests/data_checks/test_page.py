"""The page as text: what stands on it and in which order, what never does, and how large it may become."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from html import unescape
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from data_checks.findings import CODES, Finding
from data_checks.folders.sources import Mend
from data_checks.page import write_page
from data_checks.report import Audited, CheckReport, Verdict
from data_checks.visible import visible
from tests.data_checks.outline import Outline


def png(side: int = 96, seed: int = 0, *, noisy: bool = False) -> bytes:
    """A drawn gradient; `noisy`: as large as a PNG of that side can be."""
    ramp = np.add.outer(np.arange(side), np.arange(side)).astype(np.uint8) + np.uint8(seed % 256)
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side), dtype=np.uint8) if noisy else ramp
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def finding(severity="warn", code="blank_images", disease="knee", **said) -> Finding:
    return Finding(
        disease, code, severity, **{"text": f"a {severity}.", "fix": f"mend the {severity}", **said}
    )


def verdict(*findings, disease="knee", **said) -> Verdict:
    counts = {"train": 1200, "validation": 20, "test": 30}
    known = {"files": 1300, "negatives": counts, "positives": counts, "findings": findings}
    return Verdict(disease, f"The {disease}", **{**known, **said})


def report(*verdicts, **said) -> CheckReport:
    known = {"files": 5000, "read": 4000, "expectations": 77, "reused": False, "seconds": 1.25}
    return CheckReport(verdicts, **{**known, **said})


def page(*verdicts, **kwargs) -> str:
    return write_page(report(*verdicts), made="2026-11-24 09:30", **kwargs)


def test_the_page_is_closed_html_without_script_or_address():
    text = page(
        verdict(
            finding("fail", places=("a.png",)), finding("note"), audit=(Audited("mode", 0.5, 0.4, 0.6, 9),)
        ),
        thumbnails={"a.png": png()},
    )
    outline = Outline(text)
    assert text.startswith("<!doctype html>")
    assert outline.elements[0] == ("html", {"lang": "en"})
    assert not {"script", "iframe", "object", "embed", "form", "base"} & set(outline.tags())
    policy = next(value for value in outline.values("content") if "default-src" in value)
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline'")
    assert all(value.startswith(("#", "data:")) for value in outline.values("href") + outline.values("src"))
    assert "url(" not in text
    assert "@import" not in text
    assert not [name for _, attributes in outline.elements for name in attributes if name.startswith("on")]


def test_ids_are_unique_links_lead_somewhere_and_headings_skip_no_level():
    outline = Outline(
        page(
            verdict(finding("fail"), finding("fail"), finding("warn")),
            verdict(finding("note"), disease="hip"),
        )
    )
    ids = outline.values("id")
    assert len(ids) == len(set(ids))
    wanted = [href[1:] for href in outline.values("href") if href.startswith("#")]
    wanted += outline.values("aria-labelledby")
    assert set(wanted) <= set(ids)
    levels = [int(tag[1]) for tag in outline.tags() if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    tables = outline.tags().count("table")
    assert tables == outline.tags().count("caption") > 2
    assert all("scope" in attributes for tag, attributes in outline.elements if tag == "th")


def test_the_head_says_what_was_looked_at():
    said = report(verdict(finding("fail", "tiny_images")))
    text = Outline(write_page(said, made="2026-11-24 09:30", root="/data/x")).text
    assert "Data check: ✕ Fail" in text
    for part in (said.message(), "When 2026-11-24 09:30", "Data root /data/x", "Files 5,000", "Images read 4,000",
                 "Expectations evaluated 77", "Took 1.2 s", "Not for diagnosis", "exit code 11", "data_checks/limits.toml"):  # fmt: skip
        assert part in text


def test_no_expectation_and_an_earlier_judgement_are_said():
    text = Outline(write_page(report(verdict(), expectations=0, reused=True), made="now")).text
    assert "Expectations evaluated 0 no table could be made" in text
    assert "nothing had changed: judged by an earlier check" in text


def test_the_worst_disease_comes_first_and_the_gravest_finding_within_it():
    text = Outline(
        page(
            verdict(disease="fine"),
            verdict(disease="off", enabled=False),
            verdict(
                finding("note", text="third"), finding("warn", text="second"), finding("fail", text="first")
            ),
            verdict(finding("warn"), disease="doubtful"),
        )
    ).text
    order = [text.index(f"The {disease}") for disease in ("knee", "doubtful", "fine", "off")]
    assert order == sorted(order)
    assert text.index("first") < text.index("second") < text.index("third")


def test_a_finding_shows_code_meaning_text_detail_line_fix_and_count():
    mend = Mend("knee", (), 'folder = "a/b"\nnegative = ["n"]', "[[diseases.knee.sources]]")
    one = finding("fail", "source_missing", text="what is wrong.", fix="run `radtrain check --fix`",
                  detail="what is there", count=3, total=1234, mend=mend, places=("a/c",))  # fmt: skip
    text = page(verdict(one))
    words = Outline(text).text
    order = ["source_missing · 3 of 1,234", "what is wrong.", "what is there", "[[diseases.knee.sources]]",
             'folder = "a/b" negative = ["n"]', "What to do: run radtrain check --fix", "1 place", "a/c"]  # fmt: skip
    section = words[words.index("Stops the training") :]
    assert CODES["source_missing"] in section
    found = [section.index(part) for part in order]
    assert found == sorted(found)
    assert text.count("<code>folder = &#34;a/b&#34;\nnegative = [&#34;n&#34;]</code></pre>") == 2
    assert "<code>radtrain check --fix</code>" in text


def test_the_overview_says_why_a_disease_fails_and_what_to_do_where_no_line_mends_it():
    text = Outline(page(verdict(*[finding("fail", fix=f"mend {n}") for n in range(5)]))).text
    overview = text[: text.index("Stops the training")]
    assert "What to do: mend 2" in overview
    assert "mend 3" not in overview
    assert "and 2 more failures" in overview


def test_a_skipped_disease_is_never_green():
    outline = Outline(page(verdict(disease="off", enabled=False)))
    above = outline.elements[
        : next(n for n, (_, a) in enumerate(outline.elements) if a.get("class") == "legend")
    ]
    states = {word for _, attributes in above for word in str(attributes.get("class", "")).split()}
    assert "skipped" in states
    assert not states & {"pass", "warn", "fail"}
    assert "Data check: – Skipped" in outline.text
    assert "nothing was looked at" in outline.text


def test_an_empty_check_makes_a_page_that_is_not_green():
    text = Outline(write_page(report(files=0, read=0, expectations=0), made="now")).text
    assert "Skipped" in text
    assert "No disease was asked for." in text


def test_counts_audit_and_changes_stand_in_tables():
    audit = (Audited("mode", 0.41, None, None, 77), Audited("file_size", 0.8, 0.72, 0.88, 1500),
             Audited("border", 0.83, 0.6, 1.0, 1500))  # fmt: skip
    changes = {"disease": "knee", "before": 1000, "added": 3, "removed": 2, "relabelled": 1, "shift": 0.25}
    text = page(verdict(audit=audit, changes=changes))
    words = Outline(text).text
    assert "file size 0.800 (0.720 to 0.880)" in words[: words.index("The knee")]  # the highest lower end
    assert "train 1,200 1,200" in words
    assert "all 1,250 1,250" in words
    assert "mode 0.410 77" in words
    assert words.index("file size 0.800 (0.720 to 0.880) 1,500") < words.index(
        "border 0.830 (0.600 to 1.000)"
    )
    assert "relabelled images used then and now, with the other label 1" in words
    assert "0.250" in words
    widths = [float(value) for value in re.findall(r'class="value" x="[\d.]+" y="3" width="([\d.]+)"', text)]
    assert widths == pytest.approx([60, 66, 18], abs=0.11)  # of 120 units from 0.4 to 1


def test_ten_thousand_places_are_fifty_and_a_number():
    one = finding(places=tuple(f"folder/{n}.png" for n in range(10_000)), count=10_000, total=10_000)
    text = page(verdict(one))
    assert len(re.findall(r"<li>folder/\d+\.png</li>", text)) == 50
    assert "and 9,950 more" in text
    assert len(text) < 40_000


def test_thumbnails_of_places_are_shown_up_to_twelve_and_no_others():
    one = finding(places=tuple(f"{n}.png" for n in range(20)))
    shown = Outline(
        page(verdict(one), thumbnails={f"{n}.png": png(seed=n) for n in range(20)} | {"other.png": png()})
    )
    assert shown.values("alt") == [f"Thumbnail of {n}.png" for n in range(12)]


def test_the_gravest_findings_get_thumbnails_when_not_all_fit_and_the_page_stays_below_three_megabytes():
    pictures = {f"{d}/{n}/{k}.png": png(seed=d * 400 + n * 12 + k, noisy=True) for d in range(5) for n in range(30)
                for k in range(12)}  # fmt: skip
    folder = "/".join(["a folder of some length"] * 2)
    verdicts = [
        verdict(
            *[
                finding(
                    severity,
                    places=(*(f"{d}/{n}/{k}.png" for k in range(12)), *(f"{folder}/{n}-{k}.png" for k in range(10_000))),
                )
                for n, severity in enumerate(["fail"] * 10 + ["warn"] * 10 + ["note"] * 10)
            ],
            disease=f"d{d}",
        )
        for d in range(5)
    ]  # fmt: skip
    text = page(*verdicts, thumbnails=pictures)
    assert len(text.encode()) < 3_000_000
    alts = Outline(text).values("alt")
    shown = {
        tuple(map(int, alt.removeprefix("Thumbnail of ").removesuffix(".png").split("/"))) for alt in alts
    }
    assert {(d, n) for d, n, _ in shown} == {(d, n) for d in range(5) for n in range(30)}
    second = {(d, n) for d, n, k in shown if k == 1}
    assert second <= {(d, n) for d in range(5) for n in range(10)}


@pytest.mark.parametrize(
    ("data", "received"),
    [(png(97), "97 x 97 px"), (b"<svg onload=alert(1)>", "21 bytes that are no PNG"), (b"", "0 bytes that are no PNG")],
)  # fmt: skip
def test_a_thumbnail_that_is_no_small_png_is_refused(data, received):
    with pytest.raises(
        ValueError, match=rf"'a.png'.* Expected: a PNG of at most 96 px a side. Received: {received}"
    ):
        page(verdict(finding(places=("a.png",))), thumbnails={"a.png": data})


def test_the_copy_that_leaves_the_machine_holds_codes_texts_counts_and_short_digests_alone():
    secret = "SECRET/patient_0815"
    one = finding("fail", "source_missing", text="1 of 2 folders is missing.", fix=f"fix {secret}", detail=secret,
                  count=1, total=2, places=(secret,), images=("ab" * 32,) * 20,
                  mend=Mend("knee", (), f'folder = "{secret}"', f"[[{secret}]]"))  # fmt: skip
    said = report(replace(verdict(one), title=secret))
    local = write_page(said, made="now", root=f"/{secret}", thumbnails={secret: png()})
    assert local.count(secret) > 8
    text = write_page(said, made="now", root=f"/{secret}", thumbnails={secret: png()}, local=False)
    words = Outline(text).text
    assert "SECRET" not in text
    assert "<img" not in text
    assert "<pre" not in text
    for part in (
        "source_missing · 1 of 2",
        "1 of 2 folders is missing.",
        "abababababab",
        "and 8 more",
        "20 images",
    ):
        assert part in words
    assert "ab" * 7 not in text


names = st.text(st.characters(), min_size=1, max_size=30)


@given(name=names, local=st.booleans())
def test_any_name_gives_a_page_of_the_same_elements_that_is_utf_8(name, local):
    one = finding("fail", detail=name, fix=name, places=(name,), mend=Mend("knee", (), name, name))
    said = report(replace(verdict(one), title=name))
    text = write_page(said, made="now", root=name, thumbnails={name: png(8)}, local=local)
    plain = write_page(
        report(verdict(finding("fail", detail="x", fix="x", places=("x",), mend=Mend("knee", (), "x", "x")))),
        made="now", root="x", thumbnails={"x": png(8)}, local=local,
    )  # fmt: skip
    assert text.encode("utf-8").decode("utf-8") == text
    known = [tag for tag in Outline(plain).tags() if tag != "code"]  # backticks are code
    assert [tag for tag in Outline(text).tags() if tag != "code"] == known
    if local:
        place = re.search(r"<li>(?!<)(.*?)</li>", text)
        assert place
        assert unescape(place[1]) == visible(name)
