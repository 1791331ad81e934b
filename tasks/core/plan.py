"""The plan of one disease's training: everything that decides its result, written before it starts.

The trainer reads only the plan (nnU-Net's idea); its figures are the run's parameters in MLflow, and two
evaluations are comparable only if their plans name the same manifest.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

from tasks.core.profile import Profile


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be done.

    Attributes:
        disease: key of the catalog.
        title: of the disease, for people.
        profile: key of the catalog.
        figures: every figure of the profile, `--set` included.
        wanted_sensitivity: at the operating point, 0-1.
        seed: of initial weights, batch order, dropout and resampling.
        manifest_digest: of the disease's manifest.
        weights_digest: of the backbone's weights.
        features: digest of the cache space that holds the features.
        n_train: images.
        n_validation: images.
        n_test: images.
        versions: of radtrain, python, keras and tensorflow.
        teacher: digest of the trained weights that the scores of training rows come from; empty where there is none.
    """

    disease: str
    title: str
    profile: str
    figures: Profile
    wanted_sensitivity: float
    seed: int
    manifest_digest: str
    weights_digest: str
    features: str
    n_train: int
    n_validation: int
    n_test: int
    versions: dict[str, str]
    teacher: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON; `from_json` gives the same plan again."""
        return {**asdict(self), "figures": self.figures.model_dump()}

    @classmethod
    def from_json(cls, said: dict[str, Any]) -> Plan:
        """Return the plan that `to_json` wrote."""
        return cls(**{**said, "figures": Profile.model_validate(said["figures"])})

    def digest(self) -> str:
        """Return 64 hexadecimal digits over the whole plan."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()
