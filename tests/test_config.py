"""The settings: what is refused, in which words, and what comes back from JSON and the command line."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import pytest

from trainer.config import TrainConfig, kind_of
from trainer.errors import ConfigError
from trainer.presets import DATASETS, MODELS, SCRATCH

FIELDS = dataclasses.fields(TrainConfig)
RANGES = [f for f in FIELDS if f.metadata["low"] is not None]
CHOICES = [f for f in FIELDS if f.metadata["choices"]]
OPTIONAL = [f for f in FIELDS if str(f.type).endswith("| None")]


def read(**values: Any) -> TrainConfig:
    return TrainConfig.from_dict(values)


def problems(**values: Any) -> list[str]:
    return list(TrainConfig(**values).problems())


def refusals(**values: Any) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        read(**values).check()
    return caught.value.problems


def test_defaults_are_the_tutorials_and_have_no_problems() -> None:
    config = TrainConfig().check()
    assert (config.model, config.dataset) == ("bundled", "bundled")
    assert (config.learning_rate, config.weight_decay, config.num_train_epochs) == (2e-5, 0.01, 3.0)
    assert (config.block_size, config.mlm_probability, config.per_device_train_batch_size) == (128, 0.15, 8)


@pytest.mark.parametrize("field", RANGES, ids=lambda f: f.name)
def test_every_limit_is_accepted_itself_and_one_step_beyond_names_field_value_and_limits(
    field: dataclasses.Field[Any],
) -> None:
    low, high = field.metadata["low"], field.metadata["high"]
    assert problems(**{field.name: low}) == problems(**{field.name: high}) == []
    below, above = (low - 1, high + 1) if isinstance(low, int) else (low - 1e-3, high * 1.01)
    for value in (below, above):
        (problem,) = problems(**{field.name: value})
        assert problem.startswith(f"{field.name} is {value!r}; it must be between ")
        numbers = problem.partition(" between ")[2].removesuffix(".").replace(",", "").split(" and ")
        assert [float(number) for number in numbers] == pytest.approx([low, high])


@pytest.mark.parametrize("field", CHOICES, ids=lambda f: f.name)
def test_every_choice_names_field_value_and_what_there_is(field: dataclasses.Field[Any]) -> None:
    assert all(problems(**{field.name: choice}) == [] for choice in field.metadata["choices"])
    (problem,) = problems(**{field.name: "sideways"})
    assert problem.startswith(f"{field.name} is 'sideways'; it must be one of ")
    assert all(choice in problem for choice in field.metadata["choices"])


def test_all_problems_come_in_one_error() -> None:
    found = refusals(learning_rate=5, block_size=3, precision="fp8", probe_text="no gap", from_scratch="big", model=" ")
    assert [problem.split()[0] for problem in found] == [
        "model", "block_size", "learning_rate", "precision", "probe_text", "from_scratch",
    ]  # fmt: skip


def test_all_wrong_types_and_unknown_names_come_in_one_error() -> None:
    found = refusals(learning_rate="fast", seed=1.5, lerning_rate=1)
    assert len(found) == 3


def test_the_error_reads_as_its_problems_one_after_the_other() -> None:
    with pytest.raises(ConfigError, match=r"^block_size is 3; .*8,192\. learning_rate is 5\.0; .*0\.01\.$"):
        TrainConfig(learning_rate=5.0, block_size=3).check()


def test_unknown_name_suggests_the_near_one() -> None:
    assert refusals(lerning_rate=1e-4) == ("'lerning_rate' is not a setting. Did you mean learning_rate?",)


def test_unknown_name_with_nothing_near_lists_all_settings() -> None:
    (problem,) = refusals(zzz=1)
    assert all(f.name in problem for f in FIELDS)


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("block_size", 64, 64),
        ("block_size", "64", 64),
        ("block_size", 64.0, 64),
        ("block_size", "64.0", 64),
        ("seed", 2**31 - 1, 2**31 - 1),
        ("learning_rate", "5e-4", 5e-4),
        ("learning_rate", 0.001, 0.001),
        ("num_train_epochs", 3, 3.0),
        ("max_steps", "10", 10),
        ("max_steps", "", None),
        ("max_steps", None, None),
        ("probe_text", "", None),
        ("whole_word_mask", True, True),
        ("whole_word_mask", "true", True),
        ("whole_word_mask", "False", False),
        ("compile", True, "on"),
        ("compile", "false", "off"),
        ("compile", "auto", "auto"),
        ("model", "a/b", "a/b"),
    ],
)
def test_value_from_json_or_command_line_becomes_the_fields_type(name: str, given: Any, expected: Any) -> None:
    value = getattr(read(**{name: given}), name)
    assert value == expected and type(value) is type(expected)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("block_size", "five"),
        ("block_size", 5.5),
        ("block_size", True),
        ("block_size", None),
        ("block_size", ""),
        ("block_size", [8]),
        ("block_size", 10**400),
        ("learning_rate", "nan"),
        ("learning_rate", math.nan),
        ("learning_rate", math.inf),
        ("learning_rate", "-inf"),
        ("learning_rate", None),
        ("learning_rate", False),
        ("learning_rate", {}),
        ("max_steps", "none"),
        ("max_steps", math.nan),
        ("whole_word_mask", 1),
        ("whole_word_mask", "yes"),
        ("whole_word_mask", None),
        ("whole_word_mask", []),
        ("compile", None),
        ("model", 5),
        ("model", None),
        ("probe_text", ["<mask>"]),
    ],
)
def test_value_of_another_type_names_field_value_and_type(name: str, value: Any) -> None:
    kind = kind_of(next(f for f in FIELDS if f.name == name))
    assert refusals(**{name: value}) == (f"{name} is {value!r}; it must be {kind}.",)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None, "0.1", True])
def test_what_is_no_number_is_refused_from_python_too(value: Any) -> None:
    (problem,) = problems(learning_rate=value)
    assert problem == f"learning_rate is {value!r}; it must be a number."


def test_json_round_trip_keeps_every_field() -> None:
    changed = TrainConfig(
        model="a/b", max_steps=7, compile="on", learning_rate=3e-4, probe_text="水は<mask>い。", from_scratch="mini"
    )
    for config in (TrainConfig(), changed):
        assert TrainConfig.from_dict(json.loads(config.to_json())) == config


def test_json_has_every_field_in_order() -> None:
    assert list(json.loads(TrainConfig().to_json())) == [f.name for f in FIELDS]


@pytest.mark.parametrize("field", OPTIONAL, ids=lambda f: f.name)
def test_none_means_off_wherever_it_is_allowed(field: dataclasses.Field[Any]) -> None:
    config = read(**{field.name: None}).check()
    assert getattr(config, field.name) is None


@pytest.mark.parametrize("name", ["max_steps", "max_seconds", "eval_steps", "save_steps", "max_documents"])
def test_minus_one_does_not_mean_off(name: str) -> None:
    assert problems(**{name: -1})


@pytest.mark.parametrize("field", FIELDS, ids=lambda f: f.name)
def test_every_field_has_a_sentence_and_a_kind_in_words(field: dataclasses.Field[Any]) -> None:
    assert field.metadata["doc"][0].isupper() and field.metadata["doc"].endswith(".")
    assert kind_of(field).split(" or ")[0] in ("a whole number", "a number", "true", "text")


@pytest.mark.parametrize("field", FIELDS, ids=lambda f: f.name)
def test_every_number_has_limits(field: dataclasses.Field[Any]) -> None:
    is_number = str(field.type).startswith(("int", "float"))
    assert is_number == (field.metadata["low"] is not None) == (field.metadata["high"] is not None)


def test_probe_text_without_a_mask_is_refused() -> None:
    (problem,) = problems(probe_text="The Milky Way.")
    assert "'The Milky Way.'" in problem and "<mask>" in problem


@pytest.mark.parametrize("text", ["A <mask>.", "A [MASK].", "<mask> and <mask>.", None])
def test_probe_text_may_use_either_spelling_several_masks_or_be_off(text: str | None) -> None:
    assert problems(probe_text=text) == []


@pytest.mark.parametrize("name", ["model", "dataset", "split", "probe_text"])
def test_half_a_character_is_refused(name: str) -> None:
    (problem,) = problems(**{name: "<mask> \ud83d"})
    assert problem.startswith(f"{name} is ") and problem.isascii()


@pytest.mark.parametrize("shape", ["mini", "256x4x4x8192", "32x2x2x300", None])
def test_from_scratch_takes_a_name_or_four_numbers(shape: str | None) -> None:
    assert problems(from_scratch=shape) == []


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ("huge", "'mini' or four numbers"),
        ("256x4x4", "'mini' or four numbers"),
        ("256x4x4x8192x1", "'mini' or four numbers"),
        ("256x-4x4x8192", "'mini' or four numbers"),
        ("256x4x4x" + "9" * 5000, "'mini' or four numbers"),
        ("0x4x4x8192", "hidden size must be between 8 and 4,096"),
        ("256x3000000x4x8192", "layers must be between 1 and 128"),
        ("256x4x0x8192", "heads must be between 1 and 256"),
        ("256x4x4x200", "vocabulary must be between 261 and 200,000"),
        ("30x1x7x300", "hidden size must be an even multiple of its 7 heads"),
        ("15x1x5x300", "hidden size must be an even multiple of its 5 heads"),
    ],
)
def test_from_scratch_names_what_is_wrong_with_the_shape(shape: str, expected: str) -> None:
    (problem,) = problems(from_scratch=shape)
    assert problem.startswith(f"from_scratch is {shape!r}; ") and expected in problem


def test_config_is_frozen_and_keyword_only() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        TrainConfig().seed = 1  # type: ignore[misc]
    with pytest.raises(TypeError):
        TrainConfig("bundled")  # type: ignore[call-arg, misc]


def test_settings_that_presets_recommend_are_within_the_limits() -> None:
    for suits in (SCRATCH, *(preset.recommended for preset in (*MODELS, *DATASETS))):
        read(**suits).check()


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"compile": "on"}, "a model that is shared out is not compiled"),
        ({"optim": "muon"}, "Muon needs whole matrices"),
    ],
)
def test_what_a_model_that_is_shared_out_cannot_have_is_said(other: dict[str, str], words: str) -> None:
    (problem,) = TrainConfig(fsdp=True, **other).problems()  # type: ignore[arg-type]
    assert words in problem
