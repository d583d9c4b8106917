"""Scripts that fine-tune the winner without modelselect, with the recipe of the run: `Leaderboard.script`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from modelselect.candidates.candidate import Candidate
from modelselect.errors import InvalidInputError
from modelselect.ranking.ranking import Ranking, record_of
from modelselect.utils.text import printable
from modelselect.verification.recipe import FineTuning

LIBRARIES = ("transformers", "timm", "autogluon")
"""The libraries that scripts are written for."""


def script(board: Ranking, library: str) -> str:
    """See `Leaderboard.script`."""
    if library not in LIBRARIES:
        raise InvalidInputError(f"library is {library!r}; expected one of {', '.join(LIBRARIES)}")
    if not board.ranked:
        raise InvalidInputError("no candidate was ranked, so there is no winner to write a script for")
    candidate = board.best.candidate
    is_text = candidate.metadata.get("modality") == "text"
    if library == "timm" and is_text:
        raise InvalidInputError(f"{candidate} takes texts, and timm has only models of images; give 'transformers'")
    settings = record_of(board, "settings")
    recipe = _recipe(settings.get("fine_tuning"))
    if recipe.optimizer != "adamw":
        raise InvalidInputError(f"the recipe has the optimizer {recipe.optimizer!r}; scripts are written for 'adamw'")
    rates = recipe.grid[0]
    known: dict[str, Any] = {
        "DATA": _path(board) or ("path/to/texts.csv" if is_text else "path/to/images"),
        "MODEL": _name(candidate, library),
        "EPOCHS": recipe.epochs,
        "BATCH_SIZE": recipe.batch_size,
        "BACKBONE_RATE": rates.backbone,
        "HEAD_RATE": rates.head,
        "WEIGHT_DECAY": rates.weight_decay,
        "WARM_UP": recipe.warm_up,
        "SEED": settings.get("seed", 0),
    }
    if recipe_method(board) == "lora":
        known["LORA_RANK"] = recipe.lora_rank
    docstring = f"Fine-tunes {_plain(candidate.id)} with {library}, by the recipe of modelselect."
    about = f'"""{docstring}{_trained(board, library)}"""\n'
    constants = "\n".join(f"{name} = {value!r}" for name, value in known.items())
    imports, _, rest = _body(board, library, is_text=is_text).strip("\n").partition("\n\n\n")
    return f"{about}\n{imports}\n\n{constants}\n\n{rest}\n"


def recipe_method(board: Ranking) -> str:
    """What the run trained, one of `METHODS`; `full` if no candidate was fine-tuned."""
    known = record_of(board, "settings").get("fine_tuning")
    method = known.get("method") if isinstance(known, Mapping) else None
    return method if method in ("head", "lora") else "full"


def _body(board: Ranking, library: str, *, is_text: bool) -> str:
    """The program without its docstring and its constants."""
    method = recipe_method(board)
    if library == "autogluon":
        kind, read = ("hf_text", _READ_TEXTS) if is_text else ("timm_image", _READ_IMAGES)
        rates = _RATE_OF_HEAD if method == "head" else _RATES_OF_BOTH
        return _AUTOGLUON.replace("KIND", kind).replace("READ", read).replace("RATES\n", rates)
    if library == "timm":
        if method == "head":
            return _TIMM_HEAD
        text = _TIMM
    else:
        text = _TRANSFORMERS_TEXTS if is_text else _TRANSFORMERS_IMAGES
    adapters, merge = {"full": ("", ""), "head": (_FREEZE, ""), "lora": (_ADAPT, _MERGE)}[method]
    text = text.replace("ADAPTERS\n", adapters).replace("MERGE\n", merge)
    return text.replace("\n\n\n", "\nfrom peft import LoraConfig, LoraModel\n\n\n", 1) if method == "lora" else text


def _recipe(known: Any) -> FineTuning:
    """The recipe of the run; the default if no candidate was fine-tuned."""
    if not isinstance(known, Mapping):
        return FineTuning()
    names = {field.name for field in fields(FineTuning)}
    given: dict[str, Any] = {name: value for name, value in known.items() if name in names}
    return FineTuning(**given)


def _trained(board: Ranking, library: str) -> str:
    """What the script trains, and how that differs from the run; empty if both train all weights."""
    method = recipe_method(board)
    if method == "full":
        return ""
    if library == "autogluon" and method == "lora":
        return f"\n\nThe run trained {_TRAINED[method]}. This script trains all weights,\nso its accuracy can differ.\n"
    scaled = " The run also\nstandardised the features." if method == "head" and library != "timm" else ""
    return f"\n\nIt trains what the run trained: {_TRAINED[method]}.{scaled}\n"


_TRAINED = {"head": "the head, on the frozen backbone", "lora": "low-rank adapters (LoRA) and the head"}
"""What a run trained, by the method of its recipe, where that is not all weights."""


def _path(board: Ranking) -> str | None:
    """Where the dataset is on this machine; None if it is not in files."""
    source = record_of(board, "dataset").get("source")
    path = source.get("path") if isinstance(source, Mapping) else None
    return path if isinstance(path, str) else None


def _name(candidate: Candidate, library: str) -> str:
    """What the library calls the candidate.

    Raises:
        InvalidInputError: the library cannot load it.
    """
    name, place = candidate.name.split("?")[0], None
    url = str(candidate.metadata.get("url", "")).removeprefix("https://huggingface.co/")
    if candidate.zoo == "timm":
        on_hub = url if url.count("/") == 1 else None
        place = on_hub if library == "transformers" else name
    elif candidate.zoo == "hub":
        is_timm = candidate.metadata.get("library") == "timm"
        place = f"hf-hub:{name}" if library == "timm" and is_timm else name if library != "timm" else None
    elif candidate.zoo == "directory":
        place = {"architecture": f"local-dir:{name}", "model_type": name}.get(_form(Path(name)))
        if place is not None and place.startswith("local-dir:") != (library == "timm"):
            place = None
    if place is None:
        raise InvalidInputError(
            f"{library} cannot load {candidate}; expected a candidate of its own, or of the Hub. Use the winner itself "
            "with board.best.save(), or give another one of " + ", ".join(LIBRARIES)
        )
    return place


def _form(folder: Path) -> str:
    """The key of `config.json` that says which library loads the folder; empty if there is none."""
    try:
        configuration = json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError):
        return ""
    known = configuration if isinstance(configuration, dict) else {}
    return next((key for key in ("architecture", "model_type") if isinstance(known.get(key), str)), "")


def _plain(text: str) -> str:
    """The text as a part of a docstring that it cannot end."""
    return printable(text).replace("\\", "/").replace('"', "'")


_FREEZE = """
for each in of_backbone:
    each.requires_grad_(False)
backbone.eval()
backbone.train = lambda mode=True: backbone  # the frozen backbone works as it does in use
"""

_ADAPT = """
layers = dict(model.named_modules())
linear = [name for name, layer in layers.items() if type(layer) is torch.nn.Linear]
convolutions = [name for name, layer in layers.items() if type(layer) is torch.nn.Conv2d and layer.groups == 1]
adapted = [name for name in linear if layers[name].weight not in of_head]
adapted = adapted or [name for name in convolutions if layers[name].weight not in of_head]
pattern = "|".join(name.replace(".", r"\\.") for name in adapted)
adapters = LoraModel(model, LoraConfig(r=LORA_RANK, lora_alpha=2 * LORA_RANK, target_modules=pattern), "default")
for each in of_head:
    each.requires_grad_(True)
for layer in layers.values():
    if isinstance(layer, torch.nn.modules.batchnorm._BatchNorm):
        layer.eval()
        layer.train = lambda mode=True, layer=layer: layer  # it keeps the statistics of the weights
"""

_MERGE = """adapters.merge_and_unload()
"""

_GROUPS = """ADAPTERS
groups = []
for rate, chosen in ((BACKBONE_RATE, False), (HEAD_RATE, True)):
    tensors = [each for each in model.parameters() if (each in of_head) is chosen and each.requires_grad]
    groups.append({"params": [t for t in tensors if t.dim() > 1], "lr": rate, "weight_decay": WEIGHT_DECAY})
    groups.append({"params": [t for t in tensors if t.dim() <= 1], "lr": rate, "weight_decay": 0.0})
"""
"""The parameters by learning rate and weight decay, once the head is known as `of_head`."""

_TRANSFORMERS = (
    """
import torch
IMPORTS


CALLS

backbone = getattr(model, "timm_model", getattr(model, model.base_model_prefix, None))
inside = backbone.get_classifier() if hasattr(backbone, "get_classifier") else None
of_backbone = set(backbone.parameters()) - set(() if inside is None else inside.parameters())
of_head = set(model.parameters()) - of_backbone
"""
    + _GROUPS
    + """
arguments = TrainingArguments(
    output_dir="fine-tuned",
    num_train_epochs=EPOCHS,
    per_device_train_batch_size=BATCH_SIZE,
    lr_scheduler_type="cosine",
    warmup_steps=WARM_UP,  # a share of all steps
    eval_strategy="epoch",
    seed=SEED,
    remove_unused_columns=False,
    report_to="none",
)
trainer = Trainer(
    model=model,
    args=arguments,
    train_dataset=dataset["train"],
    eval_dataset=dataset["test"],
    data_collator=COLLATOR,
    processing_class=processor,
    optimizers=(torch.optim.AdamW([group for group in groups if group["params"]]), None),
    compute_metrics=lambda found: {"accuracy": float((found.predictions.argmax(1) == found.label_ids).mean())},
)
trainer.train()
print(trainer.evaluate())
MERGE
trainer.save_model("fine-tuned")
"""
)

_TRANSFORMERS_IMAGES = (
    _TRANSFORMERS.replace(
        "IMPORTS",
        "from datasets import load_dataset\n"
        "from transformers import AutoImageProcessor, AutoModelForImageClassification, Trainer, TrainingArguments\n"
        "from transformers import default_data_collator",
    )
    .replace("COLLATOR", "default_data_collator")
    .replace(
        "CALLS",
        """dataset = load_dataset("imagefolder", data_dir=DATA, split="train", drop_labels=False)
dataset = dataset.train_test_split(0.2, seed=SEED, stratify_by_column="label")
names = dataset["train"].features["label"].names
processor = AutoImageProcessor.from_pretrained(MODEL)
model = AutoModelForImageClassification.from_pretrained(
    MODEL,
    id2label=dict(enumerate(names)),
    label2id={name: number for number, name in enumerate(names)},
    ignore_mismatched_sizes=True,  # the head is new
)


def prepared(rows):
    images = [image.convert("RGB") for image in rows["image"]]
    return {**processor(images, return_tensors="pt"), "labels": rows["label"]}


dataset = dataset.with_transform(prepared)""",
    )
)

_TRANSFORMERS_TEXTS = (
    _TRANSFORMERS.replace(
        "IMPORTS",
        "from datasets import load_dataset\n"
        "from transformers import AutoModelForSequenceClassification, AutoTokenizer, DataCollatorWithPadding\n"
        "from transformers import Trainer, TrainingArguments",
    )
    .replace("COLLATOR", "DataCollatorWithPadding(processor)")
    .replace(
        "CALLS",
        """TEXT, LABEL = "text", "label"  # the names of the columns

dataset = load_dataset("csv", data_files=DATA, split="train").class_encode_column(LABEL)
names = dataset.features[LABEL].names
dataset = dataset.train_test_split(0.2, seed=SEED, stratify_by_column=LABEL)
processor = AutoTokenizer.from_pretrained(MODEL)
model = AutoModelForSequenceClassification.from_pretrained(
    MODEL,
    id2label=dict(enumerate(names)),
    label2id={name: number for number, name in enumerate(names)},
    ignore_mismatched_sizes=True,  # the head is new
)


def prepared(rows):
    return {**processor(rows[TEXT], truncation=True, max_length=512), "labels": rows[LABEL]}


dataset = dataset.map(prepared, batched=True, remove_columns=dataset["train"].column_names)""",
    )
)

_TIMM_IMPORTS = """
import math

import timm
import torch
from safetensors.torch import save_model
from torchvision.datasets import ImageFolder


torch.manual_seed(SEED)
device = "cuda" if torch.cuda.is_available() else "cpu"
dataset = ImageFolder(DATA)
model = timm.create_model(MODEL, pretrained=True, num_classes=len(dataset.classes)).to(device)
dataset.transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)
training, held_out = torch.utils.data.random_split(dataset, (0.8, 0.2), torch.Generator().manual_seed(SEED))
"""

_SCHEDULE = """
steps = EPOCHS * len(batches)
rising = round(WARM_UP * steps)


def factor(step):
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))


schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
"""

_TIMM = (
    _TIMM_IMPORTS
    + """batches = torch.utils.data.DataLoader(training, BATCH_SIZE, shuffle=True, drop_last=len(training) > BATCH_SIZE)
of_head = set(model.get_classifier().parameters())
"""
    + _GROUPS
    + """optimizer = torch.optim.AdamW([group for group in groups if group["params"]])"""
    + _SCHEDULE
    + """for epoch in range(EPOCHS):
    model.train()
    for images, labels in batches:
        loss = torch.nn.functional.cross_entropy(model(images.to(device)), labels.to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    model.eval()
    with torch.no_grad():
        correct = sum(
            int((model(images.to(device)).argmax(1).cpu() == labels).sum())
            for images, labels in torch.utils.data.DataLoader(held_out, BATCH_SIZE)
        )
    print(f"epoch {epoch + 1}: accuracy {correct / len(held_out):.1%}")
MERGE
save_model(model, "fine-tuned.safetensors")
"""
)

_TIMM_HEAD = (
    _TIMM_IMPORTS
    + """head = model.eval().get_classifier()


def features(rows):
    seen, labels = [], []
    hook = head.register_forward_pre_hook(lambda _, given: seen.append(given[0].flatten(1)))
    with torch.no_grad():
        for images, classes in torch.utils.data.DataLoader(rows, BATCH_SIZE):
            model(images.to(device))
            labels.append(classes)
    hook.remove()
    return torch.cat(seen), torch.cat(labels).to(device)


inputs, labels = features(training)
mean, deviation = inputs.mean(0), inputs.std(0)
deviation = torch.where(deviation > 0, deviation, 1.0)
inputs = (inputs - mean) / deviation
linear = torch.nn.Linear(inputs.shape[1], len(dataset.classes)).to(device)
batches = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(inputs, labels), BATCH_SIZE, shuffle=True)
groups = [
    {"params": [linear.weight], "lr": HEAD_RATE, "weight_decay": WEIGHT_DECAY},
    {"params": [linear.bias], "lr": HEAD_RATE, "weight_decay": 0.0},
]
optimizer = torch.optim.AdamW(groups)"""
    + _SCHEDULE
    + """for epoch in range(EPOCHS):
    for chosen, classes in batches:
        loss = torch.nn.functional.cross_entropy(linear(chosen), classes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
with torch.no_grad():  # the scaling of the features becomes a part of the head
    weight = linear.weight / deviation
    head.weight.copy_(weight.reshape(head.weight.shape))
    head.bias.copy_(linear.bias - weight @ mean)
    inputs, labels = features(held_out)
    correct = int(((inputs @ weight.T + head.bias).argmax(1) == labels).sum())
print(f"accuracy {correct / len(held_out):.1%}")
save_model(model, "fine-tuned.safetensors")
"""
)

_AUTOGLUON = """
from pathlib import Path

import pandas as pd
from autogluon.multimodal import MultiModalPredictor


READ
held_out = rows.sample(frac=0.2, random_state=SEED)
predictor = MultiModalPredictor(label="label", path="fine-tuned")
predictor.fit(
    rows.drop(held_out.index),
    hyperparameters={
        "model.names": ["KIND"],
        "model.KIND.checkpoint_name": MODEL,
        "optim.optim_type": "adamw",
RATES
        "optim.weight_decay": WEIGHT_DECAY,
        "optim.lr_schedule": "cosine_decay",
        "optim.warmup_steps": WARM_UP,
        "optim.max_epochs": EPOCHS,
        "env.batch_size": BATCH_SIZE,
    },
    seed=SEED,
)
print(predictor.evaluate(held_out, metrics=["accuracy"]))
"""

_RATES_OF_BOTH = """        "optim.lr": BACKBONE_RATE,
        "optim.lr_choice": "two_stages",
        "optim.lr_mult": HEAD_RATE / BACKBONE_RATE,
"""

_RATE_OF_HEAD = """        "optim.lr": HEAD_RATE,
        "optim.lr_choice": "layerwise_decay",
        "optim.lr_decay": 0.0,  # the rate of all layers but the head is 0
"""

_READ_IMAGES = """suffixes = (".jpg", ".jpeg", ".png", ".webp")
files = sorted(path for path in Path(DATA).rglob("*") if path.suffix.lower() in suffixes)
rows = pd.DataFrame({"image": map(str, files), "label": [path.parent.name for path in files]})"""

_READ_TEXTS = """rows = pd.read_csv(DATA)  # with the columns text and label"""
