"""The pages of a running stack as people see them: Prefect's and MLflow's, in a real browser.

A picture of each is kept in build/screenshots, or in the folder of `RADTRAIN_SCREENSHOTS`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from mlflow.entities import Run
from prefect.client.schemas.objects import FlowRun

from deployments.planned import plan_deployments
from tasks.core.catalog import load_catalog
from tasks.tracking import open_tracker
from tests.browser.conftest import ARGUMENTS, find_browser
from tests.integration.stacks import DISEASES, Ground, until

PROFILES = ("fast", "intensive")
DEPLOYMENTS = {
    ("train-all", "fast"): "At 02:00 AM every day",
    ("train-all", "intensive"): "",
    ("validate-data", "all"): "At 01:30 AM every day",
    ("compare-profiles", "fast-vs-intensive"): "",
}
PICTURES = Path(__file__).parents[2] / "build" / "screenshots"
PATIENCE_MS = 60_000


@dataclass(frozen=True)
class Window:
    """A page of its own, and every address that it and the pages opened from it asked for."""

    page: Any
    folder: Path
    asked: list[str] = field(default_factory=list)

    def open(self, address: str, *texts: str) -> None:
        self.page.goto(address, wait_until="load")
        self.see(*texts)

    def see(self, *texts: str) -> None:
        for text in texts:
            self.page.get_by_text(text).first.wait_for()

    def said(self) -> str:
        return self.page.locator("body").inner_text()

    def rows(self) -> list[list[str]]:
        """Return what stands in the cells of every row of every table, without blanks around it."""
        rows = self.page.locator("tbody tr").all()
        return [[text.strip() for text in row.locator("td, th").all_inner_texts()] for row in rows]

    def keep(self, name: str) -> None:
        """Take a picture, and see that this machine was asked and nobody else."""
        self.page.screenshot(path=self.folder / f"{name}.png")
        hosts = {urlsplit(address).hostname for address in self.asked}
        assert hosts - {None} == {"127.0.0.1"}  # None: what the page has in itself, as data: and blob:


@dataclass(frozen=True)
class Trained:
    """A run of each profile: Prefect's by profile, MLflow's by profile and disease."""

    flow_runs: dict[str, FlowRun]
    runs: dict[tuple[str, str], Run]


@pytest.fixture(scope="module")
def chromium() -> str:
    return find_browser()


@pytest.fixture(scope="module")
def trained(chromium: str, ground: Ground) -> Trained:
    started = {profile: ground.start(f"train-all/{profile}") for profile in PROFILES}
    for profile, flow_run_id in started.items():
        state = ground.ended(flow_run_id, within_s=400).state
        assert state is not None
        assert state.name == "Completed", f"{profile}: {state}"
    tags = {run.info.run_id: run.data.tags for run in ground.runs()}
    of_disease = [run for run in ground.runs() if "radtrain.disease" in tags[run.info.run_id]]
    runs = {(run.data.tags["radtrain.profile"], run.data.tags["radtrain.disease"]): run for run in of_disease}
    assert set(runs) == {(profile, disease) for profile in PROFILES for disease in DISEASES}
    return Trained({profile: ground.flow_run(one) for profile, one in started.items()}, runs)


@pytest.fixture(scope="module")
def browser(chromium: str, trained: Trained) -> Iterator[Any]:
    """One browser for this file, opened once the runs are over: while it is, a loop runs in this thread."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield running
        running.close()


@pytest.fixture
def window(browser: Any) -> Iterator[Window]:
    """A window that knows nothing of the ones before it."""
    folder = Path(os.environ.get("RADTRAIN_SCREENSHOTS") or PICTURES)
    folder.mkdir(parents=True, exist_ok=True)
    context = browser.new_context(viewport={"width": 1440, "height": 1000})
    context.set_default_timeout(PATIENCE_MS)
    made = Window(context.new_page(), folder)
    context.on("request", lambda request: made.asked.append(request.url))
    made.page.on("websocket", lambda socket: made.asked.append(socket.url))
    yield made
    context.close()


@pytest.fixture
def prefect(ground: Ground) -> str:
    return f"http://127.0.0.1:{ground.prefect_port}"


@pytest.fixture
def link(ground: Ground) -> Callable[..., str]:
    """Where runs are looked at: one by itself, several side by side."""
    tracker = open_tracker(ground.tracking, None)

    def found(*runs: Run) -> str:
        ids = [run.info.run_id for run in runs]
        return tracker.link(ids[0]) if len(ids) == 1 else tracker.compare_link(ids)

    return found


def test_prefect_lists_the_deployments_with_their_schedules(prefect: str, window: Window):
    window.open(f"{prefect}/deployments", "fast-vs-intensive", *filter(None, DEPLOYMENTS.values()))
    window.keep("prefect-deployments")
    rows = {tuple(reversed(row[1].split())): row for row in window.rows()}
    for deployment, schedule in DEPLOYMENTS.items():
        assert rows[deployment][2] == "Ready"
        assert any(schedule in cell for cell in rows[deployment])


def test_the_form_of_a_run_says_what_each_parameter_is_and_what_can_be_chosen(
    ground: Ground, prefect: str, window: Window
):
    window.open(f"{prefect}/deployments", "train-all")
    page = window.page
    page.get_by_role("link", name="fast", exact=True).click()
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_text("Custom run").click()
    window.see("Additional Options")
    assert re.search(r"/deployments/deployment/[0-9a-f-]+/run\b", page.url)
    window.keep("prefect-form")
    said = window.said()
    for name, parameter in schema(ground).items():
        assert f"{name} (Optional)\n{parameter['description'].replace('`', '')}" in said
    assert page.locator("input[type=number]").input_value() == "0"  # the seed
    page.get_by_text("list", exact=True).click()
    page.get_by_role("button", name="No items selected").press("ArrowDown")
    offered = page.locator(".p-select-option")
    offered.first.wait_for()
    assert offered.all_inner_texts() == list(DISEASES)
    offered.nth(1).click()
    page.get_by_role("button", name=DISEASES[1]).wait_for()
    window.keep("prefect-form-diseases")


def schema(ground: Ground) -> dict[str, Any]:
    """Return what the server was told of the parameters of `train-all/fast`."""
    planned = {one.full_name: one for one in plan_deployments(load_catalog(ground.catalog))}
    properties = planned["train-all/fast"].schema["properties"]
    assert {"profile", "diseases", "seed"} <= set(properties)
    assert all(parameter["description"] for parameter in properties.values())
    return properties


@pytest.mark.parametrize("profile", PROFILES)
def test_the_page_of_a_run_shows_its_name_its_state_and_its_tasks(
    prefect: str, trained: Trained, window: Window, profile: str
):
    flow_run = trained.flow_runs[profile]
    assert re.fullmatch(rf"{profile} \d{{4}}-\d\d-\d\d \d\d:\d\d", flow_run.name)
    window.open(f"{prefect}/runs/flow-run/{flow_run.id}", flow_run.name, "Completed")
    window.page.get_by_text("Task Runs", exact=True).click()
    steps = ("train", "evaluate", "record", "accept")
    window.see(*(f"{step} {disease}" for step in steps for disease in DISEASES))
    window.keep(f"prefect-run-{profile}")
    window.page.get_by_text("Details", exact=True).click()
    window.see(f"{len(DISEASES)} of {len(DISEASES)} diseases completed.")
    window.keep(f"prefect-run-{profile}-details")


def test_the_table_of_a_run_leads_to_each_run_in_mlflow(prefect: str, trained: Trained, window: Window):
    flow_run = trained.flow_runs["fast"]
    window.open(f"{prefect}/runs/flow-run/{flow_run.id}", flow_run.name)
    page = window.page
    page.get_by_text("Artifacts", exact=True).click()
    card = page.locator(".artifact-card", has_text="results-fast")
    card.wait_for()
    window.keep("prefect-run-artifacts")
    card.click()
    window.see("AUROC (95 % interval)", "Not for diagnosis.")
    window.keep("prefect-results")
    assert [row[:2] for row in window.rows()] == [[disease, "completed"] for disease in DISEASES]
    with page.context.expect_page() as opened:
        page.locator("tbody tr", has_text="arthritis").get_by_role("link", name="open in MLflow").click()
    led_to = Window(opened.value, window.folder, window.asked)
    run = trained.runs["fast", "arthritis"]
    led_to.page.get_by_role("heading", name=run.info.run_name, exact=True).wait_for()
    assert f"/runs/{run.info.run_id}" in led_to.page.url
    led_to.see("AUROC", "Not for diagnosis")
    led_to.keep("mlflow-run-from-prefect")


def test_mlflow_shows_the_figures_of_a_disease(link: Callable[..., str], trained: Trained, window: Window):
    run = trained.runs["intensive", "pneumonia"]
    window.open(link(run))
    page = window.page
    page.get_by_role("heading", name=run.info.run_name, exact=True).wait_for()
    page.get_by_role("tab", name="Overview").click()
    window.see(f"Metrics ({len(run.data.metrics)})", "train-all/intensive", "radtrain.not_for_diagnosis")
    window.keep("mlflow-run")
    shown = dict(row.inner_text().split("\n")[:2] for row in page.get_by_role("row", name="test/auroc").all())
    assert set(shown) == {f"test/auroc{end}" for end in ("", "_n", "_low", "_high")} & set(run.data.metrics)
    for name, value in shown.items():
        assert float(value) == pytest.approx(run.data.metrics[name])


def test_mlflow_shows_both_profiles_of_a_disease_side_by_side(
    link: Callable[..., str], trained: Trained, window: Window
):
    compared = [trained.runs[profile, "pneumonia"] for profile in PROFILES]
    window.open(link(*compared), "Comparing 2 Runs", "Run Name:", "data/n_test")
    window.keep("mlflow-comparison")
    rows = {row[0]: row[1:] for row in window.rows()}
    assert rows["Run Name:"] == [run.info.run_name for run in compared]
    assert rows["profile"] == list(PROFILES)
    names, values = window.page.get_by_role("grid").all()
    values.hover()
    until(lambda: scrolled_to(window, names, "test/auroc"), "the AUROC among the figures", within_s=30)
    window.page.mouse.wheel(0, 1)  # MLflow moves the names one turn later than the values
    boxes = [names.element_handle(), values.element_handle()]
    window.page.wait_for_function("([a, b]) => b.scrollTop - a.scrollTop <= 1", arg=boxes)
    window.keep("mlflow-comparison-figures")


def scrolled_to(window: Window, names: Any, name: str) -> bool:
    """Tell whether a name has come into sight; otherwise turn the wheel of the mouse."""
    row, box = names.get_by_text(name, exact=True), names.bounding_box()
    if row.count() and row.bounding_box()["y"] < box["y"] + box["height"] - 45:  # of one row
        return True
    window.page.mouse.wheel(0, 100)
    return False


def test_mlflow_lists_the_runs_and_what_is_below_each(ground: Ground, trained: Trained, window: Window):
    experiment = trained.runs["fast", "pneumonia"].info.experiment_id
    address = f"{ground.tracking}/#/experiments/{experiment}/runs?workflowType=machine_learning"
    window.open(address, *(f"train-all/{profile}" for profile in PROFILES))
    window.keep("mlflow-runs")
    cells = window.page.get_by_role("gridcell")
    for profile in PROFILES:
        cells.filter(has_text=f"train-all/{profile}").get_by_role("button").click()
    for run in trained.runs.values():
        cells.locator(f"a[href*='{run.info.run_id}']").first.wait_for()
    window.keep("mlflow-runs-opened")


def test_the_pages_of_prefect_that_up_prints_ask_this_machine_only(ground: Ground, window: Window):
    window.open(printed(ground)["Prefect"], "Work Pools")
    window.page.wait_for_load_state("networkidle")
    window.keep("prefect-first-page")


def test_the_page_of_mlflow_that_up_prints_is_the_one_for_models(ground: Ground, window: Window):
    window.open(printed(ground)["MLflow"], "Settings", "radtrain")
    window.keep("mlflow-first-page")
    assert "Model registry" in window.said()
    assert "Prompts" not in window.said()


def printed(ground: Ground) -> dict[str, str]:
    """Return the addresses that a second `radtrain up` prints."""
    lines = ground.radtrain("up").stdout.splitlines()
    return dict(line.split(maxsplit=1) for line in lines if line.startswith(("Prefect ", "MLflow ")))
