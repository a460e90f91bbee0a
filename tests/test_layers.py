"""Imports point down only: once from the source, and once by looking at what a fresh interpreter has loaded."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
FILES = sorted(
    path.relative_to(PROJECT).as_posix()
    for path in (PROJECT / "app.py", *(PROJECT / "trainer").rglob("*.py"))
    if path.exists()
)
HEAVY = ("torch", "transformers", "datasets", "accelerate", "evaluate", "gradio", "pandas")
LONGEST_FILE = 250  # lines

SHARED = (
    "arguments",
    "config",
    "environment",
    "errors",
    "events",
    "limits",
    "loading",
    "predictions",
    "previews",
    "presets",
    "recipe",
    "script_parts",
    "separator",
)
LAYER_1 = {f"trainer.{name}" for name in SHARED}
ENGINE = {"torch", "transformers", "datasets", "accelerate", "evaluate", "huggingface_hub", "numpy", "safetensors"}
ENGINE |= {"pyarrow"}

# What the files of a folder may import besides the standard library; the first entry that fits a path is its rule.
RULES = {
    "trainer/__init__.py": {"trainer.config", "trainer.engine.loop", "trainer.inference.fill_mask"},  # when asked for
    "trainer/engine/": LAYER_1 | ENGINE | {"trainer", "trainer.engine", "tokenizers"},
    # Loaded by the page; for the child's functions see below.
    "trainer/inference/worker.py": LAYER_1 | {"trainer.inference.sentences", "trainer.inference.turns"},
    "trainer/inference/sentences.py": LAYER_1,
    "trainer/inference/turns.py": LAYER_1,
    "trainer/inference/": LAYER_1
    | {"trainer.inference", "torch", "transformers", "trainer.engine.hardware", "trainer.engine.model"},
    "trainer/runs/zero_gpu.py": LAYER_1 | {"trainer.runs", "spaces"},  # where Hugging Face lends a GPU
    "trainer/runs/": LAYER_1 | {"trainer.runs"},
    "trainer/hub/": LAYER_1 | {"trainer.hub", "huggingface_hub", "PIL"},
    "trainer/jobs/": LAYER_1 | {"trainer.jobs", "trainer.hub", "trainer.runs", "huggingface_hub"},
    # Services come as arguments; the worker's module is standard library alone, and the page names its class.
    "trainer/ui/": LAYER_1
    | {"trainer.ui", "trainer.runs", "trainer.inference.worker", "trainer.hub", "trainer.jobs"}
    | {"gradio", "starlette"},
    "trainer/process.py": LAYER_1 | {"trainer.runs", "trainer.engine", "trainer.jobs"},
    "trainer/__main__.py": LAYER_1
    | {"trainer.process", "trainer.runs", "trainer.engine", "trainer.inference", "trainer.hub"},
    "trainer/slice.py": LAYER_1 | {"trainer.runs", "trainer.engine"},
    "trainer/": LAYER_1,
    "app.py": LAYER_1
    | {"trainer.__main__", "trainer.slice", "trainer.ui", "trainer.runs", "trainer.inference.worker"}
    | {"trainer.hub", "trainer.jobs", "gradio"},
}
# Run in the child process alone.
IN_THE_CHILD = {
    "trainer/inference/worker.py": (
        {"_limit_memory", "_warm_up", "_answer"},
        {"torch", "trainer.engine.hardware", "trainer.inference.fill_mask"},
    )
}


def imported(node: ast.AST, function: str = "") -> Iterator[tuple[str, str]]:
    """Every module an import statement names, at whatever depth, and the outermost function it stands in."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from ((alias.name, function) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0 and child.module, "imports are absolute"
            # `from trainer.engine import hardware` names the module trainer.engine.hardware.
            for alias in child.names:
                module = f"{child.module}.{alias.name}"
                yield (module if is_module(module) else child.module), function
        else:
            is_function = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef))
            yield from imported(child, function or (child.name if is_function else ""))


def is_module(name: str) -> bool:
    path = PROJECT.joinpath(*name.split("."))
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def may_import(path: str, module: str, function: str) -> bool:
    allowed = next(allowed for part, allowed in RULES.items() if path.startswith(part))
    in_child, more = IN_THE_CHILD.get(path, (set(), set()))
    if function in in_child:
        allowed = allowed | more
    inside = any(module == name or module.startswith(f"{name}.") for name in allowed - {"trainer"})
    return inside or module in allowed or module.split(".")[0] in sys.stdlib_module_names


def fresh(code: str) -> dict[str, object]:
    """What a new interpreter prints as JSON: `answer` is to be filled by `code`."""
    program = f"import json, sys, time\nanswer = {{}}\n{code}\n"
    program += f"answer['heavy'] = [name for name in {HEAVY!r} if name in sys.modules]\nprint(json.dumps(answer))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=PROJECT,
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return answer


@pytest.mark.parametrize("path", FILES)
def test_file_imports_only_what_its_layer_may(path: str) -> None:
    tree = ast.parse((PROJECT / path).read_text(encoding="utf-8"))
    forbidden = [
        f"{module} in {function or 'the module'}"
        for module, function in imported(tree)
        if not may_import(path, module, function)
    ]
    assert not forbidden


@pytest.mark.parametrize("path", FILES)
def test_file_is_short_enough_to_be_read_at_once(path: str) -> None:
    assert len((PROJECT / path).read_text(encoding="utf-8").splitlines()) <= LONGEST_FILE


def test_importing_the_package_is_cheap() -> None:
    code = "start = time.perf_counter(); import trainer; answer['seconds'] = time.perf_counter() - start"
    answers = [fresh(code) for _ in range(3)]
    assert answers[0]["heavy"] == []
    assert min(float(str(answer["seconds"])) for answer in answers) < 0.2


def test_names_of_the_package_come_from_their_homes_and_no_other_is_offered() -> None:
    answer = fresh(
        "import trainer\n"
        "answer['config'] = trainer.TrainConfig.__module__\n"
        "answer['unknown'] = hasattr(trainer, 'Trainer')"
    )
    assert answer == {"config": "trainer.config", "unknown": False, "heavy": []}


def test_services_of_the_page_load_no_heavy_library() -> None:
    assert fresh("import trainer.runs.manager, trainer.inference.worker")["heavy"] == []


def test_settings_events_and_shell_load_no_heavy_library() -> None:
    modules = [*sorted(LAYER_1), "trainer.__main__"]
    assert fresh(f"import {', '.join(modules)}")["heavy"] == []


@pytest.mark.slow
def test_page_is_built_without_torch_and_what_needs_it(tmp_path: Path) -> None:
    loaded = fresh(
        "from pathlib import Path\n"
        "from trainer.inference.worker import FillService\n"
        "from trainer.runs.manager import RunManager\n"
        "from trainer.ui.page import build_page\n"
        f"runs = RunManager(Path({str(tmp_path)!r}), {{}})\n"
        "build_page(runs, FillService())\n"
        "runs.close()"
    )["heavy"]
    assert isinstance(loaded, list) and "gradio" in loaded
    assert not {"torch", "transformers", "datasets", "accelerate", "evaluate"} & set(loaded)
