"""What is measured: a model of any format, with its alphabet settled, and the ways to run it."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from components.evaluate.settings import EvaluateSettings
from speech import model_files
from speech.alphabet import Alphabet
from speech.artifacts import ALPHABET
from speech.errors import InputError
from speech.extras import require
from speech.geometry import Geometry
from speech.model_files import Kind, Model, alphabets
from speech.model_files.variables import NoFloatWeights
from speech.storage.files import sha256

if TYPE_CHECKING:
    from speech.nn.runners.runtimes import Runner

USUAL_BEAM_WIDTH = 500  # of the clients, and of the peers' evaluation


@dataclass(frozen=True)
class Subject:
    """A model under measurement."""

    path: Path
    kind: str
    geometry: Geometry
    alphabet: Alphabet
    sha256: str
    runtime: "Callable[[], Runner]"  # the file itself, in its own runtime
    beam_width: int = USUAL_BEAM_WIDTH  # of the clients' search
    # Its weights, float32 by DeepSpeech's variable names, where they say all about it; to be run in batches.
    weights: Callable[[], Mapping[str, np.ndarray] | None] | None = None


def open_subject(settings: EvaluateSettings, path: Path) -> Subject:
    """Open a model file, or the first known one of a folder; raises InputError if it is incomplete or unknown."""
    model = model_files.open(path, load=settings.load_evaluate)
    require("evaluate", modules=("openvino" if model.kind is Kind.IR else "tensorflow",))
    alphabet = _alphabet(settings, model)
    facts = {**model.sidecar, **model.metadata}
    file = Path(f"{model.path}.data-00000-of-00001") if model.kind is Kind.CHECKPOINT else model.path
    return Subject(
        file,
        model.kind.value,
        model.geometry,
        alphabet,
        _digest(file),
        lambda: _runner(model),
        int(facts.get("beam_width", USUAL_BEAM_WIDTH)),
        None if model.kind is Kind.CHECKPOINT else lambda: _weights(model),  # its own runtime runs it in batches
    )


def _digest(file: Path) -> str:
    """Of an IR, that of network and weights."""
    if file.suffix != ".xml":
        return sha256(file)
    return hashlib.sha256(f"{sha256(file)}{sha256(file.with_suffix('.bin'))}".encode("ascii")).hexdigest()


def _runner(model: Model) -> "Runner":
    if model.kind is Kind.IR:
        from speech.ir.first_run import try_out
        from speech.ir.runner import IrRunner

        try_out(model)
        return IrRunner(model, precision="f32", batches=True)
    from speech.nn.runners.runtimes import open_runner

    return open_runner(model)


def _weights(model: Model) -> Mapping[str, np.ndarray] | None:
    try:
        return model.weights
    except NoFloatWeights:
        return None


def _alphabet(settings: EvaluateSettings, model: Model) -> Alphabet:
    """The one of the flags, or the model's own. Raises InputError where they, or the file beside it, differ."""
    named = _named_alphabet(settings, model)
    if model.inside is None:
        return named or model.alphabet
    if named not in (None, model.inside):
        raise InputError(
            f"{_flag(settings)}: its symbols differ from those inside {model.path}: leave the flag out, the model "
            "carries its alphabet"
        )
    if alphabets.beside(model.path, model.geometry) not in (None, model.inside):
        raise InputError(
            f"{model.path.parent / ALPHABET}: its symbols differ from those inside {model.path.name}: export the "
            "model again"
        )
    return model.inside


def _named_alphabet(settings: EvaluateSettings, model: Model) -> Alphabet | None:
    if settings.alphabet_config_path and not settings.bytes_output_mode:
        alphabet = Alphabet.load(settings.alphabet_config_path)
    elif settings.bytes_output_mode and model.inside is None:
        alphabet = Alphabet.bytes_output_mode()
    else:
        return None
    if len(alphabet) != model.geometry.n_labels:
        raise InputError(
            f"{_flag(settings)}: {len(alphabet)} symbols, but {model.path} has {model.geometry.n_labels} labels and "
            "the blank"
        )
    return alphabet


def _flag(settings: EvaluateSettings) -> str:
    return "--bytes_output_mode" if settings.bytes_output_mode else settings.alphabet_config_path
