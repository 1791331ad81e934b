"""The start of a speed ablation: settings and catalog become one record: which arms, on which backbones, on what data.

In: what the user said. Out: `Study`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from data_checks.report import CheckReport
from tasks.build_manifest import DiseaseManifest
from tasks.core.catalog import Catalog, load_catalog
from tasks.core.errors import ChecksFailed
from tasks.core.levers import GOAL, START, Arm, Limits, arms
from tasks.core.profile import Profile
from tasks.core.settings import Settings
from tasks.feature_spaces import BackboneKey
from tasks.files import prepare_home
from tasks.find_weights import find_weights
from tasks.measure_machine import has_bfloat16
from tasks.plan_check import Look, pixel_space, plan_check
from tasks.worker import Worker

#: Of a quick look: epochs, and steps in each.
QUICK_EPOCHS, QUICK_STEPS = 2, 4
#: Over all arms, the second one backwards; a quick look takes one.
PASSES = 2


@dataclass(frozen=True, slots=True)
class AblationRequest:
    """What the user said: one disease (None: that with the most images), how much of each recipe, seed, figures."""

    disease: str | None
    quick: bool
    epochs: int | None
    steps: int | None
    seed: int
    overrides: tuple[tuple[str, Any], ...]

    @property
    def passes(self) -> int:
        """How often each arm is run."""
        return 1 if self.quick else PASSES

    def limits(self, images: int) -> Limits:
        """Return how much of a recipe is run on so many training images."""
        return Limits(
            images,
            self.epochs or (QUICK_EPOCHS if self.quick else None),
            self.steps or (QUICK_STEPS if self.quick else None),
        )


@dataclass(frozen=True, slots=True)
class Study:
    """All that the stages of an ablation have in common.

    Attributes:
        request: what the user said.
        look: what is checked before.
        arms: that are measured, in order.
        backbones: of each, by its key, with the digest of its weights.
    """

    request: AblationRequest
    look: Look
    arms: tuple[Arm, ...]
    backbones: Mapping[str, BackboneKey]

    def choose(self, manifests: Mapping[str, DiseaseManifest], report: CheckReport) -> DiseaseManifest:
        """Return the manifest of the disease with the most training images, of those whose data is sound.

        Raises:
            ChecksFailed: there is none.
        """
        if manifests:
            return max(manifests.values(), key=lambda manifest: manifest.counts["train"])
        raise ChecksFailed(
            f"No disease can be trained on. {report.message()}",
            where="the data root",
            expected="a disease that passes its checks",
            received=", ".join(f"{verdict.disease}: {verdict.codes('fail')}" for verdict in report.failed()),
            fix="radtrain check says what mends it; or name another one: --disease KEY",
        )

    def arms_for(self, disease: str) -> tuple[Arm, ...]:
        """Return the arms for one disease: left and right stay in place where its question depends on them."""
        if not self.look.diseases[disease].laterality_matters:
            return self.arms
        return tuple(replace(arm, figures=_without_flips(arm.figures)) for arm in self.arms)


def recipes(catalog: Catalog, overrides: Mapping[str, Any]) -> tuple[Profile, Profile]:
    """Return the profile that is started from and the one that is aimed at, `--set` laid over both.

    Raises:
        CatalogError: one of them is not in the catalog, or a figure is unknown or out of range.
    """
    return catalog.profile(START, overrides), catalog.profile(GOAL, overrides)


def plan_ablation(request: AblationRequest, settings: Settings, worker: Worker) -> Study:
    """Return what an ablation will measure.

    Raises:
        CatalogError: the catalog, one of the two profiles, the disease or an override is wrong.
        DataNotFound: there is no data root.
        StorageError: the home folder cannot be written.
        WeightsNotFound: the weights of some arm's backbone are not to be had.
    """
    catalog = load_catalog(settings.catalog)
    start, goal = recipes(catalog, dict(request.overrides))
    if not has_bfloat16():
        start, goal = (one.model_copy(update={"precision": "float32"}) for one in (start, goal))
    look = plan_check(catalog, [request.disease] if request.disease else None, settings)
    prepare_home(settings.home)
    measured = arms(start, goal)
    return Study(
        request=request,
        look=replace(look, pixels=pixel_space(settings.home, start)),
        arms=measured,
        backbones={arm.key: find_weights(arm.figures, worker) for arm in measured},
    )


def _without_flips(figures: Profile) -> Profile:
    return figures.model_copy(update={"augmentation": figures.augmentation.without_flips()})
