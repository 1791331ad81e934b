"""Each step of the plain Keras recipe, timed: `python -m tests.benchmarks.recipe_steps SCRIPT FOLDER LOADER STEPS`.

Trains its intensive profile for one epoch with its own loader and network, random weights. Prints one JSON line: the
median seconds from one step's end to the next, loading included, and seconds of the whole epoch with its validation.
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import statistics
import sys
import time
from pathlib import Path


def main() -> None:
    """Train and print."""
    script, folder, loader, steps = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
    spec = importlib.util.spec_from_file_location("recipe", script)
    if spec is None or spec.loader is None:
        sys.exit(f"{script} is no Python file")
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    keras = recipe.keras
    ends: list[float] = []

    class Clock(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None) -> None:
            ends.append(time.perf_counter())

    figures = recipe.PROFILES["intensive"]
    train, validation, _, count = recipe.batches(folder, figures["side"], figures["batch"], loader, True)
    model = recipe.build("intensive", figures["side"], 0.75, None)
    metrics = ["accuracy", keras.metrics.AUC(name="auroc")]
    model.compile(keras.optimizers.Adam(figures["rate"]), "binary_crossentropy", metrics=metrics)
    began = time.perf_counter()
    model.fit(
        train,
        epochs=1,
        steps_per_epoch=steps,
        validation_data=validation,
        validation_steps=min(figures["val_steps"], count),
        callbacks=[Clock()],
        verbose=0,
    )
    took = [after - before for before, after in itertools.pairwise(ends)]
    print(json.dumps({"step_s": statistics.median(took), "epoch_s": time.perf_counter() - began}))


if __name__ == "__main__":
    main()
