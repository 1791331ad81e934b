"""Serve `train-all` to a running Prefect server: one deployment per profile of the catalog that can be trained.

    PREFECT_API_URL=http://127.0.0.1:4200/api python -m deployments.serve
    prefect deployment run train-all/fast

The process waits for runs and executes them on this machine; it takes data root, home and catalog from the
environment (RADTRAIN_DATA, RADTRAIN_HOME, RADTRAIN_CATALOG). Ctrl-C ends it.
"""

from __future__ import annotations

import os
from typing import Any

from tasks.core.catalog import Catalog, is_trainable, load_catalog
from tasks.core.settings import read_settings, silence


def profiles_to_deploy(catalog: Catalog) -> list[str]:
    """Return the profiles of the catalog that this version can train."""
    return [key for key, figures in catalog.profiles.items() if is_trainable(figures)]


def main() -> None:
    """Register the deployments and wait for runs."""
    silence(os.environ)
    from prefect import serve

    from flows.train_all import train_all

    catalog = load_catalog(read_settings(os.environ).catalog)
    deployments: list[Any] = [
        train_all.to_deployment(
            name=profile,
            parameters={"profile": profile},
            description=f"Train every disease of the catalog with the profile {profile}. Not for diagnosis.",
            tags=["radtrain", profile],
            concurrency_limit=1,
        )
        for profile in profiles_to_deploy(catalog)
    ]
    serve(*deployments)


if __name__ == "__main__":
    main()
