"""`--one_shot_infer`: what a checkpoint hears in one audio file."""

from pathlib import Path

from speech import model_files
from speech.alphabet import Alphabet
from speech.clips.audio import ClipReader
from speech.clips.manifest import Clip, Manifest
from speech.decoding.beam_search import ctc_beam_search_decoder
from speech.decoding.scorer import Scorer
from speech.model_files import Kind
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
    named = Alphabet.load(alphabet_path) if alphabet_path else None
    model = model_files.open(checkpoint, kinds=(Kind.CHECKPOINT,), load=load, alphabet=named)
    alphabet, clip = model.alphabet, Clip(audio.name, 0, "")
    reader = ClipReader(Manifest(audio, [clip]), model.geometry.audio_sample_rate)
    (emissions,) = BatchedModel(model.geometry, model.weights).emissions([reader.samples(clip)])  # [T, n_classes]
    scorer = Scorer(lm_alpha, lm_beta, scorer_path, alphabet) if scorer_path else None
    return ctc_beam_search_decoder(emissions, alphabet, beam_width, scorer=scorer)[0].transcript
