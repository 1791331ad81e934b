"""Serve flows to a running Prefect server: a `train-all` per profile of the catalog, and comparisons of profiles.

    PREFECT_API_URL=http://127.0.0.1:4200/api python -m deployments.serve
    prefect deployment run train-all/fast
    prefect deployment run compare-profiles/fast-vs-intensive

The process waits for runs and executes them on this machine; it takes data root, home and catalog from the
environment (RADTRAIN_DATA, RADTRAIN_HOME, RADTRAIN_CATALOG). Ctrl-C ends it.
"""

from __future__ import annotations

import os
from typing import Any

from tasks.core.catalog import Catalog, load_catalog
from tasks.core.settings import read_settings, silence


def profiles_to_deploy(catalog: Catalog) -> list[str]:
    """Return the profiles of the catalog: each gets a deployment."""
    return list(catalog.profiles)


def pairs_to_deploy(catalog: Catalog) -> list[tuple[str, str]]:
    """Return which profiles are compared: the first of the catalog with each other one."""
    first, *others = catalog.profiles
    return [(first, other) for other in others]


def main() -> None:
    """Register the deployments and wait for runs."""
    silence(os.environ)
    from prefect import serve

    from flows.compare_profiles import compare_profiles
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
    deployments += [
        compare_profiles.to_deployment(
            name=f"{first}-vs-{second}",
            parameters={"first": first, "second": second},
            description=f"Compare the last completed runs of {first} and {second}. Not for diagnosis.",
            tags=["radtrain", first, second],
            concurrency_limit=1,
        )
        for first, second in pairs_to_deploy(catalog)
    ]
    serve(*deployments)


if __name__ == "__main__":
    main()
