"""`InBatchNegatives`: what contrastive fine-tuning minimises, on pairs of a query and a relevant document."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelselect.tasks.objectives import Objective

if TYPE_CHECKING:
    import torch


class InBatchNegatives(Objective):
    """Cross-entropy of each query's own document among all documents of the batch, by their cosine.

    M. Henderson et al.: Efficient natural language response suggestion for Smart Reply, arXiv 1705.00652, 2017; it is
    `MultipleNegativesRankingLoss` of sentence-transformers. A document of another pair does not count against a query
    if it is the query's own document, or if the other pair has the same query. The credit of a query is 1 if its
    document is the nearest in the batch.

    Args:
        scale: what the cosine is multiplied with.
    """

    def __init__(self, scale: float = 20.0) -> None:
        self.scale = scale

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The sum of the losses of the pairs, a scalar.

        Args:
            outputs: (2 B, D) embeddings, of the queries and then of their documents.
            targets: (B, 2) int64: numbers of the query and of the document of each pair.
        """
        import torch
        from torch.nn.functional import cross_entropy

        similarities = self._similarities(outputs, targets)
        own = torch.arange(len(targets), device=outputs.device)
        return cross_entropy(self.scale * similarities, own, reduction="sum")

    def credit(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        similarities = self._similarities(outputs, targets)
        return (similarities.diagonal() >= similarities.amax(1)).sum()

    def head(self, width: int, outputs: int, method: str) -> torch.nn.Linear:
        """A map of embeddings that begins as the identity. It is trained only where the network is not."""
        import torch

        made = torch.nn.Linear(width, width)
        torch.nn.init.eye_(made.weight)
        torch.nn.init.zeros_(made.bias)
        return made.requires_grad_(method == "head")

    def _similarities(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """(B, B) cosines of queries and documents; minus infinity for pairs that do not count."""
        import torch
        from torch.nn.functional import normalize

        queries, documents = normalize(outputs.float(), dim=1).chunk(2)
        same = (targets[:, None, :] == targets[None, :, :]).any(2)
        same.fill_diagonal_(False)
        return (queries @ documents.T).masked_fill(same, -torch.inf)
