"""The page of a comparison as people see it: sorted by click and key, on a phone and a desk, light, dark and on paper."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from itertools import pairwise

import pytest

from tasks.core.comparison import Comparison, DiseaseComparison
from tasks.core.comparison_page import comparison_page
from tasks.core.mistakes import Mistake
from tasks.core.verdict import conclude
from tests.browser.test_check_page import contrast, luminance, overflow
from tests.core import page_data
from tests.core.page_data import PROFILES
from tests.core.test_comparison_page import HOSTILE, LINK

SIZES = {"phone": (360, 780), "desk": (1280, 900)}
#: A4 across, 273 mm between its margins.
PAPER = (1031, 700)
#: Every text with the colours that it really has: [colour, ground, text]. Texts of a picture are filled, not coloured.
TEXTS = """() => {
  const found = [], clear = /^rgba.*, 0\\)$/;
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; (node = walk.nextNode()); ) {
    const inside = node.parentElement;
    if (!node.textContent.trim() || !inside.checkVisibility() || inside.closest("script, title, desc, .unseen")) continue;
    let ground = inside.closest("svg") ?? inside;
    while (ground && clear.test(getComputedStyle(ground).backgroundColor)) ground = ground.parentElement;
    const style = getComputedStyle(inside);
    found.push([inside.closest("svg") ? style.fill : style.color, getComputedStyle(ground || document.body).backgroundColor, node.textContent.trim()]);
  }
  return found;
}"""
#: Lines and marks that carry meaning, with their ground: WCAG asks for 3 of them.
STROKES = """() => [...document.querySelectorAll(".line, .interval, .diamond, .ends, .mark")].filter((n) => n.checkVisibility()).map((node) => {
  let ground = node.closest("svg");
  while (ground && /^rgba.*, 0\\)$/.test(getComputedStyle(ground).backgroundColor)) ground = ground.parentElement;
  const style = getComputedStyle(node);
  const filled = node.matches(".diamond, .mark:not(.beaten)");
  return [filled ? style.fill : style.stroke, getComputedStyle(ground).backgroundColor, node.getAttribute("class")];
})"""
#: Presses every heading twice; what the rows of its column are sorted by, after each.
PRESSED = """() => [...document.querySelectorAll(".sortable thead button")].flatMap((button) => {
  const heading = button.closest("th"), table = button.closest("table");
  return [0, 1].map(() => {
    button.click();
    const rows = [...table.tBodies[0].rows];
    const values = rows.map((row) => row.cells[Number(heading.dataset.column)].dataset.value ?? null);
    const orders = [...document.querySelectorAll(".sortable")].map((one) => [...one.tBodies[0].rows].map((row) => row.dataset.disease).join());
    const sorted = [...document.querySelectorAll("[aria-sort]")];
    return {values, number: heading.dataset.kind === "number", way: heading.getAttribute("aria-sort"), orders: new Set(orders).size, marked: sorted.length};
  });
})"""


@cache
def typical() -> Comparison:
    """Five diseases, one of them without seconds, so that something is not known."""
    found = page_data.typical().diseases
    first, second = found[1].sides
    lacking = replace(found[1], sides=(first, replace(second, cost=replace(second.cost, peak_bytes=None))))
    return Comparison(PROFILES, (found[0], lacking, *found[2:]))


@cache
def pictures() -> dict[str, list[Mistake]]:
    return {"osteoporosis": page_data.mistakes()}


@pytest.fixture(params=SIZES)
def size(request):
    return request.param


@pytest.fixture(params=["light", "dark"])
def scheme(request):
    return request.param


@pytest.fixture
def look(open_page, tmp_path):
    """Write the page of a comparison and open it; it may complain of nothing and ask for nothing but itself."""

    def opened(comparison=None, mistakes=None, size="desk", scheme="light"):
        file = tmp_path / "comparison.html"
        text = comparison_page(
            comparison or typical(), mistakes=mistakes or {}, link=LINK, made="2026-11-24 09:30 UTC"
        )
        file.write_text(text, encoding="utf-8")
        seen = open_page(file, *SIZES.get(size, size), scheme)
        assert (seen.complaints, seen.requests) == ([], [file.as_uri()])
        return seen

    return opened


def order(page, view="summary") -> list[str]:
    return page.locator(f".view.{view} tbody th").all_inner_texts()


def heading(page, name, view="summary"):
    return page.locator(f".view.{view} thead").get_by_role("button", name=name, exact=True)


def test_the_page_fits_and_says_the_answers_first(look, size, scheme, screenshots):
    page = look(None, pictures(), size, scheme).page
    page.screenshot(path=screenshots / f"comparison-{size}-{scheme}-first.png")
    page.screenshot(path=screenshots / f"comparison-{size}-{scheme}.png", full_page=True)
    assert overflow(page) <= 0
    assert page.locator("h1").inner_text().split() == ["fast", "against", "intensive"]
    words = [badge.split()[-1] for badge in page.locator(".answers .badge").all_inner_texts()]
    assert words == ["better", "Equivalent", "shown", "better", "compared"]
    assert page.locator(".answers .strip").count() == 4
    assert page.get_by_text("Not for diagnosis").first.is_visible()
    first = page.locator(".answer").first.bounding_box()
    assert first["y"] < SIZES[size][1]


def test_nothing_is_cut_off_at_any_width(look):
    page = look(None, pictures()).page
    page.get_by_label("All", exact=True).check()
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    for width in (320, 360, 480, 721, 800, 961, 1100):
        page.set_viewport_size({"width": width, "height": 800})
        assert overflow(page) <= 0, width
        beyond = page.evaluate(
            "[...document.querySelectorAll('main *, header *')].filter(n => !n.closest('.scroll, svg, .unseen') && "
            "n.getBoundingClientRect().right > innerWidth + 1).map(n => n.outerHTML.slice(0, 80))"
        )
        assert beyond == [], width


def test_every_text_and_line_stands_out_from_its_ground(look, size, scheme):
    page = look(None, pictures(), size, scheme).page
    page.get_by_label("All", exact=True).check()
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    texts = page.evaluate(TEXTS)
    assert len(texts) > 500
    assert [(c, g, text[:40]) for c, g, text in texts if contrast(c, g) < 4.5] == []
    lines = page.evaluate(STROKES)
    assert len(lines) > 30
    assert [(c, g, name) for c, g, name in lines if contrast(c, g) < 3] == []


def test_dark_is_dark_and_light_is_light(look):
    ground = "getComputedStyle(document.body).backgroundColor"
    assert luminance(look(scheme="light").page.evaluate(ground)) > 0.8
    assert luminance(look(scheme="dark").page.evaluate(ground)) < 0.05


def test_a_click_sorts_by_number_and_another_one_the_other_way(look, size):
    page = look(size=size).page
    assert order(page) == ["cardiomegaly", "arthritis", "osteoporosis", "bone_fracture"]
    heading(page, "Test images").click()
    assert order(page) == [
        "osteoporosis",
        "bone_fracture",
        "cardiomegaly",
        "arthritis",
    ]  # 84, 500, 900, 3,000
    assert heading(page, "Test images").locator("..").get_attribute("aria-sort") == "ascending"
    assert page.get_by_role("status").inner_text() == "Sorted by Test images, ascending"
    heading(page, "Test images").click()
    assert order(page) == ["arthritis", "cardiomegaly", "bone_fracture", "osteoporosis"]
    assert page.get_by_role("status").inner_text() == "Sorted by Test images, descending"
    heading(page, "Disease").click()
    assert order(page) == ["arthritis", "bone_fracture", "cardiomegaly", "osteoporosis"]
    assert page.locator("[aria-sort]").count() == 1


def test_the_keyboard_sorts_too_and_shows_where_it_is(look):
    page = look().page
    heading(page, "Disease").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    focused = page.evaluate("document.activeElement.textContent.trim()")
    assert focused == "Test images"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    assert order(page)[0] == "osteoporosis"
    page.keyboard.press("Space")
    assert order(page)[0] == "arthritis"
    assert page.evaluate("document.activeElement.textContent.trim()") == "Test images"


def test_every_heading_of_every_table_sorts_all_tables_and_leaves_the_unknown_last(look):
    page = look().page
    pressed = page.evaluate(PRESSED)
    assert len(pressed) > 100
    assert [one["way"] for one in pressed] == ["ascending", "descending"] * (len(pressed) // 2)
    assert {(one["orders"], one["marked"]) for one in pressed} == {(1, 1)}
    lacking = 0
    for one in pressed:
        known = [value for value in one["values"] if value is not None]
        lacking += len(known) < len(one["values"])
        assert one["values"][: len(known)] == known  # what is not known comes last, both ways
        keys = [float(value) for value in known] if one["number"] else known
        assert keys == sorted(keys, reverse=one["way"] == "descending")
    assert lacking >= 4


def test_one_view_is_shown_at_a_time_and_the_arrow_keys_choose_it(look, size):
    page = look(size=size).page

    def tables() -> list[int]:
        return [n for n, table in enumerate(page.locator(".view table").all()) if table.is_visible()]

    def titles() -> list[str]:
        return [title.inner_text() for title in page.locator(".view h3").all() if title.is_visible()]

    assert (tables(), titles()) == ([0], [])
    page.get_by_role("radio", name="Summary").focus()
    page.keyboard.press("ArrowRight")
    assert tables() == [1]
    page.get_by_text("Baselines", exact=True).first.click()
    assert tables() == [5]
    page.get_by_label("All", exact=True).check()
    assert tables() == [0, 1, 2, 3, 4, 5]
    assert titles() == ["Summary", "Operating point", "Calibration", "Training", "Use", "Baselines"]


def test_a_table_scrolls_on_a_phone_and_its_diseases_stay(look):
    page = look(size="phone").page
    region = page.locator(".view.summary .scroll")
    assert region.evaluate("node => node.scrollWidth > node.clientWidth")
    region.evaluate("node => node.scrollLeft = 400")
    box = page.locator(".view.summary tbody th").first.bounding_box()
    assert 0 <= box["x"] < 30
    assert box["width"] < SIZES["phone"][0] / 2
    heading(page, "Ratio").scroll_into_view_if_needed()
    heading(page, "Ratio").click()
    assert order(page)[0] == "cardiomegaly"
    assert overflow(page) <= 0


def test_mistakes_are_drawn_side_by_side(look, size):
    page = look(None, pictures(), size).page
    images = page.locator("img").all()
    assert len(images) == 9
    assert all(image.evaluate("node => node.complete && node.naturalWidth") == 64 for image in images)
    boxes = [image.bounding_box() for image in images[:3]]
    assert len({box["y"] for box in boxes}) == 1
    assert boxes[0]["x"] < boxes[1]["x"] < boxes[2]["x"]
    assert page.get_by_text("stays on this machine").is_visible()


def test_the_policy_stops_what_a_script_would_ask_for(look):
    seen = look()
    asked = seen.page.evaluate("fetch('http://127.0.0.1:9/').then(() => 'answered', () => 'refused')")
    added = seen.page.evaluate(
        "() => { const one = document.createElement('script'); one.textContent = 'window.owned = 1'; "
        "document.body.append(one); return window.owned ?? 'refused'; }"
    )
    assert (asked, added) == ("refused", "refused")
    assert len(seen.requests) == 1
    assert len(seen.complaints) >= 2
    assert all("Content Security Policy" in one or "violates" in one for one in seen.complaints)


def test_hostile_texts_are_text_and_nothing_else(look, size):
    named = [
        replace(one, title=said, warnings=(said,))
        for one, said in zip(page_data.many(len(HOSTILE)).diseases, HOSTILE, strict=True)
    ]
    lost = [DiseaseComparison(said, said, reason=said) for said in HOSTILE]
    seen = look(conclude(PROFILES, [*named, *lost]), size=size)
    page = seen.page
    assert (seen.dialogs, page.locator("script").count()) == ([], 1)
    assert page.locator("iframe, object, form, #owned, svg[onload], [onerror], [onmouseover]").count() == 0
    assert {a.get_attribute("href")[0] for a in page.locator("main a").all()} == {"#"}
    assert overflow(page) <= 0
    assert page.locator(".answer h3").first.inner_text() == HOSTILE[0]


def test_fifty_diseases_are_sorted_and_labelled_apart(look, size, screenshots):
    page = look(page_data.many(50), size=size).page
    assert overflow(page) <= 0
    heading(page, "Time to train, intensive").click()
    heading(page, "Time to train, intensive").click()
    assert order(page)[0] == "disease_49_with_a_long_key"
    page.locator("#price").scroll_into_view_if_needed()
    page.screenshot(path=screenshots / f"comparison-{size}-fifty.png")
    boxes = json.loads(
        page.evaluate(
            "JSON.stringify([...document.querySelectorAll('.prices .label')].filter(n => n.checkVisibility())"
            ".map(n => n.getBoundingClientRect()))"
        )
    )
    assert len(boxes) == 50
    edge = page.locator(".prices:visible").evaluate("node => node.getBoundingClientRect().right")
    assert max(box["x"] + box["width"] for box in boxes) <= edge + 1
    wide = page.evaluate(
        "[...document.querySelectorAll('.view.summary tbody th')].filter(n => "
        "n.firstElementChild.getBoundingClientRect().right > n.getBoundingClientRect().right)"
    )
    assert wide == []  # a long key stays in its cell
    tops = sorted((box["y"], box["height"]) for box in boxes)
    assert all(after[0] - before[0] >= 0.8 * before[1] for before, after in pairwise(tops))


@pytest.mark.parametrize("refused", [0, 2])
def test_a_page_without_figures_is_as_quiet(look, size, refused):
    lost = [DiseaseComparison(f"d{n}", f"Disease {n}", reason="no run of intensive") for n in range(refused)]
    page = look(conclude(PROFILES, lost), size=size).page
    assert page.locator(".answer").count() == refused
    assert page.get_by_text("No disease was asked for.").count() == (0 if refused else 2)
    assert overflow(page) <= 0


def test_paper_shows_every_table_and_what_is_folded_on_the_screen(look):
    page = look(None, pictures(), PAPER).page
    folded = page.locator("#disease-1 details table").first
    assert folded.evaluate("node => node.checkVisibility({contentVisibilityAuto: true})") is False
    page.emulate_media(media="print")
    assert folded.evaluate("node => node.checkVisibility({contentVisibilityAuto: true})") is True
    assert all(table.is_visible() for table in page.locator(".view table").all())
    assert not page.locator(".choose").is_visible()
    assert overflow(page) <= 0
    assert len(page.pdf(prefer_css_page_size=True)) > 10_000


def test_the_page_says_the_same_without_its_script(browser, tmp_path):
    file = tmp_path / "comparison.html"
    file.write_text(comparison_page(typical(), mistakes={}, link="", made="now"), encoding="utf-8")
    context = browser.new_context(java_script_enabled=False, viewport={"width": 1280, "height": 900})
    try:
        page = context.new_page()
        page.goto(file.as_uri())
        assert order(page) == ["cardiomegaly", "arthritis", "osteoporosis", "bone_fracture"]
        page.get_by_text("Training", exact=True).first.click()
        assert page.locator(".view.training table").is_visible()
        assert page.locator(".scripted").count() == 0
    finally:
        context.close()
