"""Why a row may not be trained on although nothing is wrong with it: dev or test has its clip, speaker or sentence."""

from collections.abc import Sequence
from dataclasses import dataclass

from components.import_cv.plan.candidates import Candidates, Identities
from components.import_cv.plan.reasons import Reason
from components.import_cv.plan.zones import TRAIN, Zones


@dataclass(frozen=True)
class HeldOut:
    """What train has to leave out; every field may be empty. The zones are those of made sets."""

    identities: Identities
    clips: frozenset[int] = frozenset()
    speakers: frozenset[int] = frozenset()
    sentences: frozenset[int] = frozenset()
    speaker_zones: Zones | None = None
    sentence_zones: Zones | None = None

    def reason(self, path: str, client_id: str, transcript: str) -> Reason:
        """ACCEPTED, or why the row stays out."""
        if self.clips and self.identities.clip(path) in self.clips:
            return Reason.HELD_OUT_CLIP
        speaker = self.identities.speaker(client_id)
        if speaker in self.speakers or (self.speaker_zones and self.speaker_zones.of_one(speaker) != TRAIN):
            return Reason.HELD_OUT_SPEAKER
        if not (self.sentences or self.sentence_zones):
            return Reason.ACCEPTED
        sentence = self.identities.sentence(transcript)
        if sentence in self.sentences:
            return Reason.HELD_OUT_SENTENCE
        if self.sentence_zones and self.sentence_zones.of_one(sentence) != TRAIN:
            return Reason.KEPT_ASIDE
        return Reason.ACCEPTED


def clips_of(sets: Sequence[Candidates]) -> frozenset[int]:
    """The clips of some sets."""
    return frozenset(number for one in sets for number in one.clips.tolist())


def speakers_of(sets: Sequence[Candidates]) -> frozenset[int]:
    """Their known speakers."""
    return frozenset(number for one in sets for number in one.known_speakers().tolist())


def sentences_of(sets: Sequence[Candidates]) -> frozenset[int]:
    """Their sentences."""
    return frozenset(number for one in sets for number in one.sentences.tolist())
