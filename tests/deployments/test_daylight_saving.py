"""Schedules where the clocks change: asked of them as Prefect's server asks, again and again, from the hour that it is."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from prefect.server.schemas.schedules import CronSchedule

from deployments.schedules import read_schedules

VIENNA = ZoneInfo("Europe/Vienna")


def runs(folder: Path, cron: str, first: datetime, days: int) -> list[datetime]:
    """Return all runs of some days, in UTC, as they add up when the server plans three ahead every few minutes."""
    (folder / "schedules.toml").write_text(f'time_zone = "Europe/Vienna"\n[train-all]\nfast = "{cron}"\n')
    schedule = CronSchedule(**read_schedules(folder)["train-all/fast"].model_dump())

    async def planned() -> set[datetime]:
        found, at, ends = set[datetime](), first.astimezone(UTC), first + timedelta(days=days)
        while at < ends:
            found.update(date.astimezone(UTC) for date in await schedule.get_dates(3, at))
            at += timedelta(minutes=10)
        return {date for date in found if date < ends}

    return sorted(asyncio.run(planned()))


@pytest.mark.parametrize(
    ("day", "cron", "at"),
    [
        # 29 March 2026 has no hour from 2:00 to 3:00: the run is an hour early by the clock, or with Python 3.13 late.
        ("2026-03-29", "30 2 * * *", "01:30 CET or 03:30 CEST"),
        ("2026-03-29", "0 2 * * *", "01:00 CET or 03:00 CEST"),
        ("2026-03-29", "0 3 * * *", "03:00 CEST"),
        # 25 October 2026 has it twice: the run is in the first one.
        ("2026-10-25", "30 2 * * *", "02:30 CEST"),
        ("2026-10-25", "0 3 * * *", "03:00 CET"),
    ],
)
def test_a_run_happens_once_on_every_day(tmp_path: Path, day: str, cron: str, at: str):
    change = datetime.fromisoformat(day).replace(tzinfo=VIENNA)
    found = [date.astimezone(VIENNA) for date in runs(tmp_path, cron, change - timedelta(days=2), 5)]
    per_day = Counter(date.date() for date in found)
    assert per_day == {(change + timedelta(days=shift)).date(): 1 for shift in range(-2, 3)}
    [on_the_day] = [date for date in found if date.date() == change.date()]
    assert f"{on_the_day:%H:%M %Z}" in at.split(" or ")
    minute, hour = (int(word) for word in cron.split()[:2])
    others = {(date.hour, date.minute) for date in found if date.date() != change.date()}
    assert others == {(hour, minute)}


def test_the_shipped_schedules_know_no_such_days():
    assert {schedule.timezone for schedule in read_schedules(None).values()} == {"UTC"}
