"""The page of a check as people see it: in a real browser, on a phone and on a desk, light and dark, and on paper."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from data_checks.findings import Finding
from data_checks.folders.sources import Mend, SourceFolder
from data_checks.page import write_page
from data_checks.report import Audited, CheckReport, Verdict
from tasks.core.phantoms import draw

SIZES = {"phone": (390, 844), "desk": (1440, 900)}
LINE = 'folder = "ChestXRay2017/chest_xray/train"'
HOSTILE = (
    "<img src=x onerror=alert(1)>.png",
    "<script>alert(2)</script>",
    '"><svg onload=alert(3)>.png',
    "javascript:alert(4)",
    "' onmouseover='alert(5)",
    "</code></pre></details><h1 id=owned>owned</h1>",
    "{{ 7 * 7 }}{% raw %}.png",
    "invoice\u202egnp.exe",
    "line\nbreak\x1b[31m\x00.png",
    "not utf-8 \udcff.png",
    "صورة الصدر.png",
    "x" * 255,
    "a" * 4000,
)
#: Every text that stands on the page with the colours that it really has: [colour, ground, text].
TEXTS = """() => {
  const found = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; (node = walk.nextNode()); ) {
    if (!node.textContent.trim() || !node.parentElement.checkVisibility()) continue;
    const style = getComputedStyle(node.parentElement);
    let ground = node.parentElement;
    while (ground && /^rgba.*, 0\\)$/.test(getComputedStyle(ground).backgroundColor)) ground = ground.parentElement;
    found.push([style.color, getComputedStyle(ground || document.body).backgroundColor, node.textContent.trim()]);
  }
  return found;
}"""


def thumbnail(disease: str, patient: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(draw(disease, patient=patient, view=0, side=96).pixels).save(file, "PNG")
    return file.getvalue()


def audit(low: float, n: int) -> tuple[Audited, ...]:
    probes = {
        "thumbnail": low + 0.06,
        "file_size": 0.71,
        "dimensions": 0.58,
        "border": 0.55,
        "mode": 0.5,
        "format": 0.47,
    }
    return tuple(Audited(probe, a, round(a - 0.06, 4), min(1.0, a + 0.05), n) for probe, a in probes.items())


def images(train: int, validation: int, test: int) -> dict[str, int]:
    return {"train": train, "validation": validation, "test": test}


def typical() -> tuple[CheckReport, dict[str, bytes]]:
    """A check with one disease of every verdict, and pictures of its offenders."""
    wrong = Finding(
        "pneumonia", "source_missing", "fail",
        "1 of 2 source folders of the catalog is not below the data root.",
        "write the line into your diseases.toml, or let `radtrain check --fix` do it",
        detail="looked for 'ChestXRay2017/train'; 'ChestXRay2017' has the folder 'chest_xray', and in it 'train', "
        "'test' with the class folders NORMAL and PNEUMONIA",
        count=1, total=2, places=("ChestXRay2017/train",),
        mend=Mend("pneumonia", (SourceFolder("ChestXRay2017/chest_xray/train", (("NORMAL", 0), ("PNEUMONIA", 1))),), LINE,
                  "[[diseases.pneumonia.sources]]"),
    )  # fmt: skip
    torn = tuple(
        f"Osteoporosis/{side}/knee {n:03}.png" for n in range(5) for side in ("Normal", "Osteoporosis")
    )
    cut = tuple(
        f"ARM/MURA_Organized/Humerus/Positive/patient{n:05}/study1/image{n % 3}.png" for n in range(10_000)
    )
    pictures = {place: thumbnail("osteoporosis", int(place[-7:-4])) for place in torn}
    pictures |= {place: thumbnail("bone_fracture", n) for n, place in enumerate(cut[:14])}
    report = CheckReport(
        (
            Verdict(
                "cardiomegaly", "Cardiomegaly on chest radiographs", manifest="0a" * 32, files=4438,
                negatives=images(1442, 333, 444), positives=images(1442, 333, 444), audit=audit(0.52, 3550),
            ),
            Verdict("hip_fracture", "Fracture on radiographs of the hip", enabled=False),
            Verdict("pneumonia", "Pneumonia on chest radiographs of children", findings=(wrong,)),
            Verdict(
                "osteoporosis", "Osteoporosis on knee radiographs", manifest="0b" * 32, files=372,
                findings=(
                    Finding("osteoporosis", "contradictory_labels", "warn",
                            "5 images stand byte for byte in both classes (10 files); they take no part.",
                            "remove each from the class that it does not belong to", count=10, total=372, places=torn,
                            images=tuple(f"{n:02x}" * 32 for n in range(5))),
                    Finding("osteoporosis", "shortcut", "warn",
                            "the thumbnail of 8 x 8 alone predicts the label: AUROC 0.930 (0.870 to 0.980), n 278.",
                            "ask where the two classes come from; beside this, a score says little"),
                    Finding("osteoporosis", "duplicates", "note", "12 files hold the bytes of another; one of each is used.",
                            "nothing to do", count=12, total=372, places=("Osteoporosis/sample/knee 001.png",)),
                    Finding("osteoporosis", "sidecar_files", "note", "3 notes of an operating system take no part.",
                            "nothing to do; they may be deleted", count=3, total=375),
                ),
                negatives=images(120, 27, 36), positives=images(111, 20, 31), audit=audit(0.87, 278),
                changes={"disease": "osteoporosis", "before": 350, "added": 7, "removed": 12, "relabelled": 1, "shift": 0.0413},
            ),
            Verdict(
                "bone_fracture", "Fracture on radiographs of the arm", manifest="0c" * 32, files=24_000,
                findings=(
                    Finding("bone_fracture", "unreadable_images", "warn",
                            "10,000 of 24,000 files cannot be used: not_an_image 4, truncated 9,996.",
                            "docs/reference/checks.md says what each reason means", count=10_000, total=24_000, places=cut),
                ),
                negatives=images(4700, 1000, 1300), positives=images(4600, 1050, 1350), audit=audit(0.55, 11_350),
            ),
        ),
        files=28_815, read=28_815, expectations=212, reused=False, seconds=41.3,
    )  # fmt: skip
    return report, pictures


def hostile() -> tuple[CheckReport, dict[str, bytes]]:
    """A check whose every name is an attack; the catalog's line holds them too."""
    findings = tuple(
        Finding(
            "pneumonia", "unreadable_images", severity, "files cannot be read.", f"see {name}", detail=f"there is {name}",
            count=len(HOSTILE), total=99, places=HOSTILE, mend=Mend("pneumonia", (), f'folder = "{name}"', f"[[{name}]]"),
        )
        for name, severity in zip(HOSTILE, ["fail", "warn", "note"] * 5, strict=False)
    )  # fmt: skip
    verdict = Verdict("pneumonia", f"Title {HOSTILE[0]} {HOSTILE[7]}", findings=findings, files=99)
    pictures = {name: thumbnail("pneumonia", n) for n, name in enumerate(HOSTILE)}
    return CheckReport((verdict,), 99, 99, 12, reused=True, seconds=0.2), pictures


@pytest.fixture(params=SIZES)
def size(request):
    return request.param


@pytest.fixture(params=["light", "dark"])
def scheme(request):
    return request.param


@pytest.fixture
def look(open_page, tmp_path):
    """Write the page of a report and open it."""

    def opened(report, pictures, size="desk", scheme="light", **kwargs):
        file = tmp_path / "check.html"
        text = write_page(
            report, made="2026-11-24 09:30 UTC", root="/data/radiographs", thumbnails=pictures, **kwargs
        )
        file.write_text(text, encoding="utf-8")
        return opened_and_quiet(open_page(file, *SIZES[size], scheme), file)

    return opened


def opened_and_quiet(seen, file):
    assert seen.complaints == []
    assert seen.requests == [file.as_uri()]
    return seen


def luminance(colour: str) -> float:
    """Relative luminance of an rgb() colour (WCAG 2.2)."""
    assert colour.startswith("rgb("), colour
    parts = [int(part) / 255 for part in colour[4:-1].split(",")]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(colour: str, ground: str) -> float:
    bright, dark = sorted((luminance(colour), luminance(ground)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def overflow(page) -> int:
    return page.evaluate("document.documentElement.scrollWidth - window.innerWidth")


def test_the_page_fits_complains_of_nothing_and_says_the_verdicts(look, size, scheme, screenshots):
    page = look(*typical(), size, scheme).page
    page.screenshot(path=screenshots / f"check-{size}-{scheme}-first.png")
    page.screenshot(path=screenshots / f"check-{size}-{scheme}.png", full_page=True)
    assert overflow(page) <= 0
    assert page.locator("h1").inner_text().split() == ["Data", "check:", "✕", "Fail"]
    words = page.locator("table.overview .badge").all_inner_texts()
    assert [word.split()[-1] for word in words] == ["Fail", "Warn", "Warn", "Pass", "Skipped"]
    assert all(badge.is_visible() for badge in page.locator("table.overview .badge").all())
    assert page.get_by_text("Not for diagnosis").first.is_visible()
    assert page.get_by_text(LINE, exact=True).first.is_visible()


def test_every_text_stands_out_from_its_ground(look, size, scheme):
    page = look(*typical(), size, scheme).page
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    texts = page.evaluate(TEXTS)
    assert len(texts) > 200
    poor = [(round(contrast(c, g), 2), c, g, text[:40]) for c, g, text in texts if contrast(c, g) < 4.5]
    assert poor == []


def test_dark_is_dark_and_light_is_light(look):
    ground = "getComputedStyle(document.body).backgroundColor"
    assert luminance(look(*typical(), scheme="light").page.evaluate(ground)) > 0.8
    assert luminance(look(*typical(), scheme="dark").page.evaluate(ground)) < 0.05


def test_the_line_that_mends_stands_on_the_first_screen(look, size):
    page = look(*typical(), size).page
    box = page.get_by_text(LINE, exact=True).first.bounding_box()
    assert 0 <= box["y"] <= SIZES[size][1] - box["height"]


def test_details_open_on_click_and_by_keyboard_and_show_the_first_places(look, size):
    page = look(*typical(), size).page
    places = page.locator("#disease-3 details")
    assert not places.locator("li").first.is_visible()
    places.locator("summary").click()
    assert places.locator("li").first.is_visible()
    assert places.locator("li").count() == 50
    assert places.get_by_text("and 9,950 more").is_visible()
    notes = page.locator("details.notes summary").first
    page.keyboard.press("Tab")  # from here on the focus is shown
    notes.focus()
    assert notes.evaluate("node => getComputedStyle(node).outlineStyle") != "none"
    page.keyboard.press("Enter")
    assert page.get_by_text("12 files hold the bytes of another").is_visible()
    assert overflow(page) <= 0


def test_thumbnails_are_drawn_with_their_paths_beside_them(look):
    page = look(*typical()).page
    pictures = page.locator("img").all()
    assert len(pictures) == 10 + 12
    assert all(picture.evaluate("node => node.complete && node.naturalWidth") == 96 for picture in pictures)
    assert all(picture.get_attribute("alt").startswith("Thumbnail of ") for picture in pictures)
    assert page.locator("figcaption").first.inner_text() == "Osteoporosis/Normal/knee 000.png"


def test_the_mending_line_is_selected_whole_by_one_click(look):
    page = look(*typical()).page
    page.get_by_text(LINE, exact=True).first.click()
    assert page.evaluate("getSelection().toString()").strip() == LINE


def test_hostile_names_are_text_and_nothing_else(look, size, screenshots):
    seen = look(*hostile(), size)
    page = seen.page
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    page.screenshot(path=screenshots / f"check-{size}-hostile.png", full_page=True)
    assert (seen.dialogs, seen.complaints, len(seen.requests)) == ([], [], 1)
    assert (
        page.locator("script, iframe, object, form, #owned, svg[onload], [onerror], [onmouseover]").count()
        == 0
    )
    assert {a.get_attribute("href")[0] for a in page.locator("a").all()} == {"#"}
    assert overflow(page) <= 0
    shown = page.locator("ol.places").first.locator("li").all_inner_texts()
    assert shown[:2] == list(HOSTILE[:2])
    assert shown[6] == HOSTILE[6]
    assert shown[7:10] == [
        r"invoice\u202egnp.exe",
        r"line\u000abreak\u001b[31m\u0000.png",
        r"not utf-8 \udcff.png",
    ]
    assert shown[11] == "x" * 255
    assert "3,700 more characters" in shown[12]


def test_a_copy_without_names_is_as_readable(look, size, screenshots):
    page = look(*typical(), size, local=False).page
    page.screenshot(path=screenshots / f"check-{size}-tracked.png", full_page=True)
    assert overflow(page) <= 0
    assert page.locator("img, pre, ol.places").count() == 0
    assert page.get_by_text("1 of 2 source folders of the catalog").is_visible()
    page.get_by_text("5 images, by digest").click()
    assert page.get_by_text("010101010101", exact=True).is_visible()


def test_paper_shows_what_is_folded_on_the_screen(look):
    page = look(*typical()).page
    folded = page.locator("#disease-3 ol.places li").first
    assert folded.evaluate("node => node.checkVisibility({contentVisibilityAuto: true})") is False
    page.emulate_media(media="print")
    assert folded.evaluate("node => node.checkVisibility({contentVisibilityAuto: true})") is True
