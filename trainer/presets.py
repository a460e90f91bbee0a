"""Models and data sets on offer: what they are, and the settings that suit them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ASSETS = Path(__file__).resolve().parent.parent / "assets"
HUB_ID_LENGTH = 96
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPreset:
    """A model to start from, with `recommended` settings where they differ from the defaults."""

    id: str
    label: str
    parameters: str
    licence: str
    language: str
    about: str
    recommended: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetPreset:
    """A data set to learn from, with `recommended` settings where they differ from the defaults."""

    id: str
    label: str
    licence: str
    language: str
    about: str
    recommended: dict[str, Any] = field(default_factory=dict)


BUNDLED_MODEL = ASSETS / "mask-studio-mini"
BUNDLED_DATASET = ASSETS / "science-questions"

MODELS = (
    ModelPreset(
        id="bundled",
        label="Mask Studio mini (bundled)",
        parameters="7.6 M",
        licence="CC BY-SA 4.0",
        language="English",
        about="Small enough to learn on a processor while you watch.",
        recommended={
            "optim": "muon",
            "learning_rate": 1.6e-3,
            "warmup_ratio": 0.1,
            "per_device_train_batch_size": 16,
            "num_train_epochs": 4.0,
            "mlm_probability": 0.3,  # it learns more from each block; see tests/benchmarks/README.md
        },
    ),
    ModelPreset(
        id="distilbert/distilroberta-base",
        label="DistilRoBERTa (the tutorial's)",
        parameters="82 M",
        licence="Apache-2.0",
        language="English",
        about="The model of the masked language modeling tutorial; best with a GPU.",
    ),
    ModelPreset(
        id="answerdotai/ModernBERT-base",
        label="ModernBERT base",
        parameters="149 M",
        licence="Apache-2.0",
        language="English",
        about="Newer and stronger; wants a GPU.",
    ),
    ModelPreset(
        id="FacebookAI/xlm-roberta-base",
        label="XLM-RoBERTa base",
        parameters="278 M",
        licence="MIT",
        language="100 languages",
        about="For text that is not English; wants a GPU.",
    ),
)

DATASETS = (
    DatasetPreset(
        id="bundled",
        label="Science Q&A (bundled)",
        licence="CC0-1.0",
        language="English",
        about="Questions and answers written for Mask Studio, in the shape of ELI5.",
    ),
    DatasetPreset(
        id="dany0407/eli5_category",
        label="ELI5, the tutorial's 5,000",
        licence="unknown",
        language="English",
        about="Explanations from Reddit's r/explainlikeimfive; the licence of the posts is unknown.",
        recommended={"split": "train[:5000]"},
    ),
    DatasetPreset(
        id="Pavithree/askScience",
        label="r/askscience, 5,000",
        licence="unknown",
        language="English",
        about="Questions and answers from Reddit's r/askscience; the licence of the posts is unknown.",
        recommended={"split": "train[:5000]"},
    ),
)

EXAMPLES = [  # sentences to try a model of English with
    "The Milky Way is a <mask> galaxy.",
    "The Earth orbits the <mask>.",
    "Dinosaurs lived millions of <mask> ago.",
    "The brain is part of the central <mask> system.",
    "Plants use sunlight, water and carbon <mask> to make sugar.",
    "The United <mask> of <mask> has fifty states.",
]

MULTILINGUAL = "FacebookAI/xlm-roberta-base"
SCRATCH = {
    "optim": "muon",
    "learning_rate": 2e-3,
    "warmup_ratio": 0.05,
    "per_device_train_batch_size": 16,
    "test_size": 0.01,
}


def recommended(model: str = "bundled", dataset: str = "bundled", *, from_scratch: bool = False) -> dict[str, Any]:
    """The settings that suit a model and a data set, to be laid under those a user chose."""
    presets = [p for p in MODELS if p.id == model and not from_scratch] + [p for p in DATASETS if p.id == dataset]
    suited = dict(SCRATCH) if from_scratch else {}
    for preset in presets:
        suited |= preset.recommended
    return suited


def title_of(source: str) -> str:
    """What to call a model or data set before visitors: not by this machine's path; the model of a run by the run."""
    path = Path(source)
    if not path.is_absolute():
        return source
    return path.parent.name if path.name == "model" else path.name


def is_hub_id(text: str) -> bool:
    """Whether `text` has the form of a Hub id (`owner/name`, or an old `name`), and so can't be a path."""
    return len(text) <= HUB_ID_LENGTH and bool(HUB_ID.fullmatch(text)) and ".." not in text and "--" not in text
