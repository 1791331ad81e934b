"""The shortcut audit: can something beside the picture (a file's size, its format, its border) predict the label?

Stands beside the checks, and beside every score: manifest rows and facts of one disease in, an AUROC with interval
per probe out (contract: AUDIT). Test rows stay unread. What predicts the label here, a network can have learned too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
from scipy.special import expit, logit, stdtrit

from data_checks.contract import AUDIT, PROBES
from tasks.core.curves import Floats, Labels
from tasks.core.resampling import TAIL, interval, patient_index

#: The probe that shows a little anatomy: the size of a heart, the gap of a joint.
COARSE = "thumbnail"
FOLDS = 5
#: More images would make an interval of 0.04 narrower, and nothing else.
MOST_IMAGES = 4000
#: Bins of equal count for each number, so that a class in the middle of the range is seen too.
BINS = 10
#: A value is an input of its own where so many images have it, and this share of them; the most common ones only.
FREQUENT_IMAGES, FREQUENT_SHARE, MOST_VALUES = 5, 0.02, 20
#: Inverse strength of the ridge, as scikit-learn counts it.
INVERSE_RIDGE = 0.1

_READ = ["bytes", "width", "height", "format", "mode", "bits", "border", "thumbnail"]


def audit(rows: pd.DataFrame, facts: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """Measure how well each probe alone predicts the label, cross-validated by group.

    Args:
        rows: manifest rows of one disease; its used rows of train and validation take part, no others.
        facts: a row per file, `path` a column or the index.
        seed: of the folds, and of the choice among more than `MOST_IMAGES` images.

    Returns:
        The contract's AUDIT columns, a row per probe; no row where a class has fewer than two groups.

    Raises:
        ValueError: rows of several diseases, or used images without facts.
    """
    from threadpoolctl import threadpool_limits  # scikit-learn brings it

    columns = [column.name for column in AUDIT]
    used = rows[rows["reason"].isna() & rows["split"].isin(["train", "validation"])]
    diseases = used["disease"].unique().tolist()
    if len(diseases) > 1:
        raise ValueError(
            f"Expected manifest rows of one disease, received {len(diseases)}: {', '.join(diseases)}. "
            "Call audit once for each."
        )
    used = _at_most(used.sort_values("path", kind="stable"), MOST_IMAGES, seed=seed)
    labels = used["label"].to_numpy(np.int64)
    if min(used.loc[labels == label, "group"].nunique() for label in (0, 1)) < 2:
        return pd.DataFrame(columns=columns)
    groups = patient_index(used["group"].to_numpy(), len(used))
    folds = deal_folds(labels, groups, seed=seed)
    known = _facts_of(used["path"], facts)
    # Products this small gain nothing from threads; on two busy cores waiting for each other takes them 6 s, not 0.5.
    with threadpool_limits(1):
        found = [_measure(_INPUTS[probe](known), labels, groups, folds=folds) for probe in PROBES]
    rows_found = [
        (diseases[0], probe, *said, len(used), *_limited(probe, said[1]))
        for probe, said in zip(PROBES, found, strict=True)
    ]
    return pd.DataFrame(rows_found, columns=columns)


def _limited(probe: str, low: float | None) -> tuple[float | None, float | None]:
    """Return the lower end once more, in the column that its limit is for: bare, or coarse."""
    return (None, low) if probe == COARSE else (low, None)


def deal_folds(labels: Labels, groups: Labels, *, seed: int) -> Labels:
    """Deal groups out into folds of like size and like share of positives.

    Groups are sorted by how many positives and negatives they hold, those that hold the same shuffled, and dealt
    out to and fro. On 4,000 images this takes 2 ms, scikit-learn's StratifiedGroupKFold 470 ms.

    Args:
        labels: (n,) 0 or 1.
        groups: (n,) 0 ... g - 1.
        seed: of the shuffling.

    Returns:
        (n,) fold of each image: five, or as many as the scarcer class has groups, and at least two.
    """
    held = np.stack([np.bincount(groups, weights=labels == label) for label in (0, 1)])
    count = int(np.clip((held > 0).sum(axis=1).min(), 2, FOLDS))
    order = np.lexsort((np.random.default_rng(seed).random(held.shape[1]), held[0], held[1]))[::-1]
    there = np.arange(count)
    fold = np.empty(held.shape[1], np.int64)
    fold[order] = np.resize(np.concatenate([there, there[::-1]]), held.shape[1])
    return fold[groups]


def cross_validated_auroc(
    labels: Labels, scores: Floats, groups: Labels, *, folds: Labels
) -> tuple[float, float | None, float | None]:
    """Return the AUROC of out-of-fold scores, and the ends of its 95 % interval.

    A pair of a positive and a negative counts where both lie in one fold, that is, were scored by one model. Pooled
    over the folds, noise would come out below 0.5: a fold rich in positives is scored by a model that saw few of them
    (Airola et al. 2011, "An experimental comparison of cross-validation techniques for estimating the area under
    the ROC curve", Computational Statistics & Data Analysis 55).

    The variance is that of the infinitesimal jackknife over groups, to which resampling of groups tends: what each
    image adds to the concordant pairs, summed by group (LeDell et al. 2015, "Computationally efficient confidence
    intervals for cross-validated area under the ROC curve estimates", Electronic Journal of Statistics 9; groups as
    in Obuchowski 1997, Biometrics 53). It takes the models as given, but the folds share most of their training rows;
    so it is multiplied by 1 + J / (J - 1) for J folds (Nadeau & Bengio 2003, "Inference for the generalization
    error", Machine Learning 52). Simulated, 300 sets each of 40 to 400 images: without that factor the interval
    holds the models' AUROC on new images in 82 to 96 % of the sets, with it in 97 to 100 %. Ends are taken on the
    logit scale, with Student's t of the scarcer class' groups less one.

    Args:
        labels: (n,) 0 or 1.
        scores: (n,) float; comparable within a fold.
        groups: (n,) 0 ... g - 1.
        folds: (n,) fold of each image, at least two; one at least holds both classes.
    """
    pairs, influence, concordant = 0, np.zeros(labels.size), 0.0
    opposite = np.zeros(labels.size)
    for fold in np.unique(folds):
        inside = [np.flatnonzero((folds == fold) & (labels == label)) for label in (0, 1)]
        for one, other, sign in ((inside[1], inside[0], 1), (inside[0], inside[1], -1)):
            ranked = np.sort(sign * scores[other])
            below = np.searchsorted(ranked, sign * scores[one], side="left")
            up_to = np.searchsorted(ranked, sign * scores[one], side="right")
            influence[one] = (below + up_to) / 2
            opposite[one] = other.size
        pairs += inside[0].size * inside[1].size
        concordant += influence[inside[1]].sum()
    value = concordant / pairs
    by_group = np.bincount(groups, weights=influence - value * opposite) / pairs
    count = np.unique(folds).size
    overlap = 1 + count / (count - 1)
    error = float(np.sqrt(overlap * np.sum(by_group**2) * by_group.size / (by_group.size - 1)))
    if not 0 < value < 1 or error == 0:
        return value, *interval("auroc", value, drawn=np.full(1, value), labels=labels, patients=groups)
    scarcer = min(np.unique(groups[labels == label]).size for label in (0, 1))
    reach = -stdtrit(scarcer - 1, TAIL) * error / (value * (1 - value))
    return value, float(expit(logit(value) - reach)), float(expit(logit(value) + reach))


def _measure(
    inputs: Floats, labels: Labels, groups: Labels, *, folds: Labels
) -> tuple[float, float | None, float | None]:
    inputs = inputs[:, inputs.max(axis=0, initial=-np.inf) > inputs.min(axis=0, initial=np.inf)]
    if not inputs.shape[1]:  # what is the same in all images tells nothing of any
        return 0.5, 0.5, 0.5
    inputs = (inputs - inputs.mean(axis=0)) / inputs.std(axis=0)
    return cross_validated_auroc(labels, _scores(inputs, labels, folds), groups, folds=folds)


def _scores(inputs: Floats, labels: Labels, folds: Labels) -> Floats:
    """Return the log odds (n,) that a logistic regression on the other folds gives each image."""
    from sklearn.linear_model import LogisticRegression

    scores = np.zeros(labels.size)
    for fold in np.unique(folds):
        out = folds == fold
        if len(np.unique(labels[~out])) == 2:
            model = LogisticRegression(C=INVERSE_RIDGE, max_iter=1000).fit(inputs[~out], labels[~out])
            scores[out] = model.decision_function(inputs[out])
    return scores


def _at_most(rows: pd.DataFrame, most: int, *, seed: int) -> pd.DataFrame:
    """Choose whole groups by hash; of the scarcer class up to half, for an AUROC does not know how many there are."""
    if len(rows) <= most:
        return rows
    scarce = int(rows["label"].mean() < 0.5)
    groups = (
        rows.assign(scarce=rows["label"] == scarce)
        .groupby("group")
        .agg(scarce=("scarce", "any"), images=("path", "size"))
    )
    groups["place"] = [hashlib.sha256(f"{seed}/{group}".encode()).hexdigest() for group in groups.index]
    groups = groups.sort_values("place")
    chosen: list[str] = []
    room = most
    for part, share in ((groups[groups["scarce"]], most // 2), (groups[~groups["scarce"]], most)):
        fits = part[part["images"].cumsum() <= min(share, room)]
        chosen += fits.index.tolist()
        room -= int(fits["images"].sum())
    return rows[rows["group"].isin(chosen)]


def _facts_of(paths: pd.Series, facts: pd.DataFrame) -> pd.DataFrame:
    keyed = facts.set_index("path") if "path" in facts.columns else facts
    known = keyed[_READ].reindex(paths)
    missing = int(known.isna().any(axis=1).sum())
    if missing:
        raise ValueError(
            f"Expected the facts {', '.join(_READ)} of each of {len(paths)} used images, received {missing} without. "
            "Scan their folders again."
        )
    return known


def _number_inputs(values: Floats) -> Iterator[Floats]:
    """Yield a number (n,) as inputs: its logarithm, in which of ten bins it lies, and which frequent value it is."""
    yield np.log1p(values)[:, None]
    edges = np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1]))
    yield (np.searchsorted(edges, values, side="right")[:, None] == np.arange(edges.size + 1)).astype(float)
    yield _value_inputs(values)


def _value_inputs(values: np.ndarray) -> Floats:
    """Return a column for each frequent value: (n, at most 20)."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    frequent = np.argsort(-count, kind="stable")[:MOST_VALUES]
    frequent = frequent[count[frequent] >= max(FREQUENT_IMAGES, FREQUENT_SHARE * values.size)]
    return (place.reshape(-1, 1) == frequent).astype(np.float64)


def _file_size(known: pd.DataFrame) -> Floats:
    return np.hstack(list(_number_inputs(known["bytes"].to_numpy(np.float64))))


def _dimensions(known: pd.DataFrame) -> Floats:
    width, height = (known[name].to_numpy(np.float64) for name in ("width", "height"))
    numbers = [column for values in (width, height, width / height) for column in _number_inputs(values)]
    return np.hstack([*numbers, _value_inputs(width * 2**20 + height)])


def _format(known: pd.DataFrame) -> Floats:
    return _value_inputs(known["format"].to_numpy(np.str_))


def _mode(known: pd.DataFrame) -> Floats:
    return _value_inputs((known["mode"] + known["bits"].astype(int).astype(str)).to_numpy(np.str_))


def _border(known: pd.DataFrame) -> Floats:
    return np.frombuffer(b"".join(known["border"]), np.uint8).reshape(len(known), -1).astype(np.float64)


def _thumbnail(known: pd.DataFrame) -> Floats:
    return np.frombuffer(b"".join(known["thumbnail"]), np.uint8).reshape(len(known), -1).astype(np.float64)


_INPUTS: dict[str, Callable[[pd.DataFrame], Floats]] = {
    "file_size": _file_size,
    "dimensions": _dimensions,
    "format": _format,
    "mode": _mode,
    "border": _border,
    "thumbnail": _thumbnail,
}
