"""The flow `speed-ablation`: from the intensive recipe to the fast one, lever by lever, and what each of them gains.

    folders -> check -> scan -> manifest -> judge -> pixels -> (measure per arm and pass) -> record

One disease, the same images and cores for every arm. The arms run one after another, each in a process of its own.
"""

from __future__ import annotations

import os
import time
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from prefect import State, flow
from prefect.states import Completed

from flows.lifetime import lifetime
from flows.validate_data import check_images
from tasks.build_manifest import DiseaseManifest
from tasks.core.ablation import Ablation, Ground, Measured, measured_arms
from tasks.core.levers import Run, check_steps, distinct_runs, order_of_pass
from tasks.core.settings import read_settings, silence
from tasks.measure_arm import MeasuredRun, measure_arm, prepare_pixels
from tasks.measure_machine import cpu_model, load, usable_cores
from tasks.plan_ablation import AblationRequest, Study, plan_ablation
from tasks.plan_check import pixel_space
from tasks.progress import report
from tasks.record_ablation import record_ablation
from tasks.record_run import abandon_run, end_run, open_run
from tasks.timing import Subject
from tasks.worker import start_worker


def _run_name() -> str:
    return f"ablation {datetime.now().astimezone():%Y-%m-%d %H:%M}"


@flow(name="speed-ablation", flow_run_name=_run_name)
def speed_ablation(
    disease: str | None = None,
    quick: bool = False,
    epochs: int | None = None,
    steps: int | None = None,
    seed: int = 0,
    overrides: dict[str, Any] | None = None,
    data: str | None = None,
    catalog: str | None = None,
    home: str | None = None,
    tracking_uri: str | None = None,
) -> State[Ablation]:
    """Measure what each lever between the profiles intensive and fast gains.

    Args:
        disease: key of the catalog; the one with the most training images where none is named.
        quick: a few steps of each arm, once: rough figures soon.
        epochs: at most so many of each arm.
        steps: at most so many in an epoch.
        seed: of initial weights, batch order, augmentation and resampling.
        overrides: figures to change in both profiles, as `--set` does.
        data: the data root; RADTRAIN_DATA by default.
        catalog: folder with catalog files of your own; RADTRAIN_CATALOG by default.
        home: folder for caches, runs and databases; RADTRAIN_HOME by default.
        tracking_uri: where MLflow records; MLFLOW_TRACKING_URI by default.

    Returns:
        Completed with an `Ablation` as its result.
    """
    began, busy = time.perf_counter(), load()
    silence(os.environ)
    settings = read_settings(os.environ, data=data, home=home, catalog=catalog, tracking_uri=tracking_uri)
    request = AblationRequest(disease, quick, epochs, steps, seed, tuple((overrides or {}).items()))
    with lifetime(settings), start_worker(settings.home) as worker:
        study = plan_ablation(request, settings, worker)
        opening = open_run.submit(settings.tracking_uri, settings.artifact_root, "speed-ablation")
        try:
            checked = check_images(study.look)
            manifest = study.choose(checked.manifests, checked.report)
            recording = opening.result()  # nothing is measured for a run that could not be recorded
            folder = settings.home / "runs" / recording.run_id
            ground, measured = _ground(study, manifest, busy), _measure(study, manifest, settings.home)
            ablation = Ablation(ground, measured, recording.run_id, time.perf_counter() - began)
            record_ablation(recording, ablation, folder)
            end_run(recording, completed=True)
        except BaseException as error:
            abandon_run(opening, error)
            raise
    return Completed(message=ablation.sentence(), data=ablation)


def _ground(study: Study, manifest: DiseaseManifest, busy: float | None) -> Ground:
    """Say on what is measured; how busy the machine was is told from before the flow kept it busy itself."""
    return Ground(
        disease=manifest.disease,
        manifest=manifest.digest,
        n_train=manifest.counts["train"],
        n_validation=manifest.counts["validation"],
        seed=study.request.seed,
        quick=study.request.quick,
        passes=study.request.passes,
        cores=usable_cores(),
        processor=cpu_model(),
        load=busy,
    )


def _measure(study: Study, manifest: DiseaseManifest, home: Path) -> dict[str, Measured]:
    """Run what the arms come to, each in every pass."""
    images = manifest.counts["train"]
    arms = study.arms_for(manifest.disease)
    runs = distinct_runs(arms, study.request.limits(images))
    check_steps(list(runs), images=images, disease=manifest.disease)
    pixels = {run: pixel_space(home, run.figures) for run in runs}
    prepare_pixels(study.look.root, manifest.path, set(pixels.values()))
    found: dict[Run, list[MeasuredRun]] = {run: [] for run in runs}
    passes = [
        order_of_pass(list(runs), number=number, quick=study.request.quick)
        for number in range(1, study.request.passes + 1)
    ]
    with TemporaryDirectory(prefix="ablation-", dir=home) as folder:
        subject = Subject(manifest.disease, manifest.path, study.request.seed, Path(folder))
        for number, order in enumerate(passes, 1):
            for run in order:
                first = runs[run][0].key
                log = home / "logs" / "ablation.log"
                timed = measure_arm(first, number, run, study.backbones[first], pixels[run], subject, log)
                found[run].append(timed)
                report("train", sum(map(len, found.values())), sum(map(len, passes)))
    timed = {run: [one.timed for one in some] for run, some in found.items()}
    measured = measured_arms(runs, timed, {run: some[0].auroc for run, some in found.items()})
    return {arm.key: measured[arm.key] for arm in arms}
