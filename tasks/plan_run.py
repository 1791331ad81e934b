"""The start of every run: settings, catalog and profile become one record that all stages read.

In: what the user said. Out: `Work`: which diseases, where, with which figures, backbone and cache spaces.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
import shlex
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from data_checks.contract import SPLITS
from tasks.build_manifest import DiseaseManifest
from tasks.cache import SpaceKey
from tasks.compute import build_ahead, describe_features
from tasks.core.catalog import Disease, SplitRule, load_catalog
from tasks.core.errors import CatalogError
from tasks.core.networks import network
from tasks.core.pace import Forecast, training_limit_s
from tasks.core.plan import Plan
from tasks.core.profile import Profile
from tasks.core.settings import Settings
from tasks.extract_features import Wanted
from tasks.feature_spaces import BackboneKey, Features, FeatureSpaces, feature_spaces
from tasks.files import prepare_home
from tasks.find_weights import find_weights
from tasks.measure_machine import has_bfloat16
from tasks.plan_check import Look, pixel_space, skipped
from tasks.store import read_rows, recall, remember
from tasks.worker import Worker


@dataclass(frozen=True, slots=True)
class Request:
    """What the user said.

    Attributes:
        profile: key of the catalog.
        diseases: keys; none for all.
        seed: of whatever is drawn.
        overrides: figures of the profile to change.
        time_limit: minutes to keep to; None for no limit.
        training_limit: minutes after which one training is ended; None for many times what is expected of it.
        force: train again what has not changed.
        is_for_student: it is a teacher's that is asked for.
    """

    profile: str
    diseases: tuple[str, ...]
    seed: int
    overrides: tuple[tuple[str, Any], ...]
    time_limit: float | None = None
    training_limit: float | None = None
    force: bool = False
    is_for_student: bool = False

    def digest(self) -> str:
        """Return digits over what is wanted: two runs with the same would do the same work."""
        said = [self.profile, self.diseases, self.seed, self.overrides, self.time_limit]
        return hashlib.sha256(json.dumps(said, default=str).encode()).hexdigest()[:32]

    def repeat(self, disease: str, settings: Settings) -> str:
        """Return the command that trains one disease again in just this way."""
        words = ["radtrain", "train", self.profile, "--disease", disease, "--data", str(settings.data)]
        if settings.catalog is not None:
            words += ["--catalog", str(settings.catalog)]
        words += ["--home", str(settings.home), "--seed", str(self.seed)]
        for name, value in self.overrides:
            words += ["--set", f"{name}={value}"]
        if self.time_limit is not None:
            words += ["--time-limit", f"{self.time_limit:g}"]
        if self.training_limit is not None:
            words += ["--training-limit", f"{self.training_limit:g}"]
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
        features: shape and place of its features.
        pixels: cache space of shrunk images.
        teacher: the work of the profile whose scores this one is fitted to; None where it learns from labels alone.
    """

    request: Request
    settings: Settings
    root: Path
    diseases: dict[str, Disease]
    skipped: dict[str, str]
    split: SplitRule
    figures: Profile
    backbone: BackboneKey
    features: Features
    pixels: SpaceKey
    teacher: Work | None

    def figures_of(self, disease: str) -> Profile:
        """Return the figures for one disease: left and right stay in place where its question depends on them."""
        if not self.diseases[disease].laterality_matters:
            return self.figures
        return self.figures.model_copy(update={"augmentation": self.figures.augmentation.without_flips()})

    def spaces(self, disease: str) -> FeatureSpaces:
        """Return where the features of one disease's images are cached."""
        cache = self.settings.home / "cache"
        return feature_spaces(cache, self.pixels, self.backbone, self.features, self.figures_of(disease))

    def wanted(self, manifest: DiseaseManifest) -> Wanted:
        """Return what must be cached before a disease is trained."""
        train, validation, test = (read_rows(manifest.path, split).images for split in SPLITS)
        spaces, figures = self.spaces(manifest.disease), self.figures_of(manifest.disease)
        features = spaces.wanted(train, validation + test, figures=figures, seed=self.request.seed)
        return Wanted(spaces, features, train if spaces.live else ())

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
            features=self._plain() if self.figures.augmentation.is_none() else None,
        )

    def _plain(self) -> SpaceKey:
        cache = self.settings.home / "cache"
        return feature_spaces(cache, self.pixels, self.backbone, self.features, self.figures).plain

    def plan(self, manifest: DiseaseManifest, teacher: str = "") -> Plan:
        """Return the plan of one disease; `teacher` is the digest of the weights that it learns from."""
        disease = self.diseases[manifest.disease]
        return Plan(
            disease=manifest.disease,
            title=disease.title,
            profile=self.request.profile,
            figures=self.figures_of(manifest.disease),
            wanted_sensitivity=disease.wanted_sensitivity,
            seed=self.request.seed,
            manifest_digest=manifest.digest,
            weights_digest=self.backbone.weights_digest,
            features=self.spaces(manifest.disease).plain.digest(),
            n_train=manifest.counts["train"],
            n_validation=manifest.counts["validation"],
            n_test=manifest.counts["test"],
            versions=_versions(),
            teacher=teacher,
        )

    def training_limit_s(self, forecast: Forecast | None) -> float:
        """Return the seconds after which one training of this run is ended."""
        if self.request.training_limit is not None:
            return 60 * self.request.training_limit
        return training_limit_s(forecast, steps=self.figures.epochs * self.figures.steps_per_epoch)


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
    teacher = _plan_teacher(request, figures, settings, worker)
    keys = catalog.disease_keys(request.diseases)
    root = settings.require_data()
    prepare_home(settings.home)
    if not has_bfloat16():
        figures = figures.model_copy(update={"precision": "float32"})
    backbone = find_weights(figures, worker)
    worker.tell(build_ahead, backbone)
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
        features=_features(settings.home, backbone, worker),
        pixels=pixel_space(settings.home, figures),
        teacher=teacher,
    )


def _plan_teacher(request: Request, figures: Profile, settings: Settings, worker: Worker) -> Work | None:
    if figures.teacher is None:
        return None
    if request.is_for_student or figures.teacher == request.profile:
        raise CatalogError(
            "A teacher cannot have a teacher.",
            where=f"profiles.toml, table [profiles.{request.profile}], key teacher",
            expected="a profile that learns from labels",
            received=figures.teacher,
            fix="name such a profile",
        )
    wanted = Request(figures.teacher, request.diseases, request.seed, (), is_for_student=True)
    return plan_run(wanted, settings, worker)


def _features(home: Path, backbone: BackboneKey, worker: Worker) -> Features:
    """Return shape and place of the features; where a tail is trained, the worker is asked once and it is kept."""
    if not backbone.trainable_layers:
        return Features((network(backbone.name, alpha=backbone.alpha).channels,), "pool")
    asked = json.dumps([asdict(replace(backbone, weights=None, weights_digest="")), _version("keras")])
    key = hashlib.sha256(asked.encode()).hexdigest()
    known = recall(home, "features", key)
    if known is None:
        found = worker.ask(describe_features, backbone)
        remember(home, "features", key, json.dumps(asdict(found)).encode())
        return found
    said = json.loads(known)
    return Features(tuple(said["shape"]), said["cut"])


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
