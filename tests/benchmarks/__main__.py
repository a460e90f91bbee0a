"""How fast Mask Studio is beside other ways: `python -m tests.benchmarks [train|blocks|predict|page] ...`.

All measurements of a comparison are made in turns in one tree of processes; medians and ratios are printed.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version

AREAS = ("train", "blocks", "predict", "page")
LIBRARIES = ("torch", "transformers", "accelerate", "datasets", "tokenizers", "gradio")


def main() -> int:
    """Exit code 1 when a comparison is void."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("areas", nargs="*", metavar="AREA", help=f"{', '.join(AREAS)}; all of them when none is named")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="the GPU when there is one, else the processor")
    parser.add_argument("--repetitions", type=int, default=3, help="of every measurement (default 3)")
    parser.add_argument("--only", help="comparisons with this in their names")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    asked = parser.parse_args()
    if unknown := set(asked.areas) - set(AREAS):
        parser.error(f"There is no area {unknown.pop()!r}; there are {', '.join(AREAS)}.")
    if asked.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    machine = _machine()
    if asked.device == "cuda" and machine["device"] != "cuda":
        parser.error("There is no GPU that torch can use.")
    if not asked.json:
        print(json.dumps(machine))
    comparisons = []
    for area in asked.areas or AREAS:
        module = importlib.import_module(f"tests.benchmarks.{area}")
        for comparison in module.comparisons(machine["device"], asked.repetitions, asked.only or ""):
            comparisons.append(comparison)
            print(*comparison.lines(), sep="\n", file=sys.stderr if asked.json else sys.stdout, flush=True)
    if asked.json:
        print(json.dumps({"machine": machine, "comparisons": [c.as_json() for c in comparisons]}, indent=2))
    return int(any(comparison.is_void for comparison in comparisons))


def _machine() -> dict[str, str | int]:
    from trainer.engine import hardware

    chosen = hardware.choose()
    facts = {"device": chosen.device, "device_name": chosen.name, "cores": os.cpu_count() or 1}
    return (
        facts
        | {"precision": chosen.precision, "python": platform.python_version()}
        | {library: _version(library) for library in LIBRARIES}
    )


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:  # not each area needs all of them
        return "missing"


if __name__ == "__main__":
    sys.exit(main())
