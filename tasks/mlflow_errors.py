"""What MLflow, its database and the network say -> one error that says where, and what to do."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tasks.core.addresses import without_secret
from tasks.core.errors import TrackingError, first_line


@contextlib.contextmanager
def reaching(uri: str) -> Iterator[None]:
    """Turn what is raised in this context into a `TrackingError`.

    Args:
        uri: the tracking server or database.

    Raises:
        TrackingError: MLflow cannot be reached or written.
    """
    import requests
    import sqlalchemy.exc
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, sqlalchemy.exc.SQLAlchemyError, requests.RequestException, OSError) as error:
        raise unreachable(uri, first_line(_origin(error))) from error


def unreachable(uri: str, received: str) -> TrackingError:
    """Return the error that says what came instead of an answer."""
    return TrackingError(
        "MLflow cannot be reached or written.",
        where=without_secret(uri),
        expected="a running MLflow server, or a database that can be written",
        received=received,
        fix="start the server or correct MLFLOW_TRACKING_URI; unset it to record in the home folder",
    )


def _origin(error: BaseException) -> BaseException:
    """Return what the database itself said, where MLflow and SQLAlchemy have words of their own around it."""
    import sqlalchemy.exc

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, sqlalchemy.exc.DBAPIError) and cause.orig is not None:
            return cause.orig
        cause = cause.__cause__ or cause.__context__
    return error
