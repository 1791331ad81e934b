"""The folder of a model in MLflow's format: raw pixels in, one score out.

In: a Keras model. Out: the folder, which MLflow serves and logs; and back.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.core.errors import first_line

if TYPE_CHECKING:
    import keras


def save_model(model: keras.Model, folder: Path, *, metadata: Mapping[str, Any]) -> None:
    """Write a Keras model to a folder in MLflow's format, with its signature: raw pixels to one score.

    What stands there, of a training that was broken off in its last moments, makes room. The requirements are named
    instead of inferred, which would take 6 to 23 s.
    """
    import keras
    import numpy as np
    import tensorflow as tf
    from mlflow import tensorflow as flavor
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    single = np.dtype(np.float32)
    signature = ModelSignature(
        Schema([TensorSpec(single, (-1, *model.input_shape[1:]), "pixels")]),
        Schema([TensorSpec(single, (-1, 1), "score")]),
    )
    shutil.rmtree(folder, ignore_errors=True)
    flavor.save_model(
        model,
        str(folder),
        signature=signature,
        pip_requirements=[f"tensorflow=={tf.__version__}", f"keras=={keras.__version__}"],
        metadata=dict(metadata),
    )


def load_model(folder: Path) -> keras.Model:
    """Return the Keras model that `save_model` wrote to a folder; it is not compiled.

    Raises:
        ValueError: there is none, or it is damaged.
    """
    from mlflow import tensorflow as flavor

    try:
        return flavor.load_model(str(folder), keras_model_kwargs={"compile": False})
    except Exception as error:  # whatever MLflow, Keras, zip and HDF5 say of a file that is none of theirs
        raise ValueError(f"Expected a model in {folder}. Received: {first_line(error)}") from error
