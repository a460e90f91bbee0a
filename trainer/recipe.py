"""The settings of a run as code: a Python script that needs no Mask Studio, a shell command, and JSON."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import PurePath

from trainer.config import LOGGING_STEPS, TrainConfig, split_at_masks
from trainer.presets import BUNDLED_DATASET, BUNDLED_MODEL, recommended
from trainer.script_parts import BLOCKS, CLOCK, HELD_OUT, LINES, LOSS, MASKS, START
from trainer.separator import SEPARATORS

NESTED = ("bundled", "dany0407/eli5_category", "Pavithree/askScience")  # data sets in ELI5's shape
READERS = {".tsv": "csv", ".json": "json", ".jsonl": "json", ".parquet": "parquet"}
TEXTS = (".txt", ".md")
PACKED = (".gz", ".zip")
MINI = "256x4x4x8192"  # what `mini` is short for


def python_script(config: TrainConfig) -> str:
    """The tutorial's way with `transformers.Trainer`, and without its traps."""
    head = START.format(
        names="".join(f"    {name},\n" for name in _imported(config)),
        seed=config.seed,
        source=_source(config),
        column=_column(config),
    )
    words = config.whole_word_mask
    offsets = ", return_offsets_mapping=True" if words else ""
    padding = ', "padding": "max_length"' if words else ""  # the collator pads all but the offsets
    rule = ", whole_word_mask=True, mask_replace_prob=1, random_replace_prob=0" if words else ""
    train = 'parts["train"]' if _holds_out(config) else "dataset"
    head = head.replace("from itertools import chain\n", "", 1) if config.line_by_line else head
    parts = [
        head.replace("import math\n", "import math\nimport time\n", 1) if config.max_seconds else head,
        *_documents(config),
        (LINES if config.line_by_line else BLOCKS).format(
            tokenizer=_tokenizer(config), offsets=offsets, padding=padding, block_size=config.block_size
        ),
        MASKS.format(mlm_probability=config.mlm_probability, rule=rule, train=train),
        HELD_OUT if _holds_out(config) else "",
        LOSS.format(model=_model(config)),
        CLOCK.format(max_seconds=config.max_seconds) if config.max_seconds else "",
        *_training(config),
        *_end(config),
    ]
    return "".join(parts)


def shell_command(config: TrainConfig) -> str:
    """`python -m trainer fit` with a flag for each setting that would be another without it."""
    suited = recommended(config.model, config.dataset, from_scratch=bool(config.from_scratch))
    defaults = asdict(TrainConfig()) | suited
    flags = [
        f"--{name.replace('_', '-')} {shlex.quote('' if value is None else str(value))}"
        for name, value in asdict(config).items()
        if value != defaults[name]
    ]
    return " \\\n  ".join(["python -m trainer fit", *flags])


def _imported(config: TrainConfig) -> list[str]:
    """The names that the script takes from transformers."""
    names = {"AutoModelForMaskedLM", "AutoTokenizer", "DataCollatorForLanguageModeling", "Trainer", "TrainingArguments"}
    names |= {"set_seed"}
    names |= {"DataCollatorForTokenClassification"} if _holds_out(config) else set()
    names |= {"EarlyStoppingCallback"} if _holds_out(config) and config.early_stopping_patience else set()
    names |= {"TrainerCallback"} if config.max_seconds else set()
    names |= {"ModernBertConfig"} if config.from_scratch else set()
    names |= {"pipeline"} if config.probe_text else set()
    return sorted(names)


def _source(config: TrainConfig) -> str:
    """The statement that loads the data set."""
    name, split = _text(config.dataset), f"split={_text(config.split)}"
    path = PurePath(config.dataset)
    ending = path.suffix.lower()
    if ending in PACKED:
        plain = _source(replace(config, dataset=str(path.with_suffix(""))))
        return f"# {path.name}, unpacked\n{plain}"
    if config.dataset == "bundled":
        path = f"assets/{BUNDLED_DATASET.name}/train.jsonl"
        return f'dataset = load_dataset("json", data_files="{path}", {split})'
    if ending in TEXTS:
        found = f'paragraphs = "\\n\\n" in open({name}, encoding="utf-8").read().strip()  # else a line is a document\n'
        by = 'sample_by="paragraph" if paragraphs else "line"'
        return f'{found}dataset = load_dataset("text", data_files={name}, {split}, {by})'
    if ending == ".csv":
        found = f'separator = max({_text(SEPARATORS)}, key=open({name}, encoding="utf-8").readline().count)\n'
        return f'{found}dataset = load_dataset("csv", data_files={name}, {split}, sep=separator)'
    if ending in READERS:
        tabs = ', sep="\\t"' if ending == ".tsv" else ""
        return f'dataset = load_dataset("{READERS[ending]}", data_files={name}, {split}{tabs})'
    configuration = f", {_text(config.dataset_config)}" if config.dataset_config else ""
    return f"dataset = load_dataset({name}{configuration}, {split})"


def _column(config: TrainConfig) -> str:
    """The names of the columns with text, as Python writes them."""
    if config.text_column:
        return ", ".join(_text(name.strip()) for name in config.text_column.split(","))
    if config.dataset in NESTED:
        return '"answers.text"'
    if PurePath(config.dataset.lower().removesuffix(".gz")).suffix in TEXTS:
        return '"text"'
    usual = '("text", "content", "document", "body", "article", "sentence")'
    return f"next(name for name in {usual} if name in dataset.column_names)"


def _documents(config: TrainConfig) -> Iterator[str]:
    if config.max_documents:
        yield f"dataset = dataset.select(range(min({config.max_documents}, len(dataset))))\n"
    if config.validation_split:
        given = _source(replace(config, split=config.validation_split)).splitlines()[-1].removeprefix("dataset = ")
        yield f'parts = {{"train": dataset, "test": documents({given})}}\n'
    elif config.test_size:
        yield f"parts = dataset.train_test_split(test_size={config.test_size}, seed={config.seed})\n"


def _holds_out(config: TrainConfig) -> bool:
    return bool(config.test_size or config.validation_split)


def _tokenizer(config: TrainConfig) -> str:
    load = f"AutoTokenizer.from_pretrained({_model_name(config)})"
    if config.from_scratch:
        vocabulary = _shape(config)[3]
        documents = 'parts["train"]["text"]' if _holds_out(config) else 'dataset["text"]'
        return f"tokenizer = {load}.train_new_from_iterator({documents}, vocab_size={vocabulary})"
    return f"# Its padding token stays as it is: another would shift the positions of RoBERTa.\ntokenizer = {load}"


def _model(config: TrainConfig) -> str:
    if not config.from_scratch:
        return f"model = AutoModelForMaskedLM.from_pretrained({_model_name(config)}, dtype=torch.float32)"
    width, layers, heads, _ = _shape(config)
    names = ("pad", "bos", "eos", "cls", "sep")
    special = "".join(f"        {name}_token_id=tokenizer.{name}_token_id,\n" for name in names)
    return (
        "model = AutoModelForMaskedLM.from_config(\n    ModernBertConfig(\n"
        f"        vocab_size=len(tokenizer),\n        hidden_size={width},\n"
        f"        intermediate_size={width * 3 // 2},\n        num_hidden_layers={layers},\n"
        f"        num_attention_heads={heads},\n        max_position_embeddings=512,\n{special}    )\n)"
    )


def _shape(config: TrainConfig) -> list[int]:
    """Hidden size, layers, heads and vocabulary of a model made from nothing."""
    shape = MINI if config.from_scratch == "mini" else str(config.from_scratch)
    return [int(number) for number in shape.split("x")]


def _model_name(config: TrainConfig) -> str:
    return _text(f"assets/{BUNDLED_MODEL.name}" if config.model == "bundled" else config.model)


def _training(config: TrainConfig) -> Iterator[str]:
    """The arguments and the Trainer."""
    settings: dict[str, object] = {"output_dir": "my-run", "seed": config.seed}
    settings |= {"max_steps": config.max_steps} if config.max_steps else {"num_train_epochs": config.num_train_epochs}
    copied = ("per_device_train_batch_size", "gradient_accumulation_steps", "learning_rate", "weight_decay")
    settings |= {name: getattr(config, name) for name in (*copied, "lr_scheduler_type")}
    settings["logging_steps"] = config.logging_steps or LOGGING_STEPS
    settings["warmup_steps"] = config.warmup_ratio  # below 1, a share
    if config.warmup_ratio and config.lr_scheduler_type == "constant":  # which alone knows no warm-up there
        settings["lr_scheduler_type"] = "constant_with_warmup"
    settings["max_grad_norm"] = config.max_grad_norm or 0.0
    settings["logging_nan_inf_filter"] = False
    if _holds_out(config):
        when = {"strategy": "steps", "steps": config.eval_steps} if config.eval_steps else {"strategy": "epoch"}
        settings |= {f"{what}_{how}": value for what in ("eval", "save") for how, value in when.items()}
        settings |= {"save_total_limit": 2, "load_best_model_at_end": True, "metric_for_best_model": "eval_loss"}
    else:
        settings["save_strategy"] = "no"
    settings |= {"remove_unused_columns": False} if config.whole_word_mask else {}
    settings |= {"torch_compile": True} if config.compile == "on" else {}
    yield "\n# Muon is not among the Trainer's optimizers: AdamW does all of it here." if config.optim == "muon" else ""
    yield "\narguments = TrainingArguments(\n"
    yield from (f"    {name}={_literal(v)},\n" for name, v in settings.items())
    if config.precision != "float32":
        yield "    bf16=torch.cuda.is_available() and torch.cuda.is_bf16_supported(),\n"
    yield ")\ntrainer = Trainer(\n    model,\n    arguments,\n    train_dataset=train,\n"
    yield f"    data_collator={'collate' if _holds_out(config) else 'masks'},\n"
    yield "    eval_dataset=held_out,\n" if _holds_out(config) else ""
    yield "    compute_loss_func=loss_per_masked_token,\n"
    patience = config.early_stopping_patience if _holds_out(config) else None
    callbacks = ["Clock()"] * bool(config.max_seconds) + [f"EarlyStoppingCallback({patience})"] * bool(patience)
    yield f"    callbacks=[{', '.join(callbacks)}],\n)\n" if callbacks else ")\n"


def _end(config: TrainConfig) -> Iterator[str]:
    for when in ("before", "after"):
        if _holds_out(config):
            yield f'loss = trainer.evaluate()["eval_loss"]\nprint(f"{when}: loss {{loss:.4f}}, perplexity '
            yield '{math.exp(loss):.2f}")\n'
        yield "trainer.train()\n" if when == "before" else ""
    yield 'trainer.save_model("my-run/model")\ntokenizer.save_pretrained("my-run/model")\n'
    if config.probe_text:
        parts = split_at_masks(config.probe_text)
        sentence = f"tokenizer.mask_token.join([{', '.join(map(_text, parts))}])"
        yield f'\nfill = pipeline("fill-mask", model="my-run/model")\nanswers = fill({sentence})\n'
        if len(parts) > 2:
            yield "answers = answers[0]  # those for the first mask\n"
        yield "for answer in answers:\n    print(f\"{answer['score']:.3f} {answer['token_str']!r}\")\n"


def _literal(value: object) -> str:
    return _text(value) if isinstance(value, str) else repr(value)


def _text(value: str) -> str:
    """A string as Python writes it, too."""
    return json.dumps(value, ensure_ascii=False)
