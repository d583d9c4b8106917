"""The accuracy of a candidate that classifies by the names of the classes, without any training, through the store."""

from __future__ import annotations

import logging

from modelselect.candidates.text_classifier import prompts_for
from modelselect.errors import contained
from modelselect.evaluation.gathering import Gatherer
from modelselect.evaluation.keys import Keys
from modelselect.evaluation.loading import Loader
from modelselect.host.defaults import CLASSIFICATION
from modelselect.utils.class_labels import UNLABELLED
from modelselect.utils.process_state import INTERPRETER_LOCK

_LOGGER = logging.getLogger(__name__)


def zero_shot_accuracy(loader: Loader, gatherer: Gatherer) -> float | None:
    """The share of the probe's labelled rows that the candidate classifies right by the names of their classes.

    None if the task is another one, if the classes are numbers, or if the candidate does not compare rows with texts.
    A candidate that fails here has no such accuracy, and keeps its scores.
    """
    context, probe = loader.context, loader.context.probe
    named = context.task is not None and context.task.name == CLASSIFICATION
    if not named or probe.labels is None or not context.prompts or loader.is_own or loader.is_forbidden:
        return None
    names = [name for name in context.whole.class_names if isinstance(name, str)]
    if len(names) < 2 or len(names) != len(context.whole.class_names) or all(name.isdigit() for name in names):
        return None
    store, key = context.store, Keys(loader).zero_shot(names)
    if (entry := store.get(key)) is not None:
        return entry.metadata["accuracy"]  # type: ignore[no-any-return]
    try:
        with contained(), INTERPRETER_LOCK:
            classifier = loader.zoo.text_classifier(
                loader.candidate, [prompts_for(name, context.prompts) for name in names]
            )
            if classifier is None:
                return None
            predicted = classifier.logits(gatherer.features()).argmax(axis=1)
    except Exception as error:  # a plugin may raise anything; only this number is lost
        _LOGGER.warning("%s has no accuracy by the names of the classes: %s", loader.candidate.id, error)
        return None
    known = probe.labels != UNLABELLED
    if not known.any():
        return None
    accuracy = float((predicted == probe.labels)[known].mean())
    store.put(key, {}, {"accuracy": accuracy})
    return accuracy
