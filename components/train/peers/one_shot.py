"""`--one_shot_infer`: what a checkpoint hears in one audio file."""

from pathlib import Path

from speech.alphabet import Alphabet
from speech.clips.audio import ClipReader
from speech.clips.manifest import Clip, Manifest
from speech.decoding.beam_search import ctc_beam_search_decoder
from speech.decoding.scorer import Scorer
from speech.errors import InputError
from speech.nn import snapshots
from speech.nn.runners.checkpoint_model import BatchedModel


def transcribe(
    audio: Path,
    checkpoint: Path,
    *,
    load: str = "auto",
    alphabet_path: str = "",
    scorer_path: str = "",
    lm_alpha: float | None = None,
    lm_beta: float | None = None,
    beam_width: int = 500,
) -> str:
    """The transcript of an audio file by the checkpoint's weights; raises InputError for what cannot be read."""
    bundle, _ = snapshots.load_first(snapshots.find(checkpoint, load))
    own_alphabet = snapshots.find_alphabet(bundle.prefix, bundle.geometry)
    alphabet = Alphabet.load(alphabet_path) if alphabet_path else own_alphabet
    if alphabet is None:
        raise InputError(f"{bundle.prefix}: no alphabet.txt beside the checkpoint: give --alphabet_config_path")
    clip = Clip(audio.name, 0, "")
    reader = ClipReader(Manifest(audio, [clip]), bundle.geometry.audio_sample_rate)
    (emissions,) = BatchedModel(bundle.geometry, bundle.weights).emissions([reader.samples(clip)])  # [T, n_classes]
    scorer = Scorer(lm_alpha, lm_beta, scorer_path, alphabet) if scorer_path else None
    return ctc_beam_search_decoder(emissions, alphabet, beam_width, scorer=scorer)[0].transcript
