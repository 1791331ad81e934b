"""The page of a comparison as text: what stands on it, what never does, and how large it may become."""

from __future__ import annotations

import base64
import hashlib
import math
import re
import subprocess
import sys
import time
import tomllib
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from data_checks.report import Audited
from tasks.core.comparison import ONE_SEED, Comparison, DiseaseComparison, compare_rows
from tasks.core.comparison_charts import roc, strips
from tasks.core.comparison_page import comparison_page
from tasks.core.comparison_prices import LABEL_PX, NARROW, WIDE, prices
from tasks.core.comparison_words import duration, p_value, points, size
from tasks.core.cost import Cost
from tasks.core.metrics import Estimate
from tasks.core.verdict import conclude
from tests.core import page_data
from tests.core.page_data import FAST, PROFILES, REASON, SHORTCUTS, disease, mistakes, typical
from tests.core.test_comparison import runs
from tests.data_checks.outline import Outline

ROOT = Path(__file__).parents[2]
LINK = "http://127.0.0.1:5000/#/compare-experiments/s?experiments=%5B%221%22%5D&workflowType=machine_learning"
HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "<script>alert(2)</script>",
    '"><svg onload=alert(3)>',
    "' onmouseover='alert(4)",
    "</style></script></title></svg><h1 id=owned>owned</h1>",
    "{{ 7 * 7 }}{% raw %}",
    "invoice\u202egnp.exe",
    "line\nbreak\x1b[31m\x00",
    "not utf-8 \udcff",
    "x" * 5000,
)


def page(comparison: Comparison | None = None, **said) -> str:
    return comparison_page(comparison or typical(), **{"mistakes": {}, "link": LINK, "made": "now", **said})


def words(text: str) -> str:
    """What a reader sees of a page, its script left out."""
    return Outline(re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)).text


def figures(text: str) -> set[float]:
    """What the numeric cells of the tables are sorted by."""
    values = Outline(text).values("data-value")
    return {float(value) for value in values if re.fullmatch(r"-?[\d.]+(e-?\d+)?", value)}


def test_the_page_is_closed_html_that_runs_its_own_script_alone_and_asks_for_nothing():
    text = page(mistakes={"osteoporosis": mistakes()})
    outline = Outline(text)
    assert text.startswith("<!doctype html>")
    assert outline.elements[0] == ("html", {"lang": "en"})
    assert not {"iframe", "object", "embed", "form", "base"} & set(outline.tags())
    addresses = [value for value in outline.values("href") + outline.values("src") if value[0] != "#"]
    assert {address for address in addresses if not address.startswith("data:")} == {LINK}
    assert not [name for _, attributes in outline.elements for name in attributes if name.startswith("on")]
    assert not [1 for _, attributes in outline.elements if "style" in attributes]
    assert "url(" not in text
    assert "@import" not in text
    text.encode("utf-8")


def test_the_content_policy_knows_style_and_script_by_their_hash():
    text = page()
    [policy] = [value for value in Outline(text).values("content") if "default-src" in value]
    assert policy.startswith("default-src 'none'; img-src data:; ")
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        [inline] = re.findall(rf"<{tag}>(.*?)</{tag}>", text, flags=re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_ids_are_unique_links_lead_somewhere_and_headings_skip_no_level():
    outline = Outline(page(mistakes={"osteoporosis": mistakes()}))
    ids = outline.values("id")
    assert len(ids) == len(set(ids))
    wanted = [href[1:] for href in outline.values("href") if href.startswith("#")]
    wanted += " ".join(outline.values("aria-labelledby")).split()
    assert set(wanted) <= set(ids)
    levels = [int(tag[1]) for tag in outline.tags() if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert outline.tags().count("table") == outline.tags().count("caption") > 6
    assert all("scope" in attributes for tag, attributes in outline.elements if tag == "th")


def test_the_head_says_what_was_compared_and_that_it_is_not_for_diagnosis():
    text = words(page(made="2026-11-24 09:30 UTC"))
    head = text[: text.index("The straight answer")]
    for part in ("Not for diagnosis", "fast against intensive", "When 2026-11-24 09:30 UTC", "Test images 4,484",
                 "5 diseases: intensive is better on 2, both are equivalent on 1, no difference is shown on 1, "
                 "1 could not be compared.", "See these runs beside each other in MLflow"):  # fmt: skip
        assert part in head
    fast, intensive = 3 * (2.1 + 11.4) + 0.4 + 11.4, 4 * 640.0
    assert f"Time to train fast {fast:.1f} s" in head
    assert f"Time to train intensive {intensive / 60:.1f} min" in head
    assert f"Ratio {intensive / fast:.0f} times fast is faster" in head
    assert "stays on this machine" not in text


def test_the_verdicts_come_first_each_with_its_difference_and_its_reason():
    text = words(page())
    answers = text[text.index("The straight answer") : text.index("All figures")]
    for one in typical().diseases:
        sentence = one.verdict[0].upper() + one.verdict[1:] if one.verdict[0] == "n" else one.verdict
        assert f"{one.title}" in answers
        assert sentence in answers
        if one.paired:
            ends = f"{points(one.paired.difference)} ({points(one.paired.low)} to {points(one.paired.high)})"
            assert f"{ends} points, n {one.paired.n:,}" in answers
    assert REASON in answers
    for badge in ("intensive is better", "Equivalent", "No difference shown", "Not compared"):
        assert badge in answers


def test_every_figure_of_the_record_stands_in_a_table():
    text = page()
    shown, said = figures(text), words(text)
    for one in typical().to_json()["diseases"].values():
        if not one["profiles"]:
            continue
        counts = one["mcnemar"]
        wanted = [one["difference"], one["p_value"], one["p_holm"], one["n_test"]]
        wanted += [counts["only_first"], counts["only_second"], counts["p_value"]]
        wanted += [one["baselines"]["prevalence"][name] for name in ("average_precision", "brier")]
        wanted += [one["baselines"][probe.probe]["auroc"] for probe in SHORTCUTS]
        for side in one["profiles"].values():
            names = ("sensitivity", "specificity", "brier", "calibration_error", "average_precision")
            wanted += [side["auroc"], *(side["test"][name]["value"] for name in names)]
            wanted += [sum(side["thresholds"]) / len(side["thresholds"]), len(side["seeds"])]
            for estimate in side["test"].values():
                assert f"{estimate['value']:.3f}" in said
                assert f"{estimate['low']:.3f} to {estimate['high']:.3f}, n {estimate['n']:,}" in said
            assert all(run in said for run in side["run_ids"])
        for cost in one["costs"].values():
            kept = {name: value for name, value in cost.items() if name != "latency_repeats"}
            wanted += [value for value in kept.values() if value is not None]
            assert f"n {cost['latency_repeats']}" in said
        assert [value for value in wanted if not any(math.isclose(value, one) for one in shown)] == []
        assert f"{one['n_patients']:,} patients {one['n_positive']:,} positive" in said
        assert f"{one['images_needed']:,} test images like these would show" in said


def test_several_seeds_are_said_with_mean_and_deviation():
    text = words(page())
    for side in typical().diseases[3].sides:
        assert (
            f"{side.profile} AUROC {side.auroc:.3f}, deviation {side.deviation:.3f} over {len(side.seeds)} seeds"
            in text
        )
        assert f"{len(side.seeds)} seeds, sd {side.deviation:.3f}" in text
    assert text.count("deviation ") == 2


def test_a_warning_that_all_diseases_have_is_said_once_and_others_where_they_belong():
    text = words(page())
    assert text.count(ONE_SEED) == 3  # the fourth has several seeds
    assert text.count("Five images take no part.") == 1
    alike = conclude(PROFILES, [disease("a", warnings=("Both.",)), disease("b", warnings=("Both.", "Own."))])
    text = words(page(alike))
    assert (text.count("Both."), text.count("Own."), text.count(ONE_SEED)) == (1, 1, 1)
    assert text.index("Both.") < text.index("All figures") < text.index("Own.")


def test_why_an_interval_is_not_of_the_scores_stands_beside_it():
    one = compare_rows("a", "A", labels=[0, 1] * 20, patients=range(40), first=runs("fast", [0.2, 0.8] * 20),
                       second=runs("intensive", [0.1, 0.9] * 20))  # fmt: skip
    text = words(page(conclude(PROFILES, [one])))
    assert "On the interval: both rank every positive against every negative alike" in text


def test_what_is_not_known_is_said_to_be_so_and_never_nan_or_none():
    one = disease("a")
    unknown = Estimate(math.nan, None, None, 0)
    bare = replace(one.sides[0], cost=Cost(), estimates={"ppv": unknown, "auroc": replace(unknown, n=9)})
    broken = Cost(*[math.nan] * 9)  # type: ignore[arg-type]
    sides = (bare, replace(one.sides[1], cost=broken, estimates={}))
    probes = (Audited("border", 0.5, None, None, 9), Audited("new_probe", 0.6, 0.5, 0.7, 9))
    lone = replace(one, sides=sides, images_needed=None, mcnemar=None, shortcuts=probes)
    flat = compare_rows("flat", "Flat", labels=[1] * 6, patients=range(6), first=runs("fast", [0.4] * 6),
                        second=runs("intensive", [0.5] * 6))  # fmt: skip
    text = page(conclude(PROFILES, [lone, flat]))
    wrong = re.compile(r"\b(nan|none|inf|null)\b", re.IGNORECASE)
    said = words(text)
    assert wrong.findall(said) == []
    attributes = [
        (name, value) for _, found in Outline(text).elements for name, value in found.items() if value
    ]
    assert {name for name, value in attributes if wrong.search(value)} <= {
        "class",
        "content",
    }  # `none`, the policy
    for part in ("not known", "no interval", "There is no curve: all 6 test images are positive, so there is no AUROC.",
                 "No time to train with an AUROC is known", "Cannot be tested", "new_probe"):  # fmt: skip
        assert part in said


def test_hostile_texts_are_text_and_nothing_else():
    named = [
        replace(disease(f"a{number}", n=40, warnings=(said, f"see {said}")), title=said)
        for number, said in enumerate(HOSTILE)
    ]
    lost = [DiseaseComparison(f"b{n}", said, reason=said) for n, said in enumerate(HOSTILE)]
    text = page(conclude(PROFILES, [*named, *lost]), made=HOSTILE[0])
    text.encode("utf-8")
    outline = Outline(text)
    tags = outline.tags()
    assert (tags.count("script"), tags.count("style"), tags.count("h1"), tags.count("img")) == (1, 1, 1, 0)
    assert not [name for _, attributes in outline.elements for name in attributes if name.startswith("on")]
    assert "owned" not in outline.values("id")
    said = words(text)
    for part in (
        *HOSTILE[:2],
        r"invoice\u202egnp.exe",
        r"line\u000abreak\u001b[31m\u0000",
        r"not utf-8 \udcff",
    ):
        assert part in said
    assert "x" * 2001 not in text


@pytest.mark.parametrize("name", [HOSTILE[1], HOSTILE[2], HOSTILE[3], HOSTILE[4], "a" * 300])
def test_hostile_keys_are_text_too(name):
    first, second = disease("a", n=40).sides
    one = replace(
        disease("a", n=40), disease=name, sides=(replace(first, profile=name, run_ids=(name,)), second)
    )
    outline = Outline(page(conclude((name, "intensive"), [one])))
    assert (outline.tags().count("script"), outline.tags().count("h1")) == (1, 1)
    assert name in outline.text


@pytest.mark.parametrize(
    "link", ["javascript:alert(1)", "data:text/html,x", "sqlite:///home/mlflow.db", " http://x"]
)
def test_what_is_no_address_is_no_link(link):
    text = page(link=link)
    assert link not in Outline(text).values("href")
    assert link.strip() in words(text)


def test_an_empty_link_is_left_out():
    assert "MLflow" not in words(page(conclude(PROFILES, []), link=""))


def test_an_empty_comparison_says_so():
    outline = Outline(page(conclude(PROFILES, [])))
    assert "No disease was asked for." in outline.text
    assert not {"table", "script", "ol"} & set(outline.tags())


def test_a_comparison_of_refused_diseases_gives_their_reasons_and_no_figures():
    lost = [DiseaseComparison(key, key.upper(), reason=f"no {key} run.") for key in ("knee", "hip")]
    outline = Outline(page(conclude(PROFILES, lost)))
    for part in (
        "2 diseases: 2 could not be compared.",
        "Not compared: no knee run.",
        "KNEE",
        "Not compared: no hip run.",
    ):
        assert part in outline.text
    assert not {"table", "script", "fieldset"} & set(outline.tags())


def test_mistakes_are_shown_with_scores_labels_and_pictures():
    found = mistakes()
    text = page(mistakes={"osteoporosis": found})
    said, outline = words(text), Outline(text)
    assert "This page shows images of patients: it stays on this machine." in said
    assert outline.tags().count("img") == 3 * (len(found) - 1)
    assert (said.count("image not readable"), said.count("no heat map")) == (1, 2)
    for one in found:
        label = "positive" if one.label else "negative"
        assert f"Labelled {label} {one.image}" in said
        for profile, score, wrong in zip(PROFILES, one.scores, one.wrong, strict=True):
            assert f"{profile} {score:.3f} {'✕ wrong' if wrong else '✓ right'}" in said
    encoded = base64.b64encode(found[0].heat[0] or b"").decode()
    assert f"data:image/png;base64,{encoded}" in outline.values("src")


def test_mistakes_share_the_bytes_of_the_page_and_what_is_left_out_is_counted():
    large = [replace(one, thumbnail=page_data.png_of(1_400_000)) for one in mistakes()]
    others = [replace(one, disease="arthritis") for one in mistakes()]
    text = page(mistakes={"osteoporosis": large * 2, "arthritis": others})
    said = words(text)
    assert said.count("Labelled") == 8
    assert "4 more are left out: their pictures would make the page too large." in said
    assert len(text) < 9_000_000


def test_a_picture_that_is_no_png_is_refused():
    with pytest.raises(
        ValueError, match="Expected a PNG as the picture of a mistake, received 4 bytes of something"
    ):
        page(mistakes={"osteoporosis": [replace(mistakes()[0], thumbnail=b"<svg")]})


@pytest.mark.parametrize("key", ["pneumonia", "gout"])
def test_mistakes_of_a_disease_without_figures_are_refused(key):
    with pytest.raises(ValueError, match=f"mistakes of diseases that were compared, received {key}"):
        page(mistakes={key: mistakes()})


def test_a_page_of_five_diseases_is_small_and_made_within_a_second():
    page()  # the template is compiled once
    started = time.process_time()
    text = page()
    assert time.process_time() - started < 1
    assert len(text.encode()) < 400_000


def test_fifty_diseases_make_a_page_whose_labels_stand_apart():
    comparison = page_data.many(50)
    text = page(comparison)
    assert len(text.encode()) < 3_000_000
    assert words(text).count("Made-up disease 49") == 3  # answer, heading, title of its curves
    for size_of in (WIDE, NARROW):
        picture = prices(comparison.diseases, size=size_of)
        assert picture is not None
        heights = sorted(one.y for one in picture.named)
        assert min(after - before for before, after in pairwise(heights)) >= LABEL_PX - 0.11
        assert picture.top <= heights[0] <= heights[-1] <= picture.bottom
        spots = [spot for one in picture.named for spot in one.spots]
        assert len(spots) == 100
        assert all(picture.left <= spot.x <= picture.right for spot in spots)
        assert all(
            picture.top <= y <= picture.bottom for spot in spots for y in (spot.low, spot.y, spot.high)
        )
        assert all(len(one.text) <= size_of[1] for one in picture.named)
        assert len(picture.x_ticks) >= 2


def test_the_price_picture_marks_what_is_beaten_and_leaves_out_what_is_not_known():
    dear = disease("dear", shift=3.0, gain=-2.0)  # the second is slower and worse
    lone = disease("lone", costs=(FAST, Cost()))
    lost = disease("lost", costs=(Cost(training_s=math.nan), Cost()))
    picture = prices([dear, lone, lost], size=WIDE)
    assert picture is not None
    assert [one.disease for one in picture.named] == ["dear", "lone"]
    assert [spot.beaten for spot in picture.named[0].spots] == [False, True]
    assert [(spot.side, spot.beaten) for spot in picture.named[1].spots] == [(0, False)]
    assert picture.named[0].spots[0].x < picture.named[0].spots[1].x
    assert prices([lost], size=WIDE) is None


def test_strips_share_an_axis_and_say_where_an_interval_goes_beyond_it():
    near, far = disease("near", n=900), disease("far")
    assert far.paired is not None
    wide = replace(far, paired=replace(far.paired, low=-0.6, difference=0.1, high=0.25))
    found = strips([near, wide, DiseaseComparison("lost", "Lost")])
    assert set(found) == {"near", "far"}
    assert found["near"].ticks == found["far"].ticks
    assert [tick.text for tick in found["far"].ticks] == ["-30", "0", "+30"]
    assert (found["near"].beyond, found["far"].beyond) == ((False, False), (True, False))
    assert (
        found["far"].low
        == found["far"].ticks[0].at
        < found["far"].zero
        < found["far"].value
        < found["far"].high
    )


def test_the_roc_picture_goes_from_corner_to_corner_and_marks_the_operating_points():
    one = disease("a")
    picture = roc(one.sides)
    assert picture is not None
    for line in (*picture.lines[0], *picture.lines[1]):
        assert line.startswith(f"M{picture.left:g} {picture.bottom:g}L")
        assert line.endswith(f"L{picture.right:g} {picture.top:g}")
    mark, estimates = picture.marks[0], one.sides[0].estimates
    assert mark is not None
    width, height = picture.right - picture.left, picture.bottom - picture.top
    assert (mark[0] - picture.left) / width == pytest.approx(1 - estimates["specificity"].value, abs=1e-3)
    assert (picture.bottom - mark[1]) / height == pytest.approx(estimates["sensitivity"].value, abs=1e-3)


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.0, "0.00 s"), (0.418, "0.42 s"), (12.34, "12.3 s"), (599.0, "599.0 s"), (1234.0, "20.6 min"), (7e6, "1,944.4 h")]
)  # fmt: skip
def test_times_are_written_in_the_unit_that_reads_best(seconds, said):
    assert duration(seconds) == said


def test_sizes_points_and_p_values_are_written_short():
    assert [size(count) for count in (0, 999, 6_200, 6_200_000, 3_460_000_000)] == ["0 bytes", "999 bytes", "6.2 kB", "6.2 MB", "3.5 GB"]  # fmt: skip
    assert [points(value) for value in (0.0213, -0.0004, 0.0004, -0.5)] == ["+2.1", "0.0", "0.0", "-50.0"]
    assert [p_value(value) for value in (None, 1.0, 0.0312, 1.23e-9)] == ["", "1", "0.031", "1.2e-09"]


def test_the_files_that_the_page_is_made_of_are_part_of_the_package():
    packaged = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"][
        "tasks"
    ]
    found = {path.name for pattern in packaged for path in (ROOT / "tasks").glob(pattern)}
    assert {
        path.name for path in (ROOT / "tasks" / "core").glob("comparison_*") if path.suffix != ".py"
    } <= found
    assert {"comparison_page.html.j2", "comparison_page.css.j2", "comparison_page.js"} <= found


def test_importing_the_page_loads_neither_the_template_engine_nor_anything_heavy():
    listing = (
        "import sys, tasks.core.comparison_page; print(*{name.partition('.')[0] for name in sys.modules})"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", listing], capture_output=True, text=True, check=True
    ).stdout
    assert not set(loaded.split()) & {"jinja2", "PIL", "matplotlib", "pandas", "sklearn", "prefect", "mlflow"}
