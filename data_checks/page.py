"""The page of a check: one HTML file that asks nothing of the network and runs no script.

In: the report, small pictures of offenders. Out: the text of the page, made by `page.html.j2`. A page that leaves
this machine is made of the tracked copy of the report alone: what stays here is not in reach of it.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from data_checks.contract import CHANGES, SPLITS
from data_checks.findings import CODES, Finding
from data_checks.report import CheckReport, Verdict
from data_checks.visible import shortened, visible

#: px, of the longer side of a thumbnail.
THUMBNAIL_SIDE = 96
# Bytes of PNG on a page, shared among the findings: base64 makes 2 MB of them, and leaves 1 MB for 7,500 paths.
_THUMBNAIL_BYTES = 1_500_000
_PLACES = 50
_THUMBNAILS = 12
_DIGESTS = 12
# Characters of a path and of a sentence; the longest path of Linux has 4,096, and 7,500 of those would be 30 MB.
_LONGEST_PATH = 300
_LONGEST_TEXT = 2000
_PNG = b"\x89PNG\r\n\x1a\n"
#: Gravest first: the order of the diseases and of the groups of findings.
_STATES = ("fail", "warn", "pass", "skipped")
_GROUPS = {"fail": "Stops the training", "warn": "Stands beside the score", "note": "Healed or harmless"}


@dataclass(frozen=True, slots=True)
class _Kept:
    """What of a finding stays on this machine.

    Attributes:
        detail: what was looked for and what is there.
        fix: what mends it.
        table: of the catalog, that the lines belong in; empty where no line mends it.
        lines: of TOML.
        places: the first files or folders.
        more_places: how many others there are.
        thumbnails: path and base64 PNG of some of them.
    """

    detail: str
    fix: str
    table: str
    lines: tuple[str, ...]
    places: tuple[str, ...]
    more_places: int
    thumbnails: tuple[tuple[str, str], ...]


def write_page(
    report: CheckReport,
    *,
    made: str,
    root: str | None = None,
    thumbnails: Mapping[str, bytes] | None = None,
    local: bool = True,
) -> str:
    """Return the page of a check as HTML that encodes to UTF-8.

    Args:
        report: what the check came to.
        made: when, as it shall be read.
        root: the data root, for the local page.
        thumbnails: PNG of at most 96 px a side, by path relative to the root; a finding shows up to 12 of its places.
        local: with the names of files and folders; False leaves codes, texts, counts and digests, for MLflow and Prefect.

    Raises:
        ValueError: If a thumbnail is not a PNG of at most 96 px a side.
    """
    said = report.to_json(tracked=True)
    titles: dict[str, str] = {}
    kept: dict[str, list[_Kept]] = {}
    if local:
        titles = {verdict.disease: verdict.title for verdict in report.verdicts}
        kept = _kept(report.verdicts, thumbnails or {})
    diseases = [_disease(key, one, kept.get(key)) for key, one in said["diseases"].items()]
    diseases.sort(key=lambda disease: _STATES.index(disease["verdict"]))
    return _template().render(
        said=said,
        message=report.message(),
        made=made,
        root=root if local else None,
        local=local,
        titles=titles,
        diseases=diseases,
        splits=SPLITS,
        groups=_GROUPS,
        changes=[column for column in CHANGES if column.name != "disease"],
    )


def _disease(key: str, said: dict[str, Any], kept: Sequence[_Kept] | None) -> dict[str, Any]:
    """Return a disease as the template reads it; with `kept`, its findings have their local parts."""
    findings = [
        {
            **finding,
            "text": shortened(finding["text"], _LONGEST_TEXT),
            "meaning": CODES.get(finding["code"], ""),
            "images": [digest[:12] for digest in finding["images"][:_DIGESTS]],
            "more_images": max(0, len(finding["images"]) - _DIGESTS),
            "kept": kept[number] if kept is not None else None,
        }
        for number, finding in enumerate(said["findings"])
    ]
    audit = sorted(said["audit"], key=_lower_end, reverse=True)
    return {
        **said,
        "key": key,
        "findings": {severity: [f for f in findings if f["severity"] == severity] for severity in _GROUPS},
        "audit": audit,
        "shortcut": next((one for one in audit if one["low"] != one["high"]), None),
    }


def _lower_end(audited: Mapping[str, Any]) -> float:
    """Return where a probe is ranked; what is the same in every image comes last."""
    return -1.0 if audited["low"] == audited["high"] else audited["low"]


def _kept(verdicts: Sequence[Verdict], thumbnails: Mapping[str, bytes]) -> dict[str, list[_Kept]]:
    """Return the local parts of all findings, by disease, in the order of its findings."""
    for path, png in thumbnails.items():
        _require_small_png(path, png)
    ordered = sorted(verdicts, key=lambda verdict: _STATES.index(verdict.state))
    findings = [(v.disease, n, f) for v in ordered for n, f in enumerate(v.findings)]
    # The gravest get their pictures first; the page shows them in this order as well.
    findings.sort(key=lambda one: list(_GROUPS).index(one[2].severity))
    shown = _shared_out([one[2] for one in findings], thumbnails)
    made: dict[str, list[_Kept]] = {verdict.disease: [] for verdict in verdicts}
    for (disease, _, finding), paths in sorted(
        zip(findings, shown, strict=True), key=lambda pair: pair[0][1]
    ):
        pictures = tuple(
            (shortened(path, _LONGEST_PATH), base64.b64encode(thumbnails[path]).decode()) for path in paths
        )
        made[disease].append(_kept_of(finding, pictures))
    return made


def _kept_of(finding: Finding, pictures: tuple[tuple[str, str], ...]) -> _Kept:
    return _Kept(
        detail=shortened(finding.detail, _LONGEST_TEXT),
        fix=shortened(finding.fix, _LONGEST_TEXT),
        table=finding.mend.table if finding.mend else "",
        lines=tuple(finding.mend.line.split("\n")) if finding.mend else (),
        places=tuple(shortened(place, _LONGEST_PATH) for place in finding.places[:_PLACES]),
        more_places=max(0, len(finding.places) - _PLACES),
        thumbnails=pictures,
    )


def _shared_out(findings: Sequence[Finding], thumbnails: Mapping[str, bytes]) -> list[list[str]]:
    """Return which thumbnails each finding shows: one each, then a second each, while the bytes last."""
    wanted = [[p for p in f.places if p in thumbnails][:_THUMBNAILS] for f in findings]
    shown: list[list[str]] = [[] for _ in findings]
    left = _THUMBNAIL_BYTES
    for turn in range(_THUMBNAILS):
        for paths, taken in zip(wanted, shown, strict=True):
            if turn < len(paths) and len(thumbnails[paths[turn]]) <= left:
                taken.append(paths[turn])
                left -= len(thumbnails[paths[turn]])
    return shown


def _require_small_png(path: str, png: bytes) -> None:
    sides = [int.from_bytes(png[start : start + 4], "big") for start in (16, 20)]
    is_png = png.startswith(_PNG) and len(png) >= 24
    if is_png and 0 < max(sides) <= THUMBNAIL_SIDE:
        return
    received = f"{sides[0]} x {sides[1]} px" if is_png else f"{len(png)} bytes that are no PNG"
    raise ValueError(
        f"The thumbnail of {path!r} does not fit the page. Expected: a PNG of at most {THUMBNAIL_SIDE} px a side. "
        f"Received: {received}."
    )


@cache
def _template() -> Any:
    """Return the compiled template: 0.1 s to make, and two pages are made of it in a run."""
    import jinja2  # 55 ms, for the page alone

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        along=_along,
        quoted=_quoted,
        thousands="{:,}".format,
        digits="{:.3f}".format,
        seconds="{:,.1f}".format,
    )
    return environment.get_template("page.html.j2")


def _finalize(value: object) -> object:
    """Make every text of the page visible before it is escaped; what a macro made is so already."""
    return visible(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def _along(auroc: float) -> float:
    """Return where an AUROC lies on a bar of 120 units, from 0.4 to 1, so that chance at 0.5 is inside it."""
    return round((min(max(auroc, 0.4), 1.0) - 0.4) / 0.6 * 120, 1)


def _quoted(text: str) -> list[str]:
    """Return the parts of a sentence between its backticks; every second one is code."""
    parts = text.split("`")
    return parts if len(parts) % 2 else [text]
