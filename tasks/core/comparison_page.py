"""The page of a comparison: one HTML file that asks nothing of the network; its only script sorts its tables.

In: the comparison, the most confident mistakes with their pictures, a link to the runs. Out: the text of the page,
made by `comparison_page.html.j2`. Made without mistakes it holds no picture, and may leave this machine.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import data_checks
from data_checks.visible import shortened, visible
from tasks.core import comparison_charts as charts
from tasks.core import comparison_prices as prices
from tasks.core import comparison_tables as written
from tasks.core import comparison_words as words
from tasks.core.comparison import Comparison, DiseaseComparison, Side
from tasks.core.cost import Cost, finite
from tasks.core.paired import MARGIN
from tasks.core.verdict import price_of

if TYPE_CHECKING:
    from tasks.core.mistakes import Mistake  # it draws, too: Pillow is loaded with it

# Bytes of PNG on a page, shared among the diseases: base64 makes 8 MB of them.
_PICTURE_BYTES = 6_000_000
# Characters of a title and of a sentence: a catalog may hold anything.
_LONGEST_TITLE, _LONGEST_TEXT = 200, 2000
_PNG = b"\x89PNG\r\n\x1a\n"
#: Class and words of a badge, and a shorter word for the table; that of `better` names the profile.
_BADGES = {
    "equivalent": ("pass", "Equivalent", "equivalent"),
    "not_shown": ("open", "No difference shown", "not shown"),
    "undefined": ("skipped", "Cannot be tested", "untested"),
    "refused": ("skipped", "Not compared", "not compared"),
}
_METRIC_NAMES = {
    "auroc": "AUROC",
    "ppv": "positive predictive value",
    "npv": "negative predictive value",
    "brier": "Brier score",
}


def comparison_page(
    comparison: Comparison, *, mistakes: Mapping[str, Sequence[Mistake]], link: str, made: str
) -> str:
    """Return the page of a comparison as HTML that encodes to UTF-8.

    Args:
        comparison: with its verdicts, as `verdict.conclude` returns it.
        mistakes: by disease, the most confident first; empty for a page that leaves this machine.
        link: address at which MLflow shows these runs beside each other. What is not http(s) is shown as text, an
            empty one not at all.
        made: when, as it shall be read.

    Raises:
        ValueError: mistakes of a disease that was not compared, or a picture that is not a PNG.
    """
    compared = [one for one in comparison.diseases if one.sides]
    shared = _shared_warnings(compared)
    strips = charts.strips(compared)
    pictured = _pictured(compared, mistakes)
    template, style, script = _parts()
    return template.render(
        style=style,
        script=script,
        hashes={"style": _hash(style), "script": _hash(script)},
        made=made,
        link=link,
        is_address=link.startswith(("http://", "https://")),
        profiles=comparison.profiles,
        message=_message(comparison),
        facts=_facts(comparison.profiles, compared),
        shared=shared,
        diseases=[
            {
                **_disease(number, one, shared),
                "strip": strips.get(one.disease),
                "mistakes": pictured.get(one.disease, []),
                "more_mistakes": len(mistakes.get(one.disease, ())) - len(pictured.get(one.disease, [])),
            }
            for number, one in enumerate(comparison.diseases, start=1)
        ],
        tables=written.tables(comparison.profiles, compared) if compared else [],
        badges=_BADGES,
        margin=f"{100 * MARGIN:g} points",
        wide=prices.prices(compared, size=prices.WIDE),
        narrow=prices.prices(compared, size=prices.NARROW),
    )


def _message(comparison: Comparison) -> str:
    """Say in one sentence on how many diseases the figures came to what."""
    diseases = comparison.diseases
    if not diseases:
        return "No disease was asked for."
    said = []
    for profile in comparison.profiles:
        better = sum(one.better == profile for one in diseases)
        said += [f"{profile} is better on {better:,}"] if better else []
    counts = {
        "both are equivalent on {}": sum(one.decision == "equivalent" for one in diseases),
        "no difference is shown on {}": sum(one.decision == "not_shown" for one in diseases),
        "nothing can be tested on {}": sum(
            one.decision == "undefined" and bool(one.sides) for one in diseases
        ),
        "{} could not be compared": sum(not one.sides for one in diseases),
    }
    said += [text.format(f"{count:,}") for text, count in counts.items() if count]
    return f"{len(diseases):,} {'disease' if len(diseases) == 1 else 'diseases'}: {', '.join(said)}."


def _facts(profiles: tuple[str, str], compared: Sequence[DiseaseComparison]) -> list[tuple[str, str, str]]:
    """Return term, value and remark of what holds for the whole comparison."""
    if not compared:
        return []
    images = sum(one.paired.n for one in compared if one.paired)
    facts = [("Test images", f"{images:,}", "both profiles on the same ones")]
    totals = []
    for place, profile in enumerate(profiles):
        seconds = [finite(one.sides[place].cost.seconds) for one in compared]
        known = [one for one in seconds if one is not None]
        totals.append(sum(known) if len(known) == len(seconds) else None)
        of = f"of {len(known):,} of {len(seconds):,} diseases" if len(known) < len(seconds) else ""
        facts.append((f"Time to train {profile}", words.duration(sum(known)) if known else "not known", of))
    first, second = (
        Side(profile, (), (), (), (), {}, Cost(training_s=total))
        for profile, total in zip(profiles, totals, strict=True)
    )
    price = price_of(first, second)
    if price.cheaper is not None:
        facts.append(("Ratio", price.times, f"{price.cheaper} is faster"))
    return facts


def _shared_warnings(compared: Sequence[DiseaseComparison]) -> list[str]:
    """Return the warnings that every compared disease has: they are said once, not once each."""
    if len(compared) < 2:
        return []
    return [said for said in compared[0].warnings if all(said in one.warnings for one in compared)]


def _disease(number: int, one: DiseaseComparison, shared: Sequence[str]) -> dict[str, Any]:
    """Return a disease as the template reads it, but for its strip and its pictures."""
    warnings = [said for said in one.warnings if said not in shared]
    if one.paired and one.paired.low is not None and one.paired.reason:
        warnings.append(f"On the interval: {one.paired.reason}.")
    return {
        "number": number,
        "key": one.disease,
        "title": shortened(one.title, _LONGEST_TITLE),
        "record": one,
        "compared": bool(one.sides),
        "badge": _badge(one),
        "sentence": _sentence(one),
        "warnings": [shortened(said, _LONGEST_TEXT) for said in warnings],
        "roc": charts.roc(one.sides) if one.sides else None,
        "baselines": _baselines(one),
        "metrics": _metrics(one),
        "runs": [row for place, side in enumerate(one.sides) for row in _runs(place, side)],
        "seeds": [(place, side) for place, side in enumerate(one.sides) if side.deviation is not None],
    }


def _badge(one: DiseaseComparison) -> tuple[str, str, str]:
    if one.better is not None:
        first = bool(one.sides) and one.better == one.sides[0].profile
        return "first" if first else "second", f"{one.better} is better", one.better
    return _BADGES["refused" if not one.sides else one.decision]


def _sentence(one: DiseaseComparison) -> str:
    """Return the verdict as a sentence that begins with a capital, unless it begins with a profile's key."""
    said = shortened(one.verdict or one.reason, _LONGEST_TEXT)
    named = any(said.startswith(side.profile) for side in one.sides)
    return said if named else said[:1].upper() + said[1:]


def _baselines(one: DiseaseComparison) -> list[dict[str, Any]]:
    """Return AUROC, interval and n of the models and of what sees no anatomy, the strongest of these first."""
    rows = []
    for kind, side in zip(("first", "second"), one.sides, strict=False):
        estimate = side.estimates.get("auroc")
        ends = (None, None) if estimate is None else (estimate.low, estimate.high)
        n = one.paired.n if one.paired else 0
        rows.append({"name": side.profile, "kind": kind, "auroc": finite(side.auroc), "ends": ends, "n": n})
    probes = sorted(one.shortcuts, key=lambda audited: audited.low or 0.0, reverse=True)
    rows += [
        {
            "name": written.PROBE_NAMES.get(audited.probe, audited.probe),
            "kind": "probe",
            "auroc": finite(audited.auroc),
            "ends": (audited.low, audited.high),
            "n": audited.n,
        }
        for audited in probes
    ]
    return rows


def _metrics(one: DiseaseComparison) -> list[tuple[str, list[written.Cell]]]:
    """Return each metric's name with the cells of both sides."""
    names = list(dict.fromkeys(name for side in one.sides for name in side.estimates))
    return [
        (
            _METRIC_NAMES.get(name, name.replace("_", " ")),
            [written.measured(side.estimates.get(name)) for side in one.sides],
        )
        for name in names
    ]


def _runs(place: int, side: Side) -> list[tuple[int, int, str, str, str]]:
    """Return side, seed, AUROC, threshold and run of each of its runs; there is no AUROC with one class only."""
    aurocs = [words.share(one) for one in side.aurocs if finite(one) is not None] or [""] * len(side.run_ids)
    thresholds = map(words.share, side.thresholds)
    rows = zip(side.seeds, aurocs, thresholds, side.run_ids, strict=True)
    return [(place, seed, auroc, threshold, run) for seed, auroc, threshold, run in rows]


def _pictured(
    compared: Sequence[DiseaseComparison], mistakes: Mapping[str, Sequence[Mistake]]
) -> dict[str, list[dict[str, Any]]]:
    """Return which mistakes each disease shows: one each, then a second each, while the bytes last."""
    unknown = sorted(set(mistakes) - {one.disease for one in compared})
    if unknown:
        raise ValueError(f"Expected mistakes of diseases that were compared, received {', '.join(unknown)}.")
    shown: dict[str, list[dict[str, Any]]] = {key: [] for key in mistakes}
    left = _PICTURE_BYTES
    for turn in range(max(map(len, mistakes.values()), default=0)):
        for key, found in mistakes.items():
            pictures = [found[turn].thumbnail, *found[turn].heat] if turn < len(found) else []
            needed = sum(len(png) for png in pictures if png is not None)
            if pictures and needed <= left:
                left -= needed
                shown[key].append({"mistake": found[turn], "pictures": [_base64(png) for png in pictures]})
    return shown


def _base64(png: bytes | None) -> str | None:
    if png is None:
        return None
    if not png.startswith(_PNG):
        raise ValueError(
            f"Expected a PNG as the picture of a mistake, received {len(png)} bytes of something else."
        )
    return base64.b64encode(png).decode()


def _hash(text: str) -> str:
    """Return what the content policy knows an inline style or script by."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@cache
def _parts() -> tuple[Any, str, str]:
    """Return the compiled template, the style and the script, which are put into the page as they are."""
    import jinja2  # 55 ms, for the page alone

    own, checks = Path(__file__).parent, Path(data_checks.__file__).parent
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([own, checks]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        along=_along,
        duration=words.duration,
        points=words.points,
        share=words.share,
        span=lambda ends: words.span(*ends),
        thousands="{:,}".format,
    )
    # Colours, badges and tables are those of the check's page; what only this page has comes after them.
    style = "\n".join(
        (folder / name).read_text(encoding="utf-8")
        for folder, name in ((checks, "page_style.css.j2"), (own, "comparison_page.css.j2"))
    )
    script = (own / "comparison_page.js").read_text(encoding="utf-8")
    return environment.get_template("comparison_page.html.j2"), style, script


def _finalize(value: object) -> object:
    """Make every text of the page visible before it is escaped; what a macro made is so already."""
    return visible(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def _along(auroc: float) -> float:
    """Return where an AUROC lies on a bar of 120 units, from 0.4 to 1, so that chance at 0.5 is inside it."""
    return round((min(max(auroc, 0.4), 1.0) - 0.4) / 0.6 * 120, 1)
