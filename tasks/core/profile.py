"""A profile: how a classifier is built and trained, as a table of `profiles.toml` says it.

Another profile is another table and no code. The schema is closed: a key that is not here is an error.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

#: Arithmetic of the frozen part of a backbone.
Precision = Literal["float32", "bfloat16"]


class Table(BaseModel):
    """A table of the catalog: it cannot be changed, and takes no key that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Augmentation(Table):
    """How far each training image may be moved about; all zero means not at all."""

    rotation_degrees: float = Field(default=0.0, ge=0, le=45)
    zoom: float = Field(default=0.0, ge=0, lt=1)
    shift: float = Field(default=0.0, ge=0, lt=1)
    shear: float = Field(default=0.0, ge=0, lt=1)
    horizontal_flip: bool = False

    def is_none(self) -> bool:
        """Tell whether images are trained on as they are."""
        return not any(self.model_dump().values())

    def without_flips(self) -> Augmentation:
        """Return the same for images whose sides must not be exchanged."""
        return self.model_copy(update={"horizontal_flip": False})


class Profile(Table):
    """How a classifier is built and trained; every figure with its unit in `profiles.toml`."""

    backbone: str
    alpha: Annotated[float, Field(gt=0)] | None = None
    weights: str = "imagenet"
    image_side: int = Field(ge=32, le=1024)
    trainable_layers: int = Field(0, ge=0)
    precision: Precision = "float32"
    dense_units: int = Field(ge=1)
    dropout: float = Field(ge=0, lt=1)
    batch_size: int = Field(ge=1)
    epochs: int = Field(ge=1)
    steps_per_epoch: int = Field(ge=1)
    validation_steps: int = Field(ge=1)
    patience: int = Field(0, ge=0)
    learning_rate: float = Field(gt=0)
    learning_rate_schedule: Literal["constant", "cosine"] = "constant"
    class_weights: Literal["none", "balanced"] = "none"
    augmentation_variants: int = Field(0, ge=0, le=1000)
    teacher: str | None = None
    teacher_share: float = Field(0.7, gt=0, le=1)
    augmentation: Augmentation = Augmentation()

    def variant(self, *, seed: int, epoch: int) -> int:
        """Return which cached variant of its images an epoch trains on, from 1; 0: images as they are.

        A pool of K variants serves every seed: each begins at another place of it and goes round. Seed 0 with at
        least as many variants as epochs sees exactly what training without a pool would draw.
        """
        if self.augmentation.is_none():
            return 0
        return 1 + (epoch - 1 + seed) % self.augmentation_variants
