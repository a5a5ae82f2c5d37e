"""Which clips of a manifest can be used, as far as their transcripts and their files' headers tell."""

import numpy as np

from speech.alphabet import Alphabet
from speech.clips.audio import WAV_HEADER_BYTES
from speech.clips.manifest import Clip, Manifest
from speech.clips.tally import FOREIGN, NO_TRANSCRIPT, OTHER_RATE, TOO_LONG, Tally
from speech.decoding.ctc import frames_needed
from speech.geometry import Geometry


def samples_of(manifest: Manifest, sample_rate: int) -> np.ndarray:
    """Samples of each clip at `sample_rate`, `[N]`: by its file, else by its duration or size in the manifest."""
    seconds = manifest.survey.seconds
    recorded = np.fromiter((clip.duration_s for clip in manifest), np.float64, len(manifest))
    sizes = np.fromiter((clip.wav_filesize for clip in manifest), np.int64, len(manifest))
    seconds = np.where(np.isnan(seconds) & (recorded > 0), recorded, seconds)
    by_size = np.maximum(0, sizes - WAV_HEADER_BYTES) // 2
    known = ~np.isnan(seconds)
    return np.where(known, np.rint(np.where(known, seconds, 0.0) * sample_rate).astype(np.int64), by_size)


def trainable(
    manifest: Manifest, alphabet: Alphabet, geometry: Geometry, tally: Tally, *, resampling: bool = True
) -> np.ndarray:
    """The positions of the clips that can be trained on; the others are noted in `tally`, which lists all of them."""
    n_frames = geometry.n_frames(samples_of(manifest, geometry.audio_sample_rate), np.maximum).tolist()
    lengths_known = (~np.isnan(manifest.survey.seconds)).tolist()
    unusable = _unreadable(manifest, geometry.audio_sample_rate, resampling)
    for position, (clip, frames, known) in enumerate(zip(manifest, n_frames, lengths_known, strict=True)):
        if reason := _wrong_text(clip, alphabet, frames, known):
            unusable[position] = reason
    return _noted(manifest, unusable, tally)


def readable(manifest: Manifest, sample_rate: int, tally: Tally, *, resampling: bool = True) -> np.ndarray:
    """The positions of the clips that can be heard, whatever was said; the others are noted in `tally`."""
    return _noted(manifest, _unreadable(manifest, sample_rate, resampling), tally)


def _unreadable(manifest: Manifest, sample_rate: int, resampling: bool) -> dict[int, str]:
    """Position -> reason."""
    rates = manifest.survey.rates_hz
    other_rate = [] if resampling else np.flatnonzero((rates != 0) & (rates != sample_rate)).tolist()
    return {**dict.fromkeys(other_rate, OTHER_RATE), **manifest.survey.reasons}


def _wrong_text(clip: Clip, alphabet: Alphabet, frames: int, length_known: bool) -> str:
    text = clip.transcript
    if not text:
        return NO_TRANSCRIPT
    if alphabet.missing(text):
        return FOREIGN
    # No label needs more than two frames, and no character has more than four bytes: most need no exact count.
    if 2 * len(text) <= frames and (text.isascii() or 8 * len(text) <= frames):
        return ""
    return TOO_LONG if length_known and frames_needed(alphabet.encode(text)) > frames else ""


def _noted(manifest: Manifest, unusable: dict[int, str], tally: Tally) -> np.ndarray:
    kept = np.ones(len(manifest), bool)
    for position in sorted(unusable):
        tally.add(unusable[position], tally.listed + position, manifest.clips[position].wav_filename)
        kept[position] = False
    tally.listed += len(manifest)
    return np.flatnonzero(kept)
