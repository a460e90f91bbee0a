"""Settings of several runs side by side."""

from dataclasses import fields

from trainer.config import TrainConfig
from trainer.runs.comparison import compared, measured_apart


def test_every_setting_is_compared_and_only_those_that_differ_are_said_to():
    settings = compared([TrainConfig(), TrainConfig(learning_rate=1e-3), TrainConfig(max_steps=5)])
    assert [setting.name for setting in settings] == [f.name for f in fields(TrainConfig)]
    differing = {setting.name: setting.values for setting in settings if setting.differs}
    assert differing == {"learning_rate": (2e-5, 1e-3, 2e-5), "max_steps": (None, None, 5)}


def test_runs_with_other_held_out_text_or_masks_are_measured_apart():
    assert measured_apart(compared([TrainConfig(), TrainConfig(learning_rate=1e-3, model="other/model")])) == []
    assert measured_apart(compared([TrainConfig(), TrainConfig(seed=1, dataset="other/text")])) == ["dataset", "seed"]
    assert measured_apart(compared([TrainConfig(), TrainConfig(validation_split="test")])) == ["validation_split"]


def test_settings_that_cannot_be_read_differ_from_those_that_can():
    settings = compared([TrainConfig(), None])
    assert any(setting.differs for setting in settings)
    assert not any(setting.differs for setting in compared([None, None]))
