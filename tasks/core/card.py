"""The card beside each model: what it is, what it was trained and measured on, and what it must not be used for.

In: the plan, the evaluation and the verdict of the checks. Out: Markdown.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from data_checks.report import Audited, Verdict
from tasks.core.metrics import Estimate
from tasks.core.operating_point import OperatingPoint
from tasks.core.plan import Plan


def write_card(plan: Plan, estimates: Mapping[str, Estimate], point: OperatingPoint, verdict: Verdict) -> str:
    """Return the card as Markdown; it names no patient and no file."""
    figures = plan.figures
    rows = "\n".join(f"| {name} | {interval(e)} | {e.n} |" for name, e in estimates.items())
    said = "\n".join(f"- `{f.code}` ({f.severity}): {f.text}" for f in verdict.findings) or "- nothing"
    probes = "\n".join(f"| {a.probe} | {_probe(a)} | {a.n} |" for a in verdict.audit)
    return f"""# {plan.title} ({plan.profile})

**Not for diagnosis.** A research model, measured only on images from the same folders as its training images.

- Input: one radiograph as raw gray pixels 0-255, stretched to {figures.image_side} x {figures.image_side} px, \
three equal channels; preprocessing is inside.
- Output: a score 0-1; positive from {point.threshold:.4f} on. The threshold was fixed on {point.n} validation \
images for a sensitivity of {plan.wanted_sensitivity:.2f}.
- Network: {figures.backbone}{"" if figures.alpha is None else f" alpha {figures.alpha}"}, weights \
`{plan.weights_digest[:16]}`; trained on {plan.n_train} images.
- Plan `{plan.digest()[:16]}`, manifest `{plan.manifest_digest[:16]}`, seed {plan.seed}.

## On {plan.n_test} test images

| metric | value (95 % interval, by patient) | n |
|---|---|---|
{rows}

## What else predicts the label

A score that is not clearly above these figures may rest on them. Cross-validated on training and validation images.

| alone | AUROC (95 % interval) | n |
|---|---|---|
{probes or "| nothing could be measured | | |"}

## What the data checks found

{said}
"""


def _probe(audited: Audited) -> str:
    if audited.low is None or audited.high is None:
        return f"{audited.auroc:.2f} (unknown)"
    return f"{audited.auroc:.2f} ({audited.low:.2f}-{audited.high:.2f})"


def describe(plan: Plan, auroc: Estimate) -> str:
    """Return a model in a sentence: what it is of, how well it does on how many images, and what it is not for."""
    return (
        f"{plan.title} with {plan.profile}: AUROC {interval(auroc)} on {auroc.n} test images (95 % interval by patient). "
        "Not for diagnosis."
    )


def interval(estimate: Estimate, *, digits: int = 3) -> str:
    """Return `0.912 (0.87-0.95)`; what is undefined, or has no interval, is said to be so."""
    if math.isnan(estimate.value):
        return "undefined"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.{digits}f} (unknown)"
    return f"{estimate.value:.{digits}f} ({estimate.low:.2f}-{estimate.high:.2f})"
