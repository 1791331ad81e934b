"""What is deployed follows from the catalog."""

from __future__ import annotations

from deployments.serve import profiles_to_deploy
from tasks.core.catalog import load_catalog


def test_every_shipped_profile_has_a_deployment():
    assert profiles_to_deploy(load_catalog()) == ["fast", "intensive", "distilled"]


def test_a_third_profile_gets_its_own_without_code(tmp_path):
    (tmp_path / "profiles.toml").write_text(
        '[profiles.tiny]\nbackbone = "MobileNetV2"\nalpha = 0.35\nimage_side = 96\ndense_units = 8\ndropout = 0.1\n'
        "batch_size = 8\nepochs = 1\nsteps_per_epoch = 5\nvalidation_steps = 5\nlearning_rate = 0.001\n"
    )
    assert profiles_to_deploy(load_catalog(tmp_path)) == ["fast", "intensive", "distilled", "tiny"]
