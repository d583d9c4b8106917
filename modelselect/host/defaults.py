"""What modelselect uses if the caller names nothing, and why. No other module names methods and models.

Plugins bring all of them. If a plugin is missing, the use of its default raises `UnknownNameError`.
"""

from __future__ import annotations

DEFAULT_ESTIMATORS = ("evidence",)
"""`select()` ranks by this: history, scores of the features and facts of the candidates as evidence on one scale. With
a history, it agrees better with measured accuracies than the number of parameters, the mean rank of `etran`, `knn` and
`logme`, and `fennec`, in the mean over the benchmarks of docs/explanation/default-estimators.md."""

AUTO = "auto"
"""The task that is read from the labels of the dataset."""

CLASSIFICATION = "classification"
"""The task whose name stands in no key of the store and in no metric of the history: both are older than tasks."""

LAYER_CHOOSER = "linear_probe"
"""`?layer=best` takes the layer with the highest score by this estimator: it is cross-validated, so a wide layer
has no advantage by that alone, and every kind of labels has a form of it."""

RECALL_ESTIMATOR = "kriging"
"""Recall ranks by this estimator: it scores candidates that are not loaded, from what the transfer history knows. It
has to be a `modelselect.estimators.estimator.Recaller`. For its agreement see docs/explanation/recall.md."""

DEFAULT_ENCODER = "graph2vec"
"""Architectures become vectors by this encoder, as in Fennec's paper (section 3.2). Unlike `karateclub` it can place an
architecture in an existing space."""

CLIP_PROXY = "hub:openai/clip-vit-base-patch32"
"""CLIP is the proxy of Fennec's paper (section 3.3); its authors take a larger one. This one counts if the Hub client's
cache holds it: a default must not download 600 MB."""

EMBEDDED_PROXY = "embedded:resnet.textures"
"""The proxy if there is no CLIP: this network comes with modelselect. See docs/explanation/recall.md for what that
costs in agreement."""

HUB_ZOO = "hub"
FOLDER_ZOO = "dir"
"""What a plain name means that is `owner/name`, or a folder on this machine."""

DEMO_ZOO = "embedded"
"""`modelselect demo` shows this zoo: its networks and their true accuracies come with modelselect, so that the demo
runs offline and in a minute."""

DEMO_ESTIMATORS = ("logme", "ncti", "leep", "nce", "persistence", "persistence_source", "knn", "linear_probe")
"""The demo compares its ranking with these: methods by features, by source labels, and by topology with and without
source data, and plain baselines."""
