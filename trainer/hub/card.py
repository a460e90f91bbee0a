"""The model card: what a reader of the model's page should know, made from the run."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from trainer.config import split_at_masks
from trainer.hub.trained import TrainedRun
from trainer.presets import DATASETS, EXAMPLES, MODELS, is_hub_id, title_of

CURVES = "curves.png"
LICENCES = ("apache-2.0", "mit", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc0-1.0", "openrail", "other")
LANGUAGES = {"English": "en", "100 languages": "multilingual"}
TOLD = (  # the settings that stand in the card, where they are on
    "block_size", "line_by_line", "mlm_probability", "whole_word_mask", "num_train_epochs", "max_steps", "max_seconds",
    "per_device_train_batch_size", "gradient_accumulation_steps", "optim", "learning_rate", "weight_decay",
    "warmup_ratio", "lr_scheduler_type", "max_grad_norm", "test_size", "max_documents", "seed", "from_scratch",
)  # fmt: skip
FILE = re.compile(r"[^/]+|.*\.(txt|md|csv|tsv|jsonl?|parquet)")  # a data set of the Hub has an owner and no ending
LONGEST_CONFIG = 16 << 20  # bytes of a tokenizer's configuration


def licence_of(model: str) -> str | None:
    """The licence that a model trained from `model` should bear, as far as it is known."""
    known = {preset.id: preset.licence.lower().replace(" ", "-") for preset in MODELS}
    return known.get(model)


def model_card(run: TrainedRun, repo: str, licence: str | None) -> str:
    """The README of the model's page, in Markdown under its metadata."""
    name = repo.rpartition("/")[2]
    parts = [_opening(run, name), _results(run), _usage(run, repo), _training(run), _limits(run)]
    return f"---\n{_metadata(run, name, licence).to_yaml()}\n---\n\n" + "\n\n".join(parts) + "\n"


def _metadata(run: TrainedRun, name: str, licence: str | None) -> ModelCardData:
    model, dataset = _hub_model(run), _hub_dataset(run)
    kept, probe = run.kept, run.config.probe_text
    begun_with = None if run.config.from_scratch else run.config.model
    language = next((LANGUAGES[preset.language] for preset in MODELS if preset.id == begun_with), None)
    metrics = {"perplexity": kept.get("perplexity"), "loss": kept.get("loss"), "accuracy": kept.get("accuracy")}
    results = [
        EvalResult(
            task_type="fill-mask",
            task_name="Masked language modeling",
            dataset_type=dataset or "text",
            dataset_name=_data_title(run),
            dataset_split="held out",
            metric_type=kind,
            metric_name=f"{kind.capitalize()} on held-out text",
            metric_value=round(value, 4),
        )
        for kind, value in metrics.items()
        if value is not None
    ]
    optional: dict[str, Any] = {}
    tried = [*([probe] if probe else ()), *(EXAMPLES if language == "en" else ())]
    if tried:
        optional["widget"] = [{"text": _mask(run).join(split_at_masks(text))} for text in dict.fromkeys(tried)]
    return ModelCardData(
        base_model=None if run.config.from_scratch else model,
        datasets=[dataset] if dataset else None,
        language=language,
        library_name="transformers",
        license=licence,
        model_name=name,
        pipeline_tag="fill-mask",
        tags=["masked-language-modeling", "mask-studio"],
        metrics=list(metrics) if results else None,
        eval_results=results or None,
        **optional,
    )


def _opening(run: TrainedRun, name: str) -> str:
    made = "made from nothing and trained" if run.config.from_scratch else f"fine-tuned from {_model_words(run)}"
    text = f"# {name}\n\nA masked language model, {made} on {_data_words(run)} with Mask Studio."
    before, kept = run.before, run.kept
    if before.get("perplexity") and kept.get("perplexity"):
        text += (
            f" On text held out from training, perplexity went from {before['perplexity']:,.2f} to"
            f" **{kept['perplexity']:,.2f}**."
        )
    return text


def _results(run: TrainedRun) -> str:
    if not run.evaluations:
        return "## Results\n\nNothing was held out, so this model has not been measured."
    rows = ["| step | epoch | loss | perplexity | masked accuracy | |", "|---:|---:|---:|---:|---:|---|"]
    for record in run.evaluations:
        note = "before training" if record["step"] == 0 else "**this model**" if record is run.kept else ""
        perplexity = "" if record["perplexity"] is None else f"{record['perplexity']:,.2f}"
        rows.append(
            f"| {record['step']:,} | {record['epoch']:.2f} | {record['loss']:.4f} | {perplexity}"
            f" | {record['accuracy']:.1%} | {note} |"
        )
    tokens = run.evaluations[-1]["masked_tokens"]
    how = (
        f"Held-out text, {tokens:,} masked tokens that are the same at every evaluation. Loss is in nats per masked"
        " token, perplexity is its exponential."
    )
    return "\n".join(["## Results", "", how, "", *rows, "", f"![Loss and perplexity while it learned]({CURVES})"])


def _usage(run: TrainedRun, repo: str) -> str:
    text = run.answer.get("text") or run.config.probe_text or "The Milky Way is a <mask> galaxy."
    parts = split_at_masks(text)
    first = ")[0]:  # those for the first mask" if len(parts) > 2 else "):"
    code = [
        "```python", "from transformers import pipeline", "", f'fill = pipeline("fill-mask", model={json.dumps(repo)})',
        f"for answer in fill({_quoted(_mask(run).join(parts))}{first}",
        '    print(f"{answer[\'score\']:.3f} {answer[\'token_str\']!r}")', "```",
    ]  # fmt: skip
    said = [f"{c['score']:.3f} {c['token_str']!r}" for c in run.answer.get("candidates") or ()]
    if said and len(parts) == 2:
        code += ["", "This model answers:", "", "```text", *(line.replace("`", "'") for line in said), "```"]
    return "\n".join(["## How to use it", "", *code])


def _training(run: TrainedRun) -> str:
    plan, started, config = run.planned, run.started, run.config
    rows: list[tuple[str, str]] = []
    if plan:
        rows += [
            ("architecture", f"{plan.get('architecture')}, {plan.get('parameters', 0):,} weights"),
            ("text", f"{plan.get('documents', 0):,} documents, {plan.get('words', 0):,} words"),
            ("blocks", f"{plan.get('train_blocks', 0):,} learned from, {plan.get('held_out_blocks', 0):,} held out"),
        ]
    if started:
        processes = f", {started.get('processes')} processes" if started.get("processes", 1) != 1 else ""
        rows += [("device", f"{started.get('device_name')} ({started.get('precision')}{processes})")]
    rows += [("time", f"{run.elapsed_seconds:,.0f} s")]
    settings = {name: getattr(config, name) for name in TOLD}
    rows += [(f"`{name}`", str(value)) for name, value in settings.items() if value not in (None, False)]
    rows += [(f"version of {name}", str(version)) for name, version in (started.get("versions") or {}).items()]
    table = ["| | |", "|---|---|", *(f"| {name} | {_cell(value)} |" for name, value in rows)]
    return "\n".join(["## How it was trained", "", *table])


def _limits(run: TrainedRun) -> str:
    about = next((f" {preset.about}" for preset in DATASETS if preset.id == run.config.dataset), "")
    examples = "single documents of up to" if run.config.line_by_line else "blocks of"
    limits = [
        "It guesses words that are likely in texts like those it learned from; it is no source of facts.",
        f"It repeats the choices and the biases of its texts and of the model it began with.{about}",
        f"It learned on {examples} {run.planned.get('block_size') or run.config.block_size} tokens.",
    ]
    if not run.completed:
        limits.append("The training had not come to its planned end when this was published.")
    return "\n".join(["## Limits", "", *(f"- {limit}" for limit in limits)])


def _hub_model(run: TrainedRun) -> str | None:
    model = run.config.model
    return model if model != "bundled" and is_hub_id(model) and not Path(model).exists() else None


def _hub_dataset(run: TrainedRun) -> str | None:
    dataset = run.config.dataset
    return dataset if is_hub_id(dataset) and not FILE.fullmatch(dataset) and not Path(dataset).exists() else None


def _model_words(run: TrainedRun) -> str:
    if model := _hub_model(run):
        return f"[{model}](https://huggingface.co/{model})"
    return "Mask Studio mini" if run.config.model == "bundled" else f"`{_bare(run.config.model)}`"


def _data_words(run: TrainedRun) -> str:
    if dataset := _hub_dataset(run):
        return f"[{dataset}](https://huggingface.co/datasets/{dataset})"
    return "Mask Studio's science questions and answers" if run.config.dataset == "bundled" else "a text of its own"


def _data_title(run: TrainedRun) -> str:
    return _hub_dataset(run) or ("Science questions and answers" if run.config.dataset == "bundled" else "own text")


def _bare(source: str) -> str:
    """A name without the machine's folders."""
    name = title_of(str(Path(source).absolute()))
    return re.sub(r"[`\n|]", "", name)


def _mask(run: TrainedRun) -> str:
    """The mask as this model's tokenizer spells it."""
    path = run.model / "tokenizer_config.json"
    try:
        if path.stat().st_size <= LONGEST_CONFIG:
            token: Any = json.loads(path.read_text(encoding="utf-8")).get("mask_token")
            token = token.get("content") if isinstance(token, dict) else token
            if isinstance(token, str) and re.fullmatch(r"[!-~]{1,32}", token):
                return token
    except (OSError, ValueError, AttributeError, RecursionError):
        pass
    return "<mask>"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("`", "'")


def _cell(value: str) -> str:
    return value.replace("|", "\\|").replace("\n", " ")
