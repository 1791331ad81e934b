"""Every deployment, as it follows from the catalog: one per profile, and one per pair of profiles that is compared.

In: the catalog. Out: records, which `register` tells a Prefect server. A form in Prefect's page is made from the
parameters: each has a description, a choice where there is one, and none that names a place of the machine, for those
come from the environment of the worker.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from prefect import Flow
from prefect.utilities.callables import parameter_schema

from flows.compare_profiles import compare_profiles
from flows.train_all import train_all
from flows.validate_data import validate_data
from flows.watch_folders import watch_folders
from tasks.core.catalog import Catalog

#: Of the machine, not of a run.
_PLACES = ("data", "catalog", "home", "tracking_uri", "html")
#: What JSON Schema says of numbers that have bounds; a null is let through beside them.
_BOUNDS = {
    "seed": {"minimum": 0, "maximum": 2**31 - 1},
    "time_limit": {"exclusiveMinimum": 0},
    "training_limit": {"exclusiveMinimum": 0},
}


@dataclass(frozen=True, slots=True)
class Deployment:
    """One flow that can be started by name.

    Attributes:
        flow: that is run.
        name: after the flow's own and a slash.
        description: for people.
        parameters: that are set beforehand.
        schema: JSON Schema of all parameters; the server refuses whatever does not keep to it.
        tags: to find it by.
    """

    flow: Flow[..., Any]
    name: str
    description: str
    parameters: Mapping[str, Any]
    schema: Mapping[str, Any]
    tags: tuple[str, ...] = field(default=("radtrain",))

    @property
    def full_name(self) -> str:
        """As `prefect deployment run` takes it."""
        return f"{self.flow.name}/{self.name}"

    @property
    def entrypoint(self) -> str:
        """The module and name of the flow, importable wherever the package is installed."""
        return f"{self.flow.fn.__module__}.{self.flow.fn.__name__}"


def plan_deployments(catalog: Catalog) -> list[Deployment]:
    """Return what a server is told, in the order of the catalog."""
    diseases = [key for key, disease in catalog.diseases.items() if disease.enabled]
    profiles = list(catalog.profiles)
    first, *others = profiles
    return [
        *(_train(profile, diseases) for profile in profiles),
        Deployment(
            validate_data,
            "all",
            "Check the images of every disease of the catalog; train nothing.",
            {},
            _schema(validate_data, diseases=diseases),
        ),
        Deployment(
            watch_folders,
            "all",
            f"Look for new images every few minutes, and train the diseases that have some. Starts train-all/{first}, "
            "or that of another profile.",
            {"profile": first},
            _schema(watch_folders, diseases=diseases, choices={"profile": profiles}),
        ),
        *(_compare(first, other, profiles, diseases) for other in others),
    ]


def _train(profile: str, diseases: list[str]) -> Deployment:
    return Deployment(
        train_all,
        profile,
        f"Train and evaluate every disease of the catalog with the profile {profile}, as far as anything changed. "
        "Not for diagnosis.",
        {"profile": profile},
        _schema(train_all, diseases=diseases, choices={"profile": [profile]}),
        ("radtrain", profile),
    )


def _compare(first: str, second: str, profiles: list[str], diseases: list[str]) -> Deployment:
    return Deployment(
        compare_profiles,
        f"{first}-vs-{second}",
        f"Compare the last completed runs of {first} and {second}, disease by disease. Not for diagnosis.",
        {"first": first, "second": second},
        _schema(compare_profiles, diseases=diseases, choices={"first": profiles, "second": profiles}),
        ("radtrain", first, second),
    )


def _schema(
    flow: Flow[..., Any], *, diseases: list[str], choices: Mapping[str, list[str]] | None = None
) -> dict[str, Any]:
    """Return the schema of a flow's parameters, with what can be chosen, and nothing but that."""
    schema = deepcopy(parameter_schema(flow.fn).model_dump_for_openapi())
    properties: dict[str, dict[str, Any]] = schema["properties"]
    for name in _PLACES:
        properties.pop(name, None)
    for name, said in properties.items():
        words = " ".join(said.get("description", "").split())
        said["description"] = words[:1].upper() + words[1:]
        for part in [said, *said.get("anyOf", [])]:
            if part.get("type") in ("integer", "number"):
                part.update(_BOUNDS.get(name, {}))
            if name == "diseases" and part.get("type") == "array":
                part.update(items={"type": "string", "enum": diseases}, uniqueItems=True, minItems=1)
    for name, some in (choices or {}).items():
        properties[name]["enum"] = some
    return {**schema, "additionalProperties": False}
