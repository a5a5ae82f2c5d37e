"""From a sentence of the release to a transcript: the label rules of DeepSpeech's importer, ours, or a locale's own."""

import importlib.util
import re
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path

from components.import_cv.plan.reasons import Reason
from components.import_cv.rules.rulebook import Rulebook
from speech.alphabet import Alphabet
from speech.errors import InputError

REFUSED = re.compile(r"[0-9(<\[\]&*{]")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
SPACES = re.compile(" {2,}")
TO_SPACES = str.maketrans("-_", "  ")
REMOVED = str.maketrans("", "", '.,;?!:"')

Validator = Callable[[str], str | None]


def default_label(sentence: str) -> str | None:
    """DeepSpeech's `validate_label` for English: lower-case, without punctuation; None for digits and brackets."""
    if REFUSED.search(sentence):
        return None
    if "-" in sentence or "_" in sentence or "  " in sentence:
        sentence = SPACES.sub(" ", sentence.translate(TO_SPACES))
    return sentence.translate(REMOVED).strip().lower()


def to_base_letters(sentence: str) -> str:
    """Letters without their diacritics; what has no ASCII form is dropped."""
    return unicodedata.normalize("NFKD", sentence.strip()).encode("ascii", "ignore").decode("ascii")


def load_validator(path: str | Path) -> Validator:
    """The `validate_label` function of a locale's Python file; raises InputError if there is none.

    The file is run, with all that this process may do. So it lies on this machine or in the image: who may write into a
    bucket must not be who may run code.
    """
    if "://" in str(path):
        raise InputError(
            f"--validate_label_locale {path}: expected a local file: it is code, which is run, and is taken from no "
            "object store and no server; put it into the image, or into a folder that is mounted"
        )
    path = Path(path)
    if not path.is_file():
        raise InputError(f"--validate_label_locale {path}: no such file: expected Python with validate_label(sentence)")
    spec = importlib.util.spec_from_file_location(f"validate_label_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise InputError(f"--validate_label_locale {path}: expected a .py file")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.resolve().parent))  # such files import others beside them
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise InputError(f"--validate_label_locale {path}: {type(error).__name__}: {error}") from error
    finally:
        sys.path.remove(str(path.resolve().parent))
    validator = getattr(module, "validate_label", None)
    if not callable(validator):
        raise InputError(f"--validate_label_locale {path}: it defines no function validate_label(sentence)")
    return validator


class LabelRules:
    """Sentence -> transcript, or the reason why not."""

    def __init__(
        self,
        normalize: bool = False,
        alphabet: Alphabet | None = None,
        validator: Validator | None = None,
        rulebook: Rulebook | None = None,
    ) -> None:
        """A `rulebook` takes the place of DeepSpeech's rules, and comes behind a validator."""
        self.normalize = normalize
        self.validator = validator
        self.rulebook = rulebook
        self.limit(alphabet)

    def limit(self, alphabet: Alphabet | None) -> None:
        """Refuse from now on what the alphabet cannot write; what was counted before does not count."""
        self.symbols = None if alphabet is None or alphabet.bytes_mode else frozenset(alphabet.symbols)
        if self.rulebook is not None:
            self.rulebook.reset()

    def __call__(self, sentence: str, counted: bool = True) -> tuple[Reason, str]:
        """The reason (or ACCEPTED) and the transcript; a refused sentence comes back as far as it got.

        Not `counted`: the row is looked at again, or only to know its transcript.
        """
        text = to_base_letters(sentence) if self.normalize else sentence
        if not text.strip():
            return Reason.NO_SENTENCE, sentence
        label: str | None = text
        if self.validator is not None:
            try:
                label = self.validator(text)
            except Exception:  # a stranger's code: whatever it raises concerns this row only
                return Reason.VALIDATOR_FAILED, sentence
        elif self.rulebook is None:
            label = default_label(text)
        if label is None:
            return Reason.INVALID_LABEL, sentence
        if not isinstance(label, str):
            return Reason.VALIDATOR_FAILED, sentence
        if not label.strip():
            return Reason.NO_SENTENCE, sentence
        if self.rulebook is not None:
            reason, label = self.rulebook(label, counted)
            if reason is not Reason.ACCEPTED:
                return reason, label
        if CONTROL.search(label):
            return Reason.CONTROL_CHARACTER, sentence
        if self.symbols is not None and not self.symbols.issuperset(label):
            return Reason.OUTSIDE_ALPHABET, label
        return Reason.ACCEPTED, label
