"""MLflow, behind one door: runs, parameters, metrics, figures and models. `model_folder` alone imports it too.

Every call names its run, so that diseases may be logged from several threads at once. What goes in are
counts, digests, keys and figures: no patient, no file name.
"""

from __future__ import annotations

import contextlib
import functools
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from tasks.core.addresses import without_secret
from tasks.core.errors import TrackingError
from tasks.files import alone
from tasks.mlflow_errors import reaching
from tasks.tracked_run import FinishedRun, Found

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "radtrain"
#: MLflow's own limits on the length of a parameter's value and of a data set's digest.
_PARAM_LENGTH = 6000
_DIGEST_LENGTH = 36
#: Runs that are asked for at once.
_PAGE = 100


@dataclass(frozen=True, slots=True)
class Tracker:
    """An open connection: where to, and the experiment that all runs belong to."""

    uri: str
    client: MlflowClient
    experiment_id: str

    def start_run(
        self, name: str, *, tags: Mapping[str, str], parent: str | None = None, took_s: float = 0.0
    ) -> str:
        """Start a run and return its id.

        Args:
            name: of the run.
            tags: as text.
            parent: run that MLflow shows it below.
            took_s: seconds that its work took before it is recorded: it began so long ago.
        """
        began = int(1000 * (time.time() - took_s))
        said = {**tags, "mlflow.runName": name, "mlflow.source.name": "radtrain"}
        if parent is not None:
            said["mlflow.parentRunId"] = parent
        with reaching(self.uri):
            return self.client.create_run(self.experiment_id, start_time=began, tags=said).info.run_id

    def log(
        self,
        run_id: str,
        *,
        params: Mapping[str, Any] | None = None,
        metrics: Mapping[str, float] | None = None,
        series: Iterable[tuple[str, float, int]] = (),
        tags: Mapping[str, str] | None = None,
        model_id: str | None = None,
    ) -> None:
        """Write parameters, metrics, metric series (name, value, step) and tags in one request."""
        from mlflow.entities import Metric, Param, RunTag

        now = int(time.time() * 1000)
        points = [(name, value, 0) for name, value in (metrics or {}).items()]
        said = [
            Metric(name, value, now, step, model_id=model_id, run_id=run_id if model_id else None)
            for name, value, step in (*points, *series)
        ]
        given = [Param(name, str(value)[:_PARAM_LENGTH]) for name, value in (params or {}).items()]
        with reaching(self.uri):
            self.client.log_batch(
                run_id, said, given, [RunTag(name, str(value)) for name, value in (tags or {}).items()]
            )

    def log_runs(self, runs: Iterable[FinishedRun], *, parent: str) -> int:
        """Log runs that are over below a parent; return how many.

        MLflow has no request for several runs: three for each (create, log, end), 30 ms of them with SQLite.
        """
        count = 0
        for run in runs:
            began = int(run.began * 1000)
            said = {**run.tags, "mlflow.runName": run.name, "mlflow.source.name": "radtrain"}
            said["mlflow.parentRunId"] = parent
            with reaching(self.uri):
                made = self.client.create_run(self.experiment_id, start_time=began, tags=said)
                self.log(made.info.run_id, params=run.params, metrics=run.metrics)
                ended = began + int(run.duration_s * 1000)
                self.client.set_terminated(made.info.run_id, run.status, end_time=ended)
            count += 1
        return count

    def log_dataset(self, run_id: str, *, name: str, digest: str, profile: str) -> None:
        """Note which data a run saw: a name, the manifest's digest and its counts as JSON text."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        data = Dataset(name, digest[:_DIGEST_LENGTH], "radtrain", "manifest", profile=profile)
        said = DatasetInput(data, [InputTag("mlflow.data.context", "training")])
        with reaching(self.uri):
            self.client.log_inputs(run_id, [said])

    def log_files(self, run_id: str, files: Sequence[Path], *, folder: str | None = None) -> None:
        """Copy files into the run's artifacts, or into a folder there."""
        with reaching(self.uri):
            for file in files:
                self.client.log_artifact(run_id, str(file), folder)

    def log_table(self, run_id: str, columns: Mapping[str, Sequence[Any]], *, name: str) -> None:
        """Keep a table, column by column, as a JSON file that MLflow's page of the run shows as a table."""
        import pandas as pd

        with reaching(self.uri):
            # As objects: MLflow asks for those, and pandas warns where that means its own texts as well.
            self.client.log_table(run_id, pd.DataFrame(dict(columns), dtype=object), name)

    def search_runs(
        self, *, tags: Mapping[str, str] | None = None, params: Mapping[str, str] | None = None
    ) -> Iterator[Found]:
        """Yield the runs that have all of these tags and parameters, newest first; asks for more as they are wanted.

        Args:
            tags: name and value.
            params: name and value as text.

        Raises:
            TrackingError: MLflow cannot be reached.
            ValueError: a value holds a quotation mark, which MLflow's language of filters cannot say.
        """
        wanted = [("tags", name, value) for name, value in (tags or {}).items()]
        wanted += [("params", name, value) for name, value in (params or {}).items()]
        for _, _, value in wanted:
            if "'" in value:
                raise ValueError(f"Expected a value without a quotation mark. Received: {value!r}")
        filtered = " and ".join(f"{kind}.`{name}` = '{value}'" for kind, name, value in wanted)
        token = None
        while True:
            with reaching(self.uri):
                page = self.client.search_runs(
                    [self.experiment_id],
                    filtered,
                    max_results=_PAGE,
                    order_by=["attributes.start_time DESC"],
                    page_token=token,
                )
            for run in page:
                info, data = run.info, run.data
                parent = data.tags.get("mlflow.parentRunId")
                yield Found(
                    info.run_id, info.status, info.start_time, parent, data.tags, data.params, data.metrics
                )
            token = page.token
            if not token:
                return

    def link(self, run_id: str, artifact: str | None = None) -> str:
        """Return where a run, or a file of it, can be looked at; without a server, at the one that `mlflow server` starts here."""
        place = f"experiments/{self.experiment_id}/runs/{run_id}"
        if artifact is not None:
            place = f"{place}/artifacts/{quote(artifact)}"
        return f"{self._server()}/#/{place}?workflowType=machine_learning"

    def compare_link(self, run_ids: Sequence[str]) -> str:
        """Return where MLflow shows these runs side by side; brackets and quotes are escaped, as a terminal wants it."""
        runs = quote(json.dumps(list(run_ids), separators=(",", ":")))
        experiments = quote(json.dumps([self.experiment_id]))
        place = f"compare-runs?runs={runs}&experiments={experiments}"
        return f"{self._server()}/#/{place}&workflowType=machine_learning"

    def _server(self) -> str:
        server = without_secret(self.uri) if self.uri.startswith("http") else "http://127.0.0.1:5000"
        return server.rstrip("/")

    def log_model(self, run_id: str, folder: Path, *, name: str, params: Mapping[str, Any]) -> str:
        """Copy a model folder that `save_model` wrote into MLflow; return the model's id."""
        from mlflow.entities import LoggedModelOutput, LoggedModelStatus

        with reaching(self.uri):
            model = self.client.create_logged_model(
                self.experiment_id,
                name=name,
                source_run_id=run_id,
                params={key: str(value)[:250] for key, value in params.items()},
                model_type="classifier",
            )
            self.client.log_model_artifacts(model.model_id, str(folder))
            self.client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
            self.client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
        return model.model_id

    def end_run(self, run_id: str, *, completed: bool) -> None:
        """Close a run as finished or failed."""
        with reaching(self.uri):
            self.client.set_terminated(run_id, "FINISHED" if completed else "FAILED")

    def reopen_run(self, run_id: str) -> None:
        """Take up a run that was ended, or that nobody ended."""
        with reaching(self.uri):
            self.client.update_run(run_id, status="RUNNING")
            if "radtrain.cause" in self.client.get_run(run_id).data.tags:
                self.client.delete_tag(run_id, "radtrain.cause")

    def abandon_run(self, run_id: str, *, status: str, cause: str) -> None:
        """End a run that did not come to its end, as FAILED or KILLED, with the reason in a word or two."""
        with reaching(self.uri):
            self.client.set_tag(run_id, "radtrain.cause", cause)
            self.client.set_terminated(run_id, status)


@functools.lru_cache(maxsize=8)
def open_tracker(uri: str, artifact_root: Path | None) -> Tracker:
    """Connect, and make the experiment where it is not there; a new SQLite database takes some seconds.

    Raises:
        TrackingError: the address is wrong, or nothing answers there.
    """
    with reaching(uri), _making_tables(uri):
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        # Only this client knows the address: `set_tracking_uri` would write it to the environment of the process,
        # and the next flow there, with another home, would record in this one.
        client = MlflowClient(tracking_uri=uri)
        found = client.get_experiment_by_name(EXPERIMENT)
        if found is None:
            place = None if artifact_root is None else artifact_root.as_uri()
            try:
                return Tracker(uri, client, client.create_experiment(EXPERIMENT, artifact_location=place))
            except MlflowException:  # another run made it in between
                found = client.get_experiment_by_name(EXPERIMENT)
                if found is None:
                    raise
        if found.lifecycle_stage == "deleted":
            raise TrackingError(
                f"The MLflow experiment '{EXPERIMENT}' was deleted.",
                where=without_secret(uri),
                fix=f"restore it (mlflow experiments restore --experiment-id {found.experiment_id}), or delete it for good",
            )
    return Tracker(uri, client, found.experiment_id)


def load_ahead() -> None:
    """Import MLflow (2 s) before it is needed, while the process waits for something else."""
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401


def _making_tables(uri: str) -> contextlib.AbstractContextManager[object]:
    """Keep other processes from making the tables of a new SQLite database at the same time.

    MLflow makes them without a lock of its own: of two processes, one would fail.
    """
    place = urlsplit(uri)
    folder = Path(place.path).parent
    if place.scheme == "sqlite" and folder.is_dir():
        return alone(folder / ".mlflow-tables.lock")
    return contextlib.nullcontext()
