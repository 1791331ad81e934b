"""How a command runs a flow: with a Prefect server and the worker, started beside each other, and live progress.

In: a function that imports the flow, and the flow's parameters. Out: what the flow returned, or the error it raised.
"""

from __future__ import annotations

import os
from collections.abc import Callable, MutableMapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from tasks.core.imports import importing

if TYPE_CHECKING:
    from prefect import Flow

    from tasks.core.settings import Settings


def run_flow(
    load: Callable[[], Flow[..., Any]],
    settings: Settings,
    *,
    diseases: int,
    parameters: dict[str, Any],
    counting: str = "classifiers",
) -> Any:
    """Run a flow, show its progress on stderr, and return its result.

    Three slow starts go on beside each other: the server, the worker's TensorFlow, and the imports here. A wrong word
    is to be answered before them, as `check_request` does.

    Args:
        load: imports the flow and returns it. It is called once the server has its address, which Prefect reads when
            it is imported.
        settings: `home` is made where it is not there; it takes the logs of the server and of the worker.
        diseases: how many the flow works on, for the time left.
        parameters: of the flow; `places` gives those that say where things are.
        counting: what its last stage counts, as people are told.

    Returns:
        What the flow returned. Where it ended with `DiseasesFailed`, the report that this carries: the other diseases
        were finished.

    Raises:
        StorageError: the home folder cannot be written.
        ServerError: the Prefect server does not answer.
        TrackingError: nothing answers at the address of the MLflow server.
        BaseException: whatever else the flow raised, or put in the place of its result.
    """
    with importing():
        from infra.temporary_server import start_prefect_server
        from tasks.ask_servers import require_mlflow
        from tasks.files import prepare_home
        from tasks.worker import start_worker

    prepare_home(settings.home)
    require_mlflow(settings.tracking_uri)
    is_temporary = not os.environ.get("PREFECT_API_URL")
    wait_for_server = start_prefect_server(settings.home)
    with start_worker(settings.home):
        # Quiet on the console only: the server still gets every line.
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
        with importing():
            from flows.terminal import following
            from tasks.tracking import load_ahead

            flow = load()
            load_ahead()
        wait_for_server()
        with _heartbeat(heard=not is_temporary), following(diseases, counting):
            state: Any = flow(**parameters, return_state=True)
    return _result(state)


def _result(state: Any) -> Any:
    from tasks.core.report import DiseasesFailed

    result = state.result(raise_on_failure=False)
    if isinstance(result, DiseasesFailed):
        return result.report
    if isinstance(result, BaseException):
        raise result
    return result


def _heartbeat(*, heard: bool) -> AbstractContextManager[Any]:
    """Send none to a server that ends with the command: it watches nobody, and to stop takes up to 1 s."""
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    said: Any = {} if heard else {PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
    return temporary_settings(said)


def join_stack(environment: MutableMapping[str, str], **places: str | None) -> Settings:
    """Return the settings of a command that runs a flow: where the stack of its home folder is up, it runs and records there.

    Args:
        environment: usually `os.environ`; an address that it names already is left alone.
        **places: as `read_settings` takes them.

    Raises:
        RadtrainError: as `read_settings` does.
    """
    from tasks.core.settings import read_settings

    settings = read_settings(environment, **places)
    if (settings.home / "stack").is_dir():
        from infra.processes import go_past_proxies
        from infra.services import running

        stack = running(settings.home)
        if {"prefect", "mlflow"} <= set(stack.services):
            go_past_proxies(environment)
            for name, value in stack.environment().items():
                environment.setdefault(name, value)
    return read_settings(environment, **places)


def places(settings: Settings) -> dict[str, str | None]:
    """Return the parameters that say to a flow where things are: data, catalog, home, tracking_uri."""
    return {
        "data": str(settings.data) if settings.data else None,
        "catalog": str(settings.catalog) if settings.catalog else None,
        "home": str(settings.home),
        "tracking_uri": settings.tracking_uri,
    }


def check_request(
    settings: Settings, profile: str, *, diseases: list[str] | None, overrides: dict[str, Any]
) -> tuple[str, ...]:
    """Return the diseases wanted; a wrong word is answered at once, before any server or worker is started.

    Raises:
        CatalogError: the catalog, or what is wanted of it, is wrong.
        DataNotFound: there is no data root.
        WeightsNotFound: the file that the profile names is not there.
    """
    from tasks.core.catalog import NAMED_WEIGHTS, load_catalog
    from tasks.core.networks import network, weights_file

    catalog = load_catalog(settings.catalog)
    figures = catalog.profile(profile, overrides)
    network(figures.backbone, alpha=figures.alpha, side=figures.image_side)
    if figures.weights not in NAMED_WEIGHTS:
        weights_file(figures.weights)
    wanted = catalog.disease_keys(diseases)
    settings.require_data()
    return wanted
