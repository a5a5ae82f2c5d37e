"""The build_scorer step from a shell.

It takes the command lines of the peers' generate_lm.py and generate_scorer_package, each by itself, and both in one.
"""

from dataclasses import dataclass
from pathlib import Path

from components.build_scorer import step
from components.build_scorer.settings import BuildScorerSettings
from speech.alphabet import Alphabet
from speech.artifacts import ALPHABET, Corpus, ExternalScorer
from speech.errors import InputError
from speech.ownership import written
from speech.settings import command, setting


@dataclass(frozen=True)
class BuildScorerCommand(BuildScorerSettings):
    """The settings, and the paths that the pipeline would pass."""

    input_txt: tuple[str, ...] = setting(
        (), "text files, one sentence a line; also .gz, also s3:// URIs", group="Input and output", metavar="FILE"
    )
    train_files: tuple[str, ...] = setting((), "CSVs whose transcripts are text")
    corpus: str = setting(
        "", "folder of an imported corpus: the transcripts of its training set are text", metavar="FOLDER"
    )
    output_dir: str = setting("", "folder or s3:// prefix that takes the scorer, the vocabulary and lm.binary")
    alphabet: str = setting("", "alphabet file of the model", metavar="FILE")
    checkpoint: str = setting("", "folder of the model or checkpoint, for its alphabet", metavar="FOLDER")
    lm: str = setting(
        "",
        "package this KenLM binary (built with -v) instead of estimating one",
        group="Packaging a language model that is there",
        metavar="FILE",
    )
    vocab: str = setting("", "words for --lm, white space between", metavar="FILE")
    package: str = setting("", "scorer to write from --lm", metavar="FILE")


def run(settings: BuildScorerCommand) -> None:
    """Package a given language model, or estimate one, with a scorer around it if the alphabet is known."""
    if settings.lm or settings.vocab or settings.package:
        _package(settings)
        return
    csvs = list(settings.train_files)
    if settings.corpus:
        corpus = Corpus.open(settings.corpus)
        corpus.check(("train.csv", ALPHABET))
        csvs.append(str(corpus.csv("train")))
    sources = step.TextSources(settings.input_txt, tuple(map(Path, csvs)))
    if not (sources.texts or sources.csvs):
        raise InputError("no text: give --input_txt, --train_files or --corpus")
    if not settings.output_dir:
        raise InputError("--output_dir is missing: `python -m components.build_scorer --help` lists the flags")
    alphabet = _alphabet(settings)
    names, record = [ExternalScorer.LANGUAGE_MODEL, step.vocabulary_name(settings.top_k)], step.LANGUAGE_MODEL_RECORD
    if alphabet is not None:
        names, record = [*names, ALPHABET, ExternalScorer.SCORER], ExternalScorer.MODEL
    with written(step.place_of(settings.output_dir), [*names, record], record) as folder:
        if alphabet is not None:
            step.run(settings, sources, alphabet, folder, keep_binary=True)
        else:
            path = step.build_language_model(settings, sources, folder)
    if alphabet is None:
        where = f"{settings.output_dir.rstrip('/')}/{path.name}"
        print(f"{where}: a language model; with --alphabet or --checkpoint it would be a scorer")


def _package(settings: BuildScorerCommand) -> None:
    for flag in ("lm", "vocab", "package"):
        if not getattr(settings, flag):
            raise InputError(f"--{flag} is missing: packaging takes --lm, --vocab and --package")
    vocabulary = step.package(
        settings, Path(settings.lm), Path(settings.vocab), _alphabet(settings), Path(settings.package)
    )
    refused = f", {len(vocabulary.refused)} that the alphabet cannot spell are left out" if vocabulary.refused else ""
    print(f"{settings.package}: {len(vocabulary.words)} words{refused}")


def _alphabet(settings: BuildScorerCommand) -> Alphabet | None:
    if settings.alphabet:
        return Alphabet.load(settings.alphabet)
    if settings.checkpoint:
        return step.alphabet_in(Path(settings.checkpoint))
    if settings.bytes_output_mode:
        return Alphabet.bytes_output_mode()
    return Corpus.open(settings.corpus).alphabet if settings.corpus else None


def main() -> None:
    """Entry point."""
    command(
        BuildScorerCommand,
        run,
        prog="python -m components.build_scorer",
        usage="(--corpus FOLDER | --train_files FILE ... | --input_txt FILE ...) --output_dir FOLDER\n"
        "--lm FILE --vocab FILE --package FILE",
        description="Build a scorer (language model and vocabulary) from text, or package a given language model.",
    )


if __name__ == "__main__":
    main()
