"""Models of several formats, run by TensorFlow and TensorFlow Lite."""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from speech.errors import InputError
from speech.model_files import Kind, Model
from speech.nn.runners.checkpoint_model import BatchedModel
from speech.nn.runners.frozen import FrozenModel
from speech.nn.runners.tflite_model import TFLiteModel


class Runner(Protocol):
    """Something that turns clips into emissions."""

    def emissions(self, clips: Sequence[np.ndarray]) -> list[np.ndarray]:
        """int16 samples `[N]` of each clip -> probabilities `[T, n_classes]` of each, blank last."""
        ...


RUNNERS: dict[Kind, Callable[[Model], Runner]] = {
    Kind.CHECKPOINT: lambda model: BatchedModel(model.geometry, model.weights),
    Kind.FROZEN: FrozenModel,
    Kind.MAPPED: FrozenModel,
    Kind.TFLITE: TFLiteModel,
}


def open_runner(model: Model) -> Runner:
    """The model in the runtime of its clients. Raises InputError if that refuses it, or is another room's."""
    if model.kind not in RUNNERS:
        raise InputError(f"{model.path}: {model.kind.value}: TensorFlow runs none")
    return RUNNERS[model.kind](model)
