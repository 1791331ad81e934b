"""When deployments run by themselves: `schedules.toml`, shipped or of the user's own catalog folder."""

from __future__ import annotations

import tomllib
from pathlib import Path

from prefect.client.schemas.schedules import CronSchedule
from pydantic import ValidationError

from tasks.core.catalog import SCHEDULES
from tasks.core.errors import CatalogError, first_line

_SHIPPED = Path(__file__).with_name(SCHEDULES)


def read_schedules(catalog: Path | None) -> dict[str, CronSchedule]:
    """Return the schedule of each deployment that has one, by `FLOW/NAME`.

    Args:
        catalog: folder of the user's own catalog; without a `schedules.toml` there, the shipped one is read.

    Raises:
        CatalogError: the file is no TOML, or a time zone or a cron expression is none.
    """
    own = None if catalog is None else catalog / SCHEDULES
    path = own if own is not None and own.is_file() else _SHIPPED
    try:
        said = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _wrong(path, "the file", "TOML that can be read", first_line(error)) from error
    time_zone = _schedule(path, "time_zone", "0 0 * * *", said.pop("time_zone", "UTC")).timezone
    found: dict[str, CronSchedule] = {}
    for flow, some in said.items():
        if not isinstance(some, dict):
            raise _wrong(path, flow, f'a table: [{flow}] and below it NAME = "CRON"', some)
        for name, cron in some.items():
            found[f"{flow}/{name}"] = _schedule(path, f"{flow}.{name}", cron, time_zone)
    return found


def _schedule(path: Path, key: str, cron: object, time_zone: object) -> CronSchedule:
    try:
        return CronSchedule(cron=cron, timezone=time_zone)  # pyright: ignore[reportArgumentType] - it checks them
    except ValidationError as error:
        if error.errors()[0]["loc"][0] == "timezone":
            raise _wrong(path, key, "an IANA name, such as Europe/Vienna", time_zone) from error
        wanted = "five fields: minute, hour, day of month, month, day of week"
        raise _wrong(path, key, wanted, cron) from error


def _wrong(path: Path, key: str, expected: str, received: object) -> CatalogError:
    return CatalogError(
        "A schedule was not understood.",
        where=f"{path}, {key}",
        expected=expected,
        received=received,
        fix="correct it there, or remove the file to have the schedules that are shipped",
    )
