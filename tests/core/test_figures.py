"""The evaluation figure: it is a PNG, it is whole, and it says what the numbers say."""

import dataclasses
import io
import math
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from tasks.core.figures import _say, _short, _thin, evaluation_figure
from tasks.core.metrics import Estimate, measure
from tasks.core.operating_point import OperatingPoint

POINT = OperatingPoint(
    threshold=0.5, wanted_sensitivity=0.9, sensitivity=0.9, specificity=0.8, n=10, n_positive=5
)  # fmt: skip


def drawn(labels, scores, *, point=POINT, title="pneumonia"):
    estimates = measure(
        labels, scores, np.arange(len(labels)), threshold=point.threshold, seed=0, resamples=100
    )
    return evaluation_figure(labels, scores, estimates=estimates, operating_point=point, title=title)


def texts_of(monkeypatch, labels, scores, **given):
    """Draw and return the figure's object with all of its texts."""
    from matplotlib.backends import backend_agg
    from matplotlib.text import Text

    seen = []
    real = backend_agg.FigureCanvasAgg

    class Canvas(real):
        def __init__(self, figure):
            seen.append(figure)
            super().__init__(figure)

    monkeypatch.setattr(backend_agg, "FigureCanvasAgg", Canvas)
    drawn(labels, scores, **given)
    return seen[0], [one for one in seen[0].findobj(Text) if one.get_visible() and one.get_text()]


def simulated(n, *, seed=0):
    random = np.random.default_rng(seed)
    labels = np.r_[0, 1, random.integers(0, 2, n - 2)]
    return labels, 1 / (1 + np.exp(-(2 * labels - 1 + random.normal(size=n))))


CASES = {
    "usual": simulated(200),
    "large": simulated(30_000),
    "two images": ([0, 1], [0.3, 0.6]),
    "one image": ([1], [0.3]),
    "only ties": ([0, 1, 0, 1], [0.5] * 4),
    "perfect separation": ([0, 0, 1, 1], [0.0, 0.1, 0.9, 1.0]),
    "perfectly wrong": ([1, 1, 0, 0], [0.0, 0.1, 0.9, 1.0]),
    "only negatives": ([0, 0, 0], [0.1, 0.2, 0.7]),
    "only positives": ([1, 1, 1], [0.1, 0.2, 0.7]),
    "none called positive": ([0, 1, 1], [0.1, 0.2, 0.3]),
}


@pytest.mark.parametrize("name", CASES)
def test_every_kind_of_data_gives_a_png_of_900_pixels_without_a_warning(name):
    with Image.open(io.BytesIO(drawn(*CASES[name]))) as image:
        assert image.format == "PNG"
        assert image.size == (900, 900)
        assert np.asarray(image.convert("L")).std() > 10


@pytest.mark.parametrize("name", CASES)
def test_no_text_is_cut_and_no_two_texts_overlap(monkeypatch, name):
    labels, scores = CASES[name]
    title = "a title of two lines with $dollars$ and under_scores for a disease with a long name · thorough · test rows"
    figure, texts = texts_of(monkeypatch, labels, scores, title=title)
    boxes = [(one.get_text(), one.get_window_extent(figure.canvas.get_renderer())) for one in texts]
    for text, box in boxes:
        assert box.x0 >= 0, text
        assert box.y0 >= 0, text
        assert box.x1 <= 900, text
        assert box.y1 <= 900, text
    for index, (text, box) in enumerate(boxes):
        for other, second in boxes[:index]:
            wide = min(box.x1, second.x1) - max(box.x0, second.x0)
            high = min(box.y1, second.y1) - max(box.y0, second.y0)
            assert wide <= 1 or high <= 1, (text, other)


def test_the_figure_says_counts_intervals_and_that_it_is_not_for_diagnosis(monkeypatch):
    labels, scores = simulated(200)
    _, texts = texts_of(monkeypatch, labels, scores)
    said = [one.get_text() for one in texts]
    assert (
        f"n = 200, positives = {labels.sum()}, 95 % intervals by patient bootstrap, not for diagnosis" in said
    )
    assert any(text.startswith("AUROC 0.") and " to " in text for text in said)
    assert "score ≥ 0.5, chosen on validation for sensitivity 0.9" in said
    called = int(((scores >= 0.5) & (labels == 1)).sum())
    assert str(called) in said
    assert f"{called / labels.sum():.0%}" in said
    assert f"prevalence {labels.mean():.2f}" in said


def test_the_mark_shows_what_the_threshold_does_on_the_rows_given(monkeypatch):
    labels, scores = simulated(100)
    figure, _ = texts_of(monkeypatch, labels, scores)
    roc, precision = figure.axes[:2]
    mark = next(line for line in roc.lines if line.get_marker() == "o")
    said = scores >= 0.5
    assert mark.get_xdata()[0] == pytest.approx(said[labels == 0].mean())
    assert mark.get_ydata()[0] == pytest.approx(said[labels == 1].mean())
    mark = next(line for line in precision.lines if line.get_marker() == "o")
    assert mark.get_ydata()[0] == pytest.approx(labels[said].mean())


def test_the_same_input_gives_the_same_bytes_also_in_threads():
    labels, scores = simulated(100)
    first = drawn(labels, scores)
    with ThreadPoolExecutor(2) as pool:
        assert set(pool.map(lambda _: drawn(labels, scores), range(4))) == {first}
    assert b"matplotlib" not in first


def test_a_figure_never_loads_pyplot():
    code = """
import sys
from tasks.core.figures import evaluation_figure
from tasks.core.metrics import measure
from tasks.core.operating_point import choose_operating_point

labels, scores = [0, 1], [0.2, 0.8]
point = choose_operating_point(labels, scores, wanted_sensitivity=1)
found = measure(labels, scores, [1, 2], threshold=point.threshold, seed=0, resamples=100)
evaluation_figure(labels, scores, estimates=found, operating_point=point, title="")
sys.exit("matplotlib.pyplot" in sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_numbers_are_written_as_precisely_as_they_are_known():
    assert _say(Estimate(0.9, 0.85, 0.95, 10)) == "0.90 (0.85 to 0.95)"
    assert _say(Estimate(0.9004, 0.8995, 0.9013, 10)) == "0.900 (0.899 to 0.901)"
    assert _say(Estimate(1.0, None, None, 1)) == "1.00 (no interval)"
    assert _say(Estimate(math.nan, None, None, 0)) == "not defined"
    counts = (0, 999, 1234, 9940, 9960, 31_000, 999_499, 999_500, 2_500_000)
    assert [_short(one) for one in counts] == [
        "0",
        "999",
        "1.2k",
        "9.9k",
        "10k",
        "31k",
        "999k",
        "1.0M",
        "2.5M",
    ]


def test_a_long_curve_is_thinned_and_keeps_its_ends():
    kept = _thin(100_000)
    assert (kept.size, kept[0], kept[-1]) == (2000, 0, 99_999)
    assert _thin(1).tolist() == [0]


def test_bad_estimates_are_refused_with_expected_and_received():
    labels, scores = simulated(20)
    estimates = measure(labels, scores, np.arange(20), threshold=0.5, seed=0, resamples=100)
    with pytest.raises(
        ValueError, match=r"Expected estimates as `measure` returns them, received none for auroc, ppv\."
    ):
        evaluation_figure(
            labels, scores, operating_point=POINT, title="", estimates={k: v for k, v in estimates.items() if k not in ("auroc", "ppv")}
        )  # fmt: skip
    with pytest.raises(
        ValueError, match=r"received estimates of 20 images with 19 labels\. Pass the labels and scores"
    ):
        evaluation_figure(labels[1:], scores[1:], operating_point=POINT, title="", estimates=estimates)
    other = dataclasses.replace(POINT, threshold=0.0)
    with pytest.raises(
        ValueError, match=r"calls 20 images positive, received estimates with \d+\. Call `measure` with"
    ):
        evaluation_figure(labels, scores, operating_point=other, title="", estimates=estimates)
