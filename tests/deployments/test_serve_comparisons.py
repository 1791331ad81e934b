"""Which comparisons are deployed follows from the catalog."""

from __future__ import annotations

from deployments.serve import pairs_to_deploy
from tasks.core.catalog import load_catalog
from tests.phantom_data import write_catalog

TINY = """
[profiles.tiny]
backbone = "MobileNetV2"
image_side = 96
dense_units = 8
dropout = 0.1
batch_size = 8
epochs = 1
steps_per_epoch = 5
validation_steps = 5
learning_rate = 0.001
"""


def test_the_first_profile_is_compared_with_each_other_one(tmp_path):
    assert ("fast", "intensive") in pairs_to_deploy(load_catalog())
    catalog = load_catalog(write_catalog(tmp_path / "catalog", ["pneumonia"], profile=TINY))
    assert ("fast", "tiny") in pairs_to_deploy(catalog)
