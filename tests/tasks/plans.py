"""A plan for what the worker is asked, without the run that would make it."""

from __future__ import annotations

from tasks.core.plan import Plan
from tasks.core.profile import Profile


def plan(figures: Profile, seed: int, *, counts: tuple[int, int, int]) -> Plan:
    """Return the plan of a training on so many training, validation and test rows."""
    return Plan(
        disease="pneumonia",
        title="Pneumonia",
        profile="intensive",
        figures=figures,
        wanted_sensitivity=0.8,
        seed=seed,
        manifest_digest="",
        weights_digest="",
        features="",
        n_train=counts[0],
        n_validation=counts[1],
        n_test=counts[2],
        versions={},
    )
