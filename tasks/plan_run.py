"""The start of every run: settings, catalog and profile become one record that all stages read.

In: what the user said. Out: `Work`: which diseases, where, with which figures, backbone and cache spaces.
"""

from __future__ import annotations

import importlib.metadata
import platform
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_checks.report import Verdict
from tasks.build_manifest import DiseaseManifest
from tasks.cache import SpaceKey
from tasks.core.backbone import network
from tasks.core.catalog import Disease, Profile, SplitRule, load_catalog, require_frozen
from tasks.core.errors import ChecksFailed
from tasks.core.metrics import Estimate
from tasks.core.pixels import METHOD
from tasks.core.plan import Plan
from tasks.core.report import Outcome, reason_of
from tasks.core.settings import Settings
from tasks.find_weights import find_weights
from tasks.plan_check import Look, pixel_space, skipped
from tasks.store import prepare_home
from tasks.worker import BackboneKey, Worker, build_ahead

#: Of the arithmetic in the backbone: part of the key of every feature.
PRECISION = "float32"


@dataclass(frozen=True, slots=True)
class Request:
    """What the user said: a profile, the diseases (none: all), the seed and the figures to change."""

    profile: str
    diseases: tuple[str, ...]
    seed: int
    overrides: tuple[tuple[str, Any], ...]

    def repeat(self, disease: str, settings: Settings) -> str:
        """Return the command that trains one disease again in just this way."""
        words = ["radtrain", "train", self.profile, "--disease", disease, "--data", str(settings.data)]
        if settings.catalog is not None:
            words += ["--catalog", str(settings.catalog)]
        words += ["--home", str(settings.home), "--seed", str(self.seed)]
        for name, value in self.overrides:
            words += ["--set", f"{name}={value}"]
        return shlex.join(words)


@dataclass(frozen=True, slots=True)
class Work:
    """All that the stages of a run have in common.

    Attributes:
        request: what the user said.
        settings: where things are.
        root: the data root.
        diseases: of the catalog, those wanted.
        skipped: title of every disease that the catalog has switched off, where all were asked for.
        split: how images are divided.
        figures: of the profile, overrides included.
        backbone: with the digest of its weights.
        pixels: cache space of shrunk images.
        features: cache space of pooled features.
    """

    request: Request
    settings: Settings
    root: Path
    diseases: dict[str, Disease]
    skipped: dict[str, str]
    split: SplitRule
    figures: Profile
    backbone: BackboneKey
    pixels: SpaceKey
    features: SpaceKey

    def look(self) -> Look:
        """Return what is checked before anything is trained."""
        return Look(
            settings=self.settings,
            root=self.root,
            diseases=self.diseases,
            skipped=self.skipped,
            whole=not self.request.diseases,
            split=self.split,
            pixels=self.pixels,
            features=self.features,
        )

    def plan(self, manifest: DiseaseManifest) -> Plan:
        """Return the plan of one disease."""
        disease = self.diseases[manifest.disease]
        return Plan(
            disease=manifest.disease,
            title=disease.title,
            profile=self.request.profile,
            figures=self.figures,
            wanted_sensitivity=disease.wanted_sensitivity,
            seed=self.request.seed,
            manifest_digest=manifest.digest,
            weights_digest=self.backbone.weights_digest,
            features=self.features.digest(),
            n_train=manifest.counts["train"],
            n_validation=manifest.counts["validation"],
            n_test=manifest.counts["test"],
            versions=_versions(),
        )

    def completed(
        self,
        verdict: Verdict,
        manifest: DiseaseManifest,
        test: Mapping[str, Estimate],
        seconds: float,
        cached: float,
        run_id: str,
    ) -> Outcome:
        """Return the outcome of a disease that was trained, evaluated and recorded."""
        return Outcome(
            disease=manifest.disease,
            state="completed",
            manifest=manifest.digest,
            counts=manifest.counts,
            test=test,
            seconds=seconds,
            features_cached=cached,
            findings=verdict.findings,
            run_id=run_id,
        )

    def failed(
        self, verdict: Verdict, manifest: DiseaseManifest, error: BaseException, cached: float
    ) -> Outcome:
        """Return the outcome of a disease whose training, evaluation or recording raised."""
        reason, code = reason_of(error)
        return Outcome(
            disease=manifest.disease,
            state="failed",
            reason=reason,
            cause=type(error).__name__,
            repeat=self.request.repeat(manifest.disease, self.settings),
            exit_code=code,
            manifest=manifest.digest,
            counts=manifest.counts,
            features_cached=cached,
            findings=verdict.findings,
        )

    def failed_checks(self, verdict: Verdict) -> Outcome:
        """Return the outcome of a disease whose data did not pass the checks."""
        stops = verdict.of("fail")
        said = [
            " ".join(filter(None, [f"{f.code}: {f.text}", f.detail, f"To mend it: {f.fix}."])) for f in stops
        ]
        return Outcome(
            disease=verdict.disease,
            state="failed",
            reason=" ".join(said),
            cause=verdict.codes("fail"),
            repeat=self.request.repeat(verdict.disease, self.settings),
            exit_code=ChecksFailed.exit_code,
            findings=verdict.findings,
        )


def plan_run(request: Request, settings: Settings, worker: Worker) -> Work:
    """Return what a run will do.

    Raises:
        CatalogError: the catalog, the profile, a disease or an override is wrong.
        DataNotFound: there is no data root.
        StorageError: the home folder cannot be written.
        WeightsNotFound: the backbone's weights are not to be had.
    """
    catalog = load_catalog(settings.catalog)
    figures = catalog.profile(request.profile, dict(request.overrides))
    keys = catalog.disease_keys(request.diseases)
    require_frozen(request.profile, figures)
    root = settings.require_data()
    prepare_home(settings.home)
    backbone = find_weights(figures, worker)
    worker.tell(build_ahead, backbone)
    cache = settings.home / "cache"
    return Work(
        request=request,
        settings=settings,
        root=root,
        diseases={key: catalog.diseases[key] for key in keys},
        skipped=skipped(catalog, request.diseases),
        split=catalog.split,
        # By name and digest: the place of the weights on this machine is not part of what is trained.
        figures=figures.model_copy(update={"weights": Path(figures.weights).name}),
        backbone=backbone,
        pixels=pixel_space(settings.home, figures),
        features=_features(cache, backbone),
    )


def _features(cache: Path, backbone: BackboneKey) -> SpaceKey:
    known = network(backbone.name, alpha=backbone.alpha)
    describes: Mapping[str, Any] = {
        "backbone": backbone.name,
        "alpha": backbone.alpha,
        "weights": backbone.weights_digest,
        "side": backbone.side,
        "pixels": METHOD,
        "preprocessing": known.preprocessing,
        "precision": PRECISION,
    }
    return SpaceKey(cache / "features", tuple(describes.items()), (known.channels,), PRECISION)


def _versions() -> dict[str, str]:
    """Return the versions of all that has a hand in a result; the CPU wheel of TensorFlow has a name of its own."""
    found = {
        name: _version(name)
        for name in ("radtrain", "keras", "tensorflow", "tensorflow-cpu", "pillow", "numpy")
    }
    return {"python": platform.python_version(), **{name: said for name, said in found.items() if said}}


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
