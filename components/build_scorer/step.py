"""Text -> language model -> scorer."""

import contextlib
import itertools
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from components.build_scorer.estimate import Estimate, estimate
from components.build_scorer.settings import AUTO, BuildScorerSettings
from components.build_scorer.spaces import placeholder, put_space
from components.build_scorer.text import PreparedText, prepare, read_lines, split_code_points
from speech.alphabet import Alphabet
from speech.artifacts import (
    ALPHABET,
    Checkpoint,
    Corpus,
    ExportedModel,
    ExternalScorer,
    describe_files,
    names_of_scorer,
    place_of_scorer,
    serving_alphabet,
    write_sidecar,
)
from speech.clips.manifest import read_manifest
from speech.decoding.language_model import read_layout
from speech.decoding.packaging import Vocabulary, looks_like_code_points, write_scorer
from speech.decoding.query import LanguageModelReader
from speech.decoding.scorer import (
    CHARACTERS,
    CLIENT_LABELS,
    CODE_POINTS,
    WORDS,
    Scorer,
    fits_clients,
    require_word_ends,
)
from speech.errors import InputError
from speech.metrics import unspaced_characters, words_are_parted
from speech.ownership import Place, listed
from speech.storage.files import atomic_path, write_text
from speech.storage.scratch import scratch_in
from speech.storage.stores import fetched

SHOWN = 5
LANGUAGE_MODEL_RECORD = "lm.json"  # beside a language model without a scorer: what was written


@dataclass(frozen=True)
class TextSources:
    """Where the sentences come from: text files (also .gz, also s3://) and the transcripts of CSVs."""

    texts: tuple[str, ...] = ()
    csvs: tuple[Path, ...] = ()


def run(
    settings: BuildScorerSettings, sources: TextSources, alphabet: Alphabet, folder: Path, *, keep_binary: bool = False
) -> ExternalScorer:
    """Build a scorer for models with `alphabet` into `folder`; `keep_binary` leaves the language model beside it."""
    alphabet = choose_alphabet(settings, alphabet)
    if settings.scorer_units == WORDS and not alphabet.bytes_mode:
        require_word_ends(alphabet, folder / ExternalScorer.SCORER)
    place = place_of(folder)
    reused = [ALPHABET] if serving_alphabet(place, alphabet) else []
    also = [vocabulary_name(settings.top_k), *([ExternalScorer.LANGUAGE_MODEL] if keep_binary else ())]
    names = [name for name in (ExternalScorer.SCORER, ALPHABET, *also) if name not in reused]
    with place.writing([*names, ExternalScorer.MODEL]):
        with scratch_in(folder, ".scorer-") as scratch:
            model = language_model(settings, sources, alphabet, scratch)
            package = scratch / ExternalScorer.SCORER
            words = [" " if word == model.space else word for word in model.vocabulary]
            weights = (settings.default_alpha, settings.default_beta)
            vocabulary = write_scorer(model.estimate.binary, words, alphabet, package, *weights, units=model.units)
            Scorer(None, None, package, alphabet)  # what was written can be read
            place.remove([ExternalScorer.MODEL, *sorted(place.own - {*names, ExternalScorer.MODEL})])
            _move(package, folder / ExternalScorer.SCORER)
            write_vocabulary(folder, settings.top_k, vocabulary.words)
            if keep_binary:
                _move(model.estimate.binary, folder / ExternalScorer.LANGUAGE_MODEL)
        if not reused:
            alphabet.save(folder / ALPHABET)
        files = describe_files(folder, [ExternalScorer.SCORER, ALPHABET], reused)
        description = {**_describe(settings, model, vocabulary, alphabet), "also": also, "files": files}
        write_sidecar(folder, ExternalScorer.MODEL, description)
    for line in summary(description):
        print(line, flush=True)
    return ExternalScorer.open(folder)


def build_language_model(settings: BuildScorerSettings, sources: TextSources, folder: Path) -> Path:
    """What the peers' generate_lm.py makes: lm.binary and the vocabulary, for a package to be made later."""
    names = [vocabulary_name(settings.top_k), ExternalScorer.LANGUAGE_MODEL]
    with place_of(folder).writing([*names, LANGUAGE_MODEL_RECORD]):
        with scratch_in(folder, ".scorer-") as scratch:
            bytes_mode = Alphabet.bytes_output_mode() if settings.bytes_output_mode else None
            model = language_model(settings, sources, bytes_mode, scratch)
            write_vocabulary(folder, settings.top_k, [word for word in model.vocabulary if word != model.space])
            _move(model.estimate.binary, folder / ExternalScorer.LANGUAGE_MODEL)
        write_sidecar(folder, LANGUAGE_MODEL_RECORD, {"also": names})
    return folder / ExternalScorer.LANGUAGE_MODEL


def place_of(folder: str | Path) -> Place:
    """A folder or `s3://` prefix that takes a scorer or a language model, beside whatever else it holds."""
    place = place_of_scorer(folder, "--output_dir", _own_names)
    place.records = {**place.records, LANGUAGE_MODEL_RECORD: listed}
    return place


def _own_names(description: Mapping[str, Any]) -> list[str]:
    """What a scorer's description lists; those of earlier versions did not name the vocabulary and lm.binary."""
    names = names_of_scorer(description)
    if names and "also" not in description and isinstance(settings := description.get("settings"), dict):
        names += [vocabulary_name(settings.get("top_k", 0)), ExternalScorer.LANGUAGE_MODEL]
    return names


def package(
    settings: BuildScorerSettings, binary: Path, vocabulary: Path, alphabet: Alphabet | None, target: Path
) -> Vocabulary:
    """What the peers' generate_scorer_package makes, of a binary and a file of words."""
    words = [word for line in read_lines(vocabulary) for word in line.split()]
    bytes_mode = settings.bytes_output_mode
    if bytes_mode is None:
        bytes_mode = alphabet.bytes_mode if alphabet else looks_like_code_points(words)
    if bytes_mode:
        alphabet = Alphabet.bytes_output_mode()
    elif alphabet is None or alphabet.bytes_mode:
        raise InputError("--alphabet is missing: a scorer that is not for bytes output mode needs the model's alphabet")
    with_space, units = _knows_the_space(binary), settings.scorer_units
    if units == AUTO:
        units = CHARACTERS if with_space or not alphabet.has_space else WORDS
    words += [" "] if with_space and units == CHARACTERS else []
    weights = (settings.default_alpha, settings.default_beta)
    written = write_scorer(binary, words, alphabet, target, *weights, units=units)
    Scorer(None, None, target, alphabet)  # what was written can be read
    return written


def choose_alphabet(settings: BuildScorerSettings, alphabet: Alphabet) -> Alphabet:
    """The model's alphabet, or bytes if that is demanded; raises InputError if the two contradict each other."""
    demanded = settings.bytes_output_mode
    if demanded is None or demanded == alphabet.bytes_mode:
        return alphabet
    if demanded:
        return Alphabet.bytes_output_mode()
    raise InputError("--force_bytes_output_mode false: the model writes bytes, so its scorer has to be for bytes too")


@dataclass(frozen=True)
class LanguageModel:
    """An estimated language model and the text behind it."""

    text: PreparedText
    vocabulary: Sequence[str]
    estimate: Estimate
    space: str  # where the units are single characters: what stands for the space in `vocabulary`
    units: str


def language_model(
    settings: BuildScorerSettings, sources: TextSources, alphabet: Alphabet | None, scratch: Path
) -> LanguageModel:
    """Estimate the language model of all sentences, for an alphabet if it is known; the binary stays in `scratch`."""
    lines = itertools.chain.from_iterable(_sentences(sources, scratch))
    text = prepare(lines, scratch / "text.txt", keep_case=settings.keep_case)
    units = choose_units(settings, alphabet, text)
    space = ""
    if units != WORDS:
        if alphabet is None or alphabet.bytes_mode or alphabet.has_space:
            code_points = set("".join(text.counts))
            space = placeholder(code_points, _buckets(settings, len(code_points)))
        text = split_code_points(text, scratch / "code_points.txt", space)
    vocabulary = text.vocabulary(settings.top_k)
    estimated = estimate(settings, text, vocabulary, scratch)
    text.path.unlink()
    if space in vocabulary:
        put_space(estimated.binary, space)
    return LanguageModel(text, vocabulary, estimated, space, units)


def choose_units(settings: BuildScorerSettings, alphabet: Alphabet | None, text: PreparedText) -> str:
    """What the language model is of: as the settings say, else as the alphabet and the text demand."""
    if alphabet is not None and alphabet.bytes_mode:
        return CODE_POINTS
    if settings.scorer_units != AUTO:
        return settings.scorer_units
    if alphabet is None:
        return WORDS
    characters = sum((len(word) + 1) * count for word, count in text.counts.items())
    unspaced = sum(unspaced_characters(word) * count for word, count in text.counts.items())
    return WORDS if words_are_parted(alphabet.has_space, text.words, characters, unspaced) else CHARACTERS


def _buckets(settings: BuildScorerSettings, code_points: int) -> int:
    """The size of the vocabulary's hash table in a probing model: of the code points, the space, <unk>, <s>, </s>."""
    if settings.binary_type != "probing":
        return 0
    words = min(code_points + 1, settings.top_k) + 3
    return max(words + 1, int(np.float32(1.5) * np.float32(words)))


def _sentences(sources: TextSources, scratch: Path) -> Iterator[Iterable[str]]:
    for number, text in enumerate(sources.texts):
        yield read_lines(fetched(text, scratch, f"{number}-{Path(text).name}"))
    for csv in sources.csvs:
        yield (clip.transcript for clip in read_manifest(csv))


def _knows_the_space(binary: Path) -> bool:
    if not binary.is_file():
        return False
    data = np.memmap(binary, np.uint8, "r")
    return LanguageModelReader(data, read_layout(data, binary)).index(b" ") != 0


def _move(source: Path, target: Path) -> None:
    with atomic_path(target) as temporary:
        shutil.move(source, temporary)


def write_vocabulary(folder: Path, top_k: int, words: Sequence[str]) -> Path:
    """The vocabulary under the peers' name, one word a line; the space of a bytes-mode scorer cannot be in it."""
    path = folder / vocabulary_name(top_k)
    write_text(path, "".join(f"{word}\n" for word in words if word != " "))
    return path


def vocabulary_name(top_k: int) -> str:
    """The peers' name of the vocabulary."""
    return f"vocab-{top_k}.txt"


def _describe(
    settings: BuildScorerSettings, model: LanguageModel, vocabulary: Vocabulary, alphabet: Alphabet
) -> dict[str, Any]:
    counts = model.text.counts
    words = [model.space if word == " " else word for word in vocabulary.words]
    return {
        "settings": {field.name: getattr(settings, field.name) for field in fields(BuildScorerSettings)},
        "bytes_output_mode": alphabet.bytes_mode,
        "units": model.units,
        "for_clients": fits_clients(model.units, alphabet),
        "running_words": model.text.words,
        "different_words": len(counts),
        "vocabulary": len(words),
        "covered": sum(counts[word] for word in words) / model.text.words,
        "not_spelled": len(vocabulary.refused),
        "not_spelled_share": sum(counts[word] for word in vocabulary.refused) / model.text.words,
        "not_spelled_most_frequent": vocabulary.refused[:SHOWN],
        "ngrams": model.estimate.ngrams,
        "discount_fallback": model.estimate.discount_fallback,
        "default_alpha": settings.default_alpha,
        "default_beta": settings.default_beta,
    }


def summary(description: dict[str, Any]) -> list[str]:
    """What the log says of a scorer."""
    unit = description["units"]
    size = description["files"][ExternalScorer.SCORER]["bytes"]
    lines = [
        f"{ExternalScorer.SCORER}: {size:,} bytes, {description['vocabulary']:,} {unit} "
        f"that make {description['covered']:.2%} of {description['running_words']:,} in the text",
        "n-grams: " + ", ".join(f"{count:,} of {order}" for order, count in enumerate(description["ngrams"], 1)),
    ]
    if description["not_spelled"]:
        lines.append(
            f"note: the model's alphabet cannot spell {description['not_spelled']:,} {unit} "
            f"({description['not_spelled_share']:.2%} of the text), such as "
            f"{' '.join(description['not_spelled_most_frequent'])}"
        )
    if not description["for_clients"]:
        lines.append(
            f"note: the clients of DeepSpeech and Coqui STT score characters of alphabets up to {CLIENT_LABELS} "
            "symbols alone: this scorer is for the decoder here; for theirs, import with --alphabet utf8"
        )
    return lines


def alphabet_in(folder: Path) -> Alphabet:
    """The alphabet of a model: of an exported one, a checkpoint, or any folder with an alphabet.txt."""
    for name in (ExportedModel.MODEL, Checkpoint.FLAGS):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # DeepSpeech's flags.txt is no JSON
            if json.loads((folder / name).read_text(encoding="utf-8")).get("bytes_output_mode"):
                return Alphabet.bytes_output_mode()
    path = folder / ALPHABET
    if path.is_file() and path.read_bytes() == Alphabet.bytes_output_mode().to_text().encode("utf-8"):
        return Alphabet.bytes_output_mode()
    if not path.is_file():
        raise InputError(f"{folder}: no {ALPHABET} in it: give --alphabet, the file that the model was trained with")
    return Alphabet.load(path)


def run_in_pipeline(
    settings: BuildScorerSettings, corpus: Path, model: Path, texts: str, transcripts: bool, folder: Path
) -> ExternalScorer:
    """The same with what a pipeline passes: artifacts, and text URIs with commas between."""
    uris = tuple(text.strip() for text in texts.split(",") if text.strip())
    opened = Corpus.open(corpus)
    opened.check()
    csvs = (opened.csv("train"),) if transcripts else ()
    if not (uris or csvs):
        raise InputError("no text for the scorer: give scorer_text_uri, or leave scorer_transcripts on")
    return run(settings, TextSources(uris, csvs), alphabet_in(model), folder)


def adopt(uri: str, model: Path, folder: Path) -> ExternalScorer | None:
    """Take a scorer that is there already, if it fits the model; without one, leave a note that says so."""
    place = place_of(folder)
    if not uri:
        with place.writing([ExternalScorer.NONE]):
            write_text(folder / ExternalScorer.NONE, ExternalScorer.NONE_TEXT)
        return None
    alphabet = alphabet_in(model)
    place.check([ExternalScorer.SCORER, ALPHABET, ExternalScorer.MODEL])
    with atomic_path(folder / ExternalScorer.SCORER) as temporary:
        if (source := fetched(uri, temporary.parent, temporary.name)) != temporary:
            if not source.is_file():
                raise InputError(f"{uri}: no such scorer: expected a .scorer file, local or s3://")
            shutil.copyfile(source, temporary)
        try:
            opened = Scorer(None, None, temporary, alphabet)
        except InputError as error:
            raise InputError(str(error).replace(str(temporary), uri)) from error
        description = {
            "source": uri,
            "bytes_output_mode": alphabet.bytes_mode,
            "units": opened.units,
            "for_clients": fits_clients(opened.units, alphabet),
            "default_alpha": opened.default_alpha,
            "default_beta": opened.default_beta,
        }
    alphabet.save(folder / ALPHABET)
    files = describe_files(folder, [ExternalScorer.SCORER, ALPHABET])
    write_sidecar(folder, ExternalScorer.MODEL, {**description, "files": files})
    return ExternalScorer.open(folder)


def headline(scorer: ExternalScorer | None) -> dict[str, float]:
    """The numbers that a pipeline shows of a scorer."""
    if scorer is None:
        return {}
    known = ("vocabulary", "covered", "running_words")
    numbers = {name: float(scorer.description[name]) for name in known if name in scorer.description}
    return {**numbers, "megabytes": scorer.description["files"][ExternalScorer.SCORER]["bytes"] / 1e6}
