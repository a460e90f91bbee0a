"""A run from its first event to its last."""

from __future__ import annotations

import math

import pytest
import safetensors.torch
import torch
import transformers

from tests.engine.told import of, steps
from trainer.config import TrainConfig
from trainer.engine import training
from trainer.engine.loop import fit
from trainer.engine.masking import HELD_OUT_EPOCH, Masking
from trainer.events import (
    Evaluated,
    PhaseChanged,
    Planned,
    Probed,
    RunStarted,
    StepLogged,
    Warned,
    in_words,
)


def test_events_come_in_order_and_end_with_exactly_one_last(tiny_config, tmp_path, collected):
    finished = fit(
        tiny_config(max_steps=4, eval_steps=2, save_steps=2, probe_text="The <mask> is a star."),
        collected.append,
        output_dir=tmp_path,
    )
    kinds = [event.kind for event in collected]
    assert kinds[:2] == ["run_started", "phase_changed"]
    training_starts = kinds.index("planned") + 2
    assert collected[training_starts - 1] == PhaseChanged(phase="Training")
    assert kinds[training_starts:] == [
        *("probed", "evaluated"),
        *("step_logged", "probed"),
        *("step_logged", "probed", "evaluated", "checkpoint_saved"),
        *("step_logged", "probed"),
        *("step_logged", "probed", "evaluated", "checkpoint_saved"),
        "finished",
    ]
    assert collected[-1] == finished
    assert (finished.reason, finished.step, finished.model) == ("completed", 4, "model")


def test_what_was_chosen_and_planned_is_told(tiny_config, tmp_path, collected):
    fit(tiny_config(max_steps=1), collected.append, output_dir=tmp_path)
    (started,), (plan,) = of(RunStarted, collected), of(Planned, collected)
    assert (started.device, started.precision, started.processes, started.resumed_from_step) == (
        "cpu",
        "float32",
        1,
        None,
    )
    assert started.versions["torch"] == torch.__version__
    assert (plan.documents, plan.held_out_documents, plan.skipped_documents) == (60, 12, 0)
    assert (plan.architecture, plan.masked_positions_only, plan.text_column) == ("RobertaForMaskedLM", True, "text")
    assert (plan.tokens - 64) // 32 <= plan.train_blocks + plan.held_out_blocks <= plan.tokens // 32
    assert plan.steps == 1 and plan.steps_per_epoch == math.ceil(plan.train_blocks / 8)


def test_loss_falls_on_the_bundled_data(tiny_model, tmp_path, collected):
    config = TrainConfig(
        model=str(tiny_model("modernbert")), block_size=64, max_steps=120, learning_rate=1e-2, warmup_ratio=0.1,
        precision="float32", max_documents=100, probe_text=None, logging_steps=5,
    )  # fmt: skip
    fit(config, collected.append, output_dir=tmp_path)
    losses = [event.loss for event in of(StepLogged, collected)]
    held_out = [event.loss for event in of(Evaluated, collected)]
    assert losses[0] > 6.2 and losses[-1] < 5.7
    assert held_out[-1] < held_out[0] - 0.6
    assert of(Evaluated, collected)[-1].best


def test_step_zero_and_the_last_step_are_evaluated(tiny_config, tmp_path, collected):
    fit(tiny_config(max_steps=5, eval_steps=3), collected.append, output_dir=tmp_path)
    assert steps(Evaluated, collected) == [0, 3, 5]
    first = of(Evaluated, collected)[0]
    assert first.best and first.epoch == 0 and first.perplexity == pytest.approx(math.exp(first.loss))


def test_the_curve_holds_means_over_masked_tokens_since_the_point_before(tiny_config, tmp_path):
    dense, sparse = [], []
    fit(tiny_config(max_steps=8), dense.append, output_dir=tmp_path / "dense")
    fit(tiny_config(max_steps=8, logging_steps=4), sparse.append, output_dir=tmp_path / "sparse")
    assert steps(StepLogged, dense) == [1, 2, 3, 4, 5, 6, 7, 8] and steps(StepLogged, sparse) == [4, 8]
    means = [sum(event.loss for event in of(StepLogged, dense)[i : i + 4]) / 4 for i in (0, 4)]
    assert [event.loss for event in of(StepLogged, sparse)] == pytest.approx(
        means, rel=0.01
    )  # masked counts vary little
    assert {event.learning_rate for event in of(StepLogged, sparse)} <= {e.learning_rate for e in of(StepLogged, dense)}


def test_epochs_decide_the_number_of_steps_and_the_last_batch_may_be_small(tiny_config, tmp_path, collected):
    config = tiny_config(max_steps=None, num_train_epochs=1.5, per_device_train_batch_size=16)
    fit(config, collected.append, output_dir=tmp_path)
    (plan,) = of(Planned, collected)
    assert plan.train_blocks % 16 != 0
    assert plan.steps == math.ceil(1.5 * plan.steps_per_epoch) == collected[-1].step
    assert steps(Evaluated, collected) == [0, plan.steps_per_epoch, plan.steps]


def test_each_epoch_sees_every_block_once_in_an_order_of_its_own(tiny_config, tmp_path, collected, monkeypatch):
    original, seen = Masking.__call__, {}

    def spy(masking, ids, blocks, *, epoch, **known):
        seen.setdefault(epoch, []).extend(blocks.tolist())
        return original(masking, ids, blocks, epoch=epoch, **known)

    monkeypatch.setattr(Masking, "__call__", spy)
    fit(tiny_config(max_steps=None, num_train_epochs=2.0), collected.append, output_dir=tmp_path)
    (plan,) = of(Planned, collected)
    everything = list(range(plan.train_blocks))
    assert sorted(seen[0]) == sorted(seen[1]) == everything
    assert seen[0] != seen[1] and everything not in (seen[0], seen[1])
    assert seen[HELD_OUT_EPOCH] == list(range(plan.held_out_blocks)) * 3  # before, and after each epoch


def test_the_model_folder_holds_the_best_by_held_out_loss(tiny_config, tmp_path, collected, monkeypatch):
    losses, seen = iter([5.0, 3.0, 4.0, 3.5]), []

    def scripted(model, *arguments, **options):
        seen.append(model.model.lm_head.bias.detach().clone())
        loss = next(losses)
        return {"loss": loss, "perplexity": math.exp(loss), "accuracy": 0.0, "masked_tokens": 10}

    monkeypatch.setattr(training, "evaluate_model", scripted)
    fit(tiny_config(max_steps=3, eval_steps=1), collected.append, output_dir=tmp_path)
    assert [event.best for event in of(Evaluated, collected)] == [True, True, False, False]
    best = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path / "model").lm_head.bias
    assert torch.equal(best, seen[1]) and not torch.equal(best, seen[3])


def test_probe_answers_before_and_after_and_does_not_disturb_the_run(tiny_config, tmp_path):
    alone, probed = [], []
    fit(tiny_config(), alone.append, output_dir=tmp_path / "alone")
    fit(tiny_config(probe_text="The [MASK] is a star."), probed.append, output_dir=tmp_path / "probed")
    assert steps(Probed, probed) == [0, 1, 2, 3, 4, 5, 6]
    scores = [candidate["score"] for candidate in of(Probed, probed)[0].candidates]
    assert len(scores) == 5 and scores == sorted(scores, reverse=True)
    assert [event.loss for event in of(StepLogged, alone)] == [event.loss for event in of(StepLogged, probed)]


def test_a_single_document_is_learned_with_a_warning_and_no_evaluation(tiny_config, tmp_path, collected):
    (tmp_path / "one.txt").write_text("The Sun is a star, and the Earth goes round it once a year.")
    fit(tiny_config(dataset=str(tmp_path / "one.txt"), max_steps=3), collected.append, output_dir=tmp_path / "run")
    (warning,) = of(Warned, collected)
    assert "single document" in warning.message
    assert of(Evaluated, collected) == []
    assert steps(StepLogged, collected) == [1, 2, 3] and collected[-1].model == "model"
    (plan,) = of(Planned, collected)
    assert (plan.train_blocks, plan.held_out_blocks, plan.tokens) == (1, 0, plan.block_size) and plan.block_size < 32


def test_a_text_too_short_for_a_held_out_mask_is_learned_all_the_same(tiny_config, tmp_path, collected):
    (tmp_path / "two.txt").write_text("The Sun is a star.\na\n")
    config = tiny_config(dataset=str(tmp_path / "two.txt"), max_steps=3, mlm_probability=0.15, seed=5)
    assert fit(config, collected.append, output_dir=tmp_path / "run").reason == "completed"
    assert of(Planned, collected)[0].held_out_blocks == 1 and of(Evaluated, collected) == []
    assert (tmp_path / "run/model/model.safetensors").exists()


def test_without_a_held_out_part_the_last_model_is_kept(tiny_config, tmp_path, collected):
    fit(tiny_config(test_size=0.0, save_steps=6), collected.append, output_dir=tmp_path)
    assert of(Evaluated, collected) == of(Warned, collected) == []
    last = safetensors.torch.load_file(tmp_path / "checkpoints/step-6/model.safetensors")
    model = safetensors.torch.load_file(tmp_path / "model/model.safetensors")
    assert (
        all(torch.equal(model[name], last[name]) for name in model.keys() & last.keys()) and model.keys() & last.keys()
    )


@pytest.mark.parametrize("kind", ["bert", "distilbert", "modernbert", "electra"])
def test_other_architectures_learn_too(kind, tiny_config, tiny_model, tmp_path, collected):
    config = tiny_config(model=str(tiny_model(kind)), max_steps=10, learning_rate=5e-3, test_size=0.0)
    fit(config, collected.append, output_dir=tmp_path)
    losses = [event.loss for event in of(StepLogged, collected)]
    assert sum(losses[-3:]) < sum(losses[:3])


def test_line_by_line_every_document_is_an_example(tiny_config, tmp_path, collected):
    texts = ["The Sun is a star.", "Plants use sunlight to make sugar.", "Why?", "Stars are far away."] * 5
    text = tmp_path / "lines.txt"
    text.write_text("\n".join(f"{number} {line}" for number, line in enumerate(texts)), encoding="utf-8")
    config = tiny_config(dataset=str(text), line_by_line=True, block_size=8, max_steps=None, num_train_epochs=1.0)
    fit(config, collected.append, output_dir=tmp_path / "run")
    (plan,) = of(Planned, collected)
    assert (plan.documents, plan.train_blocks, plan.held_out_blocks) == (20, 16, 4)
    assert plan.block_size == 8 and plan.steps == 2 and "blocks of up to 8" in in_words(plan)
    assert any("of the documents are longer than 8 tokens" in event.message for event in of(Warned, collected))


def test_whole_words_can_be_masked_in_a_run(tiny_config, tmp_path, collected):
    fit(tiny_config(whole_word_mask=True), collected.append, output_dir=tmp_path)
    assert steps(StepLogged, collected) == [1, 2, 3, 4, 5, 6]


def test_long_gradients_are_cut_to_the_limit(tiny_config, tmp_path, monkeypatch):
    norms, original = [], torch.optim.AdamW.step

    def spy(self, closure=None):
        gradients = [p.grad for group in self.param_groups for p in group["params"] if p.grad is not None]
        norms.append(torch.nn.utils.get_total_norm(gradients).item())
        return original(self, closure)

    monkeypatch.setattr(torch.optim.AdamW, "step", spy)
    free, cut = [], []
    fit(tiny_config(max_steps=2, max_grad_norm=None), free.append, output_dir=tmp_path / "free")
    fit(tiny_config(max_steps=2, max_grad_norm=0.01), cut.append, output_dir=tmp_path / "cut")
    assert norms[0] > 0.1 and norms[2:] == pytest.approx([0.01, 0.01], rel=1e-3)
    assert of(StepLogged, free)[0].grad_norm == of(StepLogged, cut)[0].grad_norm  # what is told is the uncut one


def test_a_run_leaves_only_what_belongs_to_it(tiny_config, tmp_path):
    fit(tiny_config(save_steps=3), output_dir=tmp_path)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["blocks", "checkpoints", "model"]
    assert {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"} == {
        file.name for file in (tmp_path / "model").iterdir()
    }
