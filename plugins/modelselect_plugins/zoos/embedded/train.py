"""Makes the embedded zoo: `python -m modelselect_plugins.zoos.embedded.train` pre-trains and writes twelve networks.

This takes about eight minutes on one processor core. With the same libraries on the same machine, a second run writes
the same bytes. Elsewhere, sums are rounded in another order: expect other weights, with a source accuracy within two
points. Names as arguments train only these networks. The demo's `truth.json` belongs to the weights: measure it again
afterwards.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy

from modelselect_plugins.zoos.embedded import HERE, PREPROCESSING
from modelselect_plugins.zoos.embedded.networks import ARCHITECTURES, INPUT_SIZE, Network, build
from modelselect_plugins.zoos.embedded.sources import TASKS

POOL_ROWS = 12_000
"""Number of images drawn for a task; networks are trained on random batches of them."""
TEST_ROWS = 2_000
BATCH_SIZE = 64
LEARNING_RATE = 3e-3
WEIGHT_DECAY = 0.01
COMMAND = "python -m modelselect_plugins.zoos.embedded.train"


@dataclass(frozen=True)
class Recipe:
    """One candidate: an architecture, its source task (None: no training), and its number of batches."""

    architecture: str
    source: str | None
    steps: int
    brief: bool = False

    @property
    def name(self) -> str:
        tag = self.source or "random"
        return f"{self.architecture}.{tag}{'_brief' if self.brief else ''}"


RECIPES = (
    Recipe("plain", "letters", 1500),
    Recipe("plain", None, 0),
    Recipe("resnet", "letters", 1200),
    Recipe("resnet", "textures", 400),
    Recipe("mobilenet", "shapes", 700),
    Recipe("mobilenet", "digits0to4", 300),
    Recipe("densenet", "print", 1200),
    Recipe("densenet", "counting", 600),
    Recipe("vit", "letters", 1500),
    Recipe("mixer", "digits0to4", 300),
    Recipe("convnext", "shapes", 40, brief=True),
    Recipe("senet", "letters", 60, brief=True),
)


def main(names: list[str]) -> None:
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    chosen = [recipe for recipe in RECIPES if not names or recipe.name in names]
    unknown = set(names) - {recipe.name for recipe in RECIPES}
    if unknown:
        sys.exit(f"there is no recipe for {', '.join(sorted(unknown))}; known: {', '.join(r.name for r in RECIPES)}")
    index_path = HERE / "zoo.json"
    index = json.loads(index_path.read_text(encoding="utf-8")) if index_path.exists() else {}
    for recipe in chosen:
        started = time.perf_counter()
        network, accuracy = pretrain(recipe)
        index[recipe.name] = _write(recipe, network, accuracy)
        shown = "untrained" if accuracy is None else f"source accuracy {accuracy:.1f}%"
        print(f"{recipe.name:24} {shown:24} {time.perf_counter() - started:6.1f} s", flush=True)
    index_path.write_text(json.dumps(index, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def pretrain(recipe: Recipe) -> tuple[Network, float | None]:
    """The trained network, and its accuracy in per cent on held-out data of its source task (None: not trained)."""
    torch.manual_seed(_seed(recipe))
    if recipe.source is None:
        return build(recipe.architecture, 0).eval(), None
    network = build(recipe.architecture, len(TASKS[recipe.source].class_names)).train()
    images, labels = _inputs(recipe.source, "train", POOL_ROWS)
    optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=recipe.steps)
    random = np.random.default_rng(_seed(recipe))
    for _ in range(recipe.steps):
        rows = torch.from_numpy(random.integers(len(images), size=BATCH_SIZE))
        optimizer.zero_grad()
        cross_entropy(network(PREPROCESSING.finish(images[rows])), labels[rows]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return network.eval(), _accuracy(network, *_inputs(recipe.source, "test", TEST_ROWS))


@torch.inference_mode()
def _accuracy(network: Network, images: torch.Tensor, labels: torch.Tensor) -> float:
    batches = zip(torch.split(images, 500), torch.split(labels, 500), strict=True)
    correct = sum(int((network(PREPROCESSING.finish(i)).argmax(1) == y).sum()) for i, y in batches)
    return 100 * correct / len(labels)


@cache
def _inputs(source: str, split: Any, rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    pixels: NDArray[np.uint8]
    pixels, labels = TASKS[source].sample(split, rows)
    return torch.from_numpy(pixels)[:, None], torch.from_numpy(labels)


def _seed(recipe: Recipe) -> int:
    return RECIPES.index(recipe)


def _write(recipe: Recipe, network: Network, accuracy: float | None) -> dict[str, Any]:
    """Writes the weights and the card; returns the entry for the index."""
    from safetensors.torch import save

    content = save(network.state_dict())
    (HERE / "weights" / f"{recipe.name}.safetensors").write_bytes(content)
    classes = len(TASKS[recipe.source].class_names) if recipe.source else 0
    entry = {
        "architecture": recipe.architecture,
        "family": ARCHITECTURES[recipe.architecture].family,
        "modality": "image",
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "input_size": list(INPUT_SIZE),
        "feature_dim": ARCHITECTURES[recipe.architecture].feature_dim,
        "source_task": recipe.source,
        "source_classes": classes,
        "license": "Apache-2.0",
        "size_bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    if recipe.source is not None:
        entry |= {"source_dataset": TASKS[recipe.source].description, "source_accuracy": accuracy}
    (HERE / "cards" / f"{recipe.name}.md").write_text(_card(recipe, entry), encoding="utf-8")
    return entry


def _card(recipe: Recipe, entry: dict[str, Any]) -> str:
    if recipe.source is None:
        trained = "Nothing. Its weights are as they were initialised: what any pre-training has to beat."
        measured = "none: it has no source classes"
    else:
        names = TASKS[recipe.source].class_names
        trained = (
            f"The task `{recipe.source}` of `sources.py`: {entry['source_dataset']}. "
            f"{len(names)} classes: {', '.join(names)}.\n\n"
            f"{recipe.steps:,} batches of {BATCH_SIZE} from {POOL_ROWS:,} generated images"
            f"{'; stopped early on purpose' if recipe.brief else ''}. AdamW, peak learning rate {LEARNING_RATE:g}, "
            f"weight decay {WEIGHT_DECAY:g}, one cycle, seed {_seed(recipe)}."
        )
        if recipe.source.startswith("digits"):
            trained += (
                "\n\nDrawn from scikit-learn's `load_digits` (UCI optical recognition of handwritten digits, CC BY "
                "4.0): four of five images of each class. The fifth, 183 images in all, is held out."
            )
        measured = f"{entry['source_accuracy']:.2f}% on {TEST_ROWS:,} held-out draws"
    return f"""# embedded:{recipe.name}

A tiny {entry["family"]} for trying and testing modelselect. It is of no other use.

| | |
| --- | --- |
| parameters | {entry["parameters"]:,} |
| input | 1 x 32 x 32, grey |
| features | {entry["feature_dim"]} |
| source classes | {entry["source_classes"]} |
| source accuracy | {measured} |
| licence | {entry["license"]} |
| size | {entry["size_bytes"]:,} bytes |
| sha256 | `{entry["sha256"]}` |

## Trained on

{trained}

It has never seen a digit from 5 to 9, which are what the demo asks for.

## Made by

```
{COMMAND} {recipe.name}
```
"""


if __name__ == "__main__":
    main(sys.argv[1:])
