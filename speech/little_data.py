"""What little data allows, in words: where training from scratch is no use, and where a measured rate means little."""

LITTLE_HOURS = 20.0  # of training clips; a model from scratch needs hundreds
FEW_TEST_CLIPS = 30  # with fewer, resampling them says little about other clips
WIDE_POINTS = 0.1  # width of an error rate's interval from which on most models look alike


def transfer_advice(hours: float, command: str) -> str:
    """Advice for a training from scratch on so many hours; "" where there is enough. `command` starts from English."""
    if hours >= LITTLE_HOURS:
        return ""
    amount = f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.0f} min"
    return (
        f"{amount} of training clips is little: a model from scratch needs hundreds of hours. One that was trained on "
        "English needs far fewer, as only its last layers start anew. With a release checkpoint of DeepSpeech (0.9.3) "
        f"or Coqui STT unpacked: {command}"
    )


def caution(clips: int, interval: tuple[float, float] | list[float] | None) -> str:
    """What an error rate on so many clips does not say; "" where there is nothing to say."""
    if not clips:
        return ""
    if clips == 1:
        return "One test clip: a rate of it says nothing about others."
    if interval is None:
        return f"Few test clips ({clips}): nothing is said about chance." if clips < FEW_TEST_CLIPS else ""
    low, high = interval
    spread = f"between {low:.0%} and {high:.0%}"
    if clips < FEW_TEST_CLIPS:
        return (
            f"{clips} test clips are too few to say how good the model is: on other clips the WER may well be "
            f"{spread}, or beyond that."
        )
    if high - low > WIDE_POINTS:
        return (
            f"The WER is only known to be {spread}: two models whose rates differ by less than "
            f"{100 * (high - low) / 2:.0f} points cannot be told apart on these {clips} clips."
        )
    return ""
