"""MLflow's registry of models: for each disease the versions that were its champion, and which one is now.

    models:/radtrain-<disease>@champion

A version names the run whose model it is, and why it was chosen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tasks.core.errors import TrackingError
from tasks.mlflow_errors import reaching
from tasks.tracking import Tracker

ALIAS = "champion"


@dataclass(frozen=True, slots=True)
class Version:
    """A model of the registry.

    Attributes:
        number: of the version.
        run_id: MLflow run that trained it.
        tags: as they were given.
    """

    number: str
    run_id: str
    tags: Mapping[str, str]


def model_name(disease: str) -> str:
    """Return the name that the registry has the champions of a disease under."""
    return f"radtrain-{disease}"


def champion(tracker: Tracker, disease: str) -> Version | None:
    """Return the champion of a disease; None where there is none.

    Raises:
        TrackingError: MLflow cannot be reached.
    """
    name = model_name(disease)
    with reaching(tracker.uri):
        for model in tracker.client.search_registered_models(f"name='{name}'"):
            if ALIAS in model.aliases:
                found = tracker.client.get_model_version(name, str(model.aliases[ALIAS]))
                return Version(str(found.version), found.run_id or "", found.tags)
    return None


def name_champion(tracker: Tracker, disease: str, run_id: str, *, tags: Mapping[str, str]) -> Version:
    """Make the model of a run the champion of a disease; one that was champion before keeps its version.

    Raises:
        TrackingError: MLflow cannot be reached or written, or the run has no model there.
    """
    client, name = tracker.client, model_name(disease)
    with reaching(tracker.uri):
        if not client.search_registered_models(f"name='{name}'"):
            client.create_registered_model(name, description="Not for diagnosis.")
        known = client.search_model_versions(f"name='{name}' and run_id='{run_id}'")
        if known:
            version = known[0]
            for key, value in tags.items():
                client.set_model_version_tag(name, str(version.version), key, value)
        else:
            outputs = client.get_run(run_id).outputs
            if outputs is None or not outputs.model_outputs:
                raise TrackingError(
                    "The model of a run is not in MLflow.",
                    where=f"run {run_id}",
                    expected="a run that lasted, with the model that it logged",
                    received="a run without a model",
                    fix="train it again with --force, then compare again",
                )
            model_id = outputs.model_outputs[0].model_id
            # Its place, not `models:/<id>`: MLflow would look that up in the database that the environment names.
            place = client.get_logged_model(model_id).artifact_location
            version = client.create_model_version(name, place, run_id, tags=dict(tags), model_id=model_id)
        client.set_registered_model_alias(name, ALIAS, str(version.version))
    return Version(str(version.version), run_id, tags)
