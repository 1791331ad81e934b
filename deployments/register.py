"""Tell a Prefect server every deployment of the catalog. What is there already is brought up to date, nothing is doubled.

    PREFECT_API_URL=http://127.0.0.1:4200/api python -m deployments.register

`radtrain up` does it. A schedule is set when its deployment is new; from then on it is the user's, in Prefect's page.
"""

from __future__ import annotations

import os
import sys

from tasks.core.errors import RadtrainError
from tasks.core.settings import read_settings, silence


def main() -> int:
    """Register all deployments, see lost runs to their end, and return the exit code."""
    silence(os.environ)
    from deployments.server import register
    from tasks.end_lost_runs import end_lost_runs

    try:
        settings = read_settings(os.environ)
        register(settings.catalog, say=print)
        end_lost_runs(settings)
    except RadtrainError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - a command of its own
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
