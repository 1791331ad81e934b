"""A Prefect server in this process, as `prefect server start` has it, but that it answers a second earlier.

    python -m infra.serve_prefect HOST PORT

It leaves out what the command line of Prefect imports. What it serves, and where its database is, is up to Prefect's
own settings.
"""

from __future__ import annotations

import sys

from tasks.core.imports import importing


def main(host: str, port: int) -> None:
    """Serve until a signal comes."""
    with importing():
        import uvicorn
        from prefect.server.api.server import create_app

        app = create_app(final=True)
    uvicorn.run(app, host=host, port=port, log_level="warning")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
