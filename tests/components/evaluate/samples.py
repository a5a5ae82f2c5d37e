"""Samples for the tests of what is made of them."""

from components.evaluate.score.samples import Sample
from speech.metrics import character_errors, word_errors


def sample(reference: str, hypothesis: str, *, name: str = "", loss: float | None = 1.0, **known: object) -> Sample:
    """A measured clip without audio."""
    return Sample(
        set_name=str(known.get("set_name", "test")),
        wav_filename=name or f"{reference}.wav",
        speaker=str(known.get("speaker", "")),
        traits=dict(known.get("traits", {})),  # type: ignore[call-overload]
        duration_s=float(known.get("duration_s", 1.0)),  # type: ignore[arg-type]
        reference=reference,
        hypothesis=hypothesis,
        words=word_errors(reference, hypothesis),
        characters=character_errors(reference, hypothesis),
        loss=loss,
    )
