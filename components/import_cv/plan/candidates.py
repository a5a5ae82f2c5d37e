"""The clips of a table as three numbers each: whose, which sentence, which file. Equal in every release.

A number is a hash of the text alone, so that what is decided by it stays decided when other clips come or go.
"""

import hashlib
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from components.import_cv.plan.labels import LabelRules
from components.import_cv.plan.reasons import Reason
from components.import_cv.read.tsv import read_tsv
from speech.metrics import NORMALIZATIONS

NEEDED = ("path", "sentence", "client_id")
UNKNOWN_SPEAKER = 2**64 - 1  # of rows without a client_id: in no share of the speakers, which count from 0
_comparable = NORMALIZATIONS["letters"]


class Identities:
    """Texts to numbers from 0 to 2**64 - 1, evenly spread; another `salt` spreads them otherwise."""

    def __init__(self, salt: str) -> None:
        self._key = hashlib.sha256(salt.encode("utf-8")).digest()
        self._speakers: dict[str, int] = {}

    def speaker(self, client_id: str) -> int:
        """Of a client_id."""
        if not client_id:
            return UNKNOWN_SPEAKER
        if client_id not in self._speakers:
            self._speakers[client_id] = self._number(b"speaker", client_id)
        return self._speakers[client_id]

    def sentence(self, text: str) -> int:
        """Of a sentence or transcript; case, punctuation and spaces make no difference."""
        return self._number(b"sentence", _comparable(text) or text)

    def clip(self, path: str) -> int:
        """Of a clip: Common Voice's names without folder and suffix, in which releases differ; other paths whole."""
        name = path.rpartition("/")[2]
        return self._number(b"clip", name.partition(".")[0] if name.startswith("common_voice_") else path)

    def _number(self, kind: bytes, text: str) -> int:
        data = text.encode("utf-8", "surrogatepass")
        return int.from_bytes(hashlib.blake2b(data, digest_size=8, key=self._key, person=kind).digest(), "big")


@dataclass(frozen=True)
class Candidates:
    """The usable rows of some tables; columns `[N]` of numbers as `Identities` gives them."""

    speakers: np.ndarray
    sentences: np.ndarray
    clips: np.ndarray

    @classmethod
    def read(cls, paths: Iterable[Path], rules: LabelRules, identities: Identities) -> "Candidates":
        """The rows whose sentence the label rules accept, each clip once."""
        columns = array("Q"), array("Q"), array("Q")
        for path in paths:
            for _, reason, (source, text, client_id) in read_tsv(path, NEEDED):
                if reason is Reason.ACCEPTED and source:
                    reason, transcript = rules(text, counted=False)
                    if reason is Reason.ACCEPTED:
                        columns[0].append(identities.speaker(client_id))
                        columns[1].append(identities.sentence(transcript))
                        columns[2].append(identities.clip(source))
        speakers, sentences, clips = (np.frombuffer(column, np.uint64) for column in columns)
        _, first = np.unique(clips, return_index=True)
        first.sort()
        return cls(speakers[first], sentences[first], clips[first])

    def __len__(self) -> int:
        return len(self.clips)

    def select(self, chosen: np.ndarray) -> "Candidates":
        """The rows that a mask or an index array names."""
        return Candidates(self.speakers[chosen], self.sentences[chosen], self.clips[chosen])

    def known_speakers(self) -> np.ndarray:
        """The distinct speakers."""
        speakers = np.unique(self.speakers)
        return speakers[speakers != UNKNOWN_SPEAKER]

    def shares_speaker(self, others: "Candidates") -> np.ndarray:
        """`[N]`: whose speaker is one of `others`."""
        return np.isin(self.speakers, others.known_speakers())

    def shares_sentence(self, others: "Candidates") -> np.ndarray:
        """`[N]`: whose sentence is one of `others`."""
        return np.isin(self.sentences, others.sentences)

    def shares_clip(self, others: "Candidates") -> np.ndarray:
        """`[N]`: which clips are among `others`."""
        return np.isin(self.clips, others.clips)


def nothing() -> Candidates:
    """No rows."""
    empty = np.zeros(0, np.uint64)
    return Candidates(empty, empty, empty)
