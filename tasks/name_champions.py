"""Stage: a comparison -> the champion of each disease, in MLflow's registry; an event where it is another than before.

In: what was compared. Out: the champions. What is recorded carries keys, figures and digests.
"""

from __future__ import annotations

from dataclasses import dataclass

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.events import emit_event

from tasks.core.champion import choose
from tasks.core.comparison import Comparison, DiseaseComparison
from tasks.registry import champion, model_name, name_champion
from tasks.tracking import Tracker


@dataclass(frozen=True, slots=True)
class Champion:
    """The model to use for a disease.

    Attributes:
        disease: key.
        profile: that trained it.
        run_id: MLflow run that trained it.
        version: of the model in MLflow's registry.
        before: profile of the champion that it took the place of; empty where it is the first.
        is_new: it took the place now.
    """

    disease: str
    profile: str
    run_id: str
    version: str
    before: str
    is_new: bool

    def sentence(self) -> str:
        """Return it for people."""
        if not self.is_new:
            return f"{self.disease}: the champion is still {self.profile}, run {self.run_id[:8]}"
        before = f", before {self.before}" if self.before else ""
        return f"{self.disease}: the champion is now {self.profile}, run {self.run_id[:8]}{before}"


@task(name="name-champions", cache_policy=NO_CACHE)
def name_champions(tracker: Tracker, comparison: Comparison) -> tuple[Champion, ...]:
    """Name the champion of every disease that has one after this comparison.

    Raises:
        TrackingError: MLflow cannot be reached or written.
    """
    found = [_champion(tracker, one) for one in comparison.diseases]
    return tuple(named for named in found if named is not None)


def _champion(tracker: Tracker, one: DiseaseComparison) -> Champion | None:
    """Name the newest model that was compared of the profile that is chosen; of a profile that was not, the old one stands."""
    old = champion(tracker, one.disease)
    before = old.tags.get("radtrain.profile", "") if old else ""
    profile = choose(one, before or None)
    newest = {side.profile: side.run_ids[0] for side in one.sides}
    if profile is None:
        return None
    if old is not None and newest.get(profile, old.run_id) == old.run_id:
        return Champion(one.disease, profile, old.run_id, old.number, before, is_new=False)
    tags = {
        "radtrain.profile": profile,
        "radtrain.decision": one.decision,
        "radtrain.verdict": one.verdict,
        "radtrain.not_for_diagnosis": "true",
    }
    new = name_champion(tracker, one.disease, newest[profile], tags=tags)
    named = Champion(one.disease, profile, new.run_id, new.number, before, is_new=True)
    get_run_logger().info("%s.", named.sentence())
    emit_event(
        "radtrain.champion.changed",
        resource={
            "prefect.resource.id": f"radtrain.disease.{one.disease}",
            "prefect.resource.name": one.disease,
            "radtrain.profile": profile,
        },
        payload={
            "profile": profile,
            "before": before or None,
            "run_id": new.run_id,
            "model": f"models:/{model_name(one.disease)}/{new.number}",
            "verdict": one.verdict,
            "not_for_diagnosis": True,
        },
    )
    return named
