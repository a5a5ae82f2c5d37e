"""The import as Kubeflow components: one that imports all, or one that imports a part and one that merges parts."""

from typing import List  # noqa: UP035 - kfp knows List[...] artifacts only under this name

from kfp import dsl
from kfp.dsl import HTML, Dataset, Input, Output

from components import images


@dsl.component(base_image=images.IMPORT_CV, install_kfp_package=False)
def import_cv(
    corpus: Output[Dataset],
    train_clips: Output[Dataset],
    dev_clips: Output[Dataset],
    test_clips: Output[Dataset],
    report: Output[HTML],
    corpus_uri: str = "",
    corpus_revision: str = "",
    sets: str = "train dev test",
    filter_alphabet: str = "",
    normalize: bool = False,
    validate_label_locale: str = "",
    space_after_every_character: bool = False,
    max_chars_per_s: float = 50.0,
    audio_sample_rate: int = 16000,
    max_duration_s: float = 10.0,
    previous: str = "",
    extra_flags: str = "",
) -> None:
    """Turn a Common Voice release into a corpus: 16 kHz clips in tar shards, CSVs, an alphabet, a report.

    Args:
        corpus: What describes the corpus: CSVs, alphabet, reports, and where the clips are.
        train_clips: The clips of the training set, and their CSV.
        dev_clips: The clips of the dev set, and their CSV.
        test_clips: The clips of the test set and of further sets, and their CSVs.
        report: What was imported and refused, and why.
        corpus_uri: The release: folder or .tar.gz, local or s3://.
        corpus_revision: Text that changes when the release does, so that a cached import is not taken for the new one.
        sets: Sets to write, of train dev test validated other train-all.
        filter_alphabet: Drop clips with characters outside this alphabet: file, s3:// URI, or the text itself.
        normalize: Turn letters with diacritics into their base letters.
        validate_label_locale: Python file (or s3:// URI) with validate_label(sentence) -> transcript or None.
        space_after_every_character: Write a space after every character of the transcript.
        max_chars_per_s: Drop clips with more characters a second.
        audio_sample_rate: Sample rate of the clips, in Hz.
        max_duration_s: Drop longer clips.
        previous: Corpus of an earlier import, folder or s3:// prefix: unchanged clips are taken from it.
        extra_flags: Further flags as on the command line, e.g. --layout clips --workers 4.
    """
    from pathlib import Path

    from speech.errors import one_line_errors

    with one_line_errors():
        from components.import_cv import step
        from components.import_cv.plan.split import split
        from components.import_cv.settings import ImportSettings
        from speech.settings import with_extra_flags

        given = ImportSettings(
            sets=tuple(sets.replace(",", " ").split()),
            filter_alphabet=filter_alphabet,
            normalize=normalize,
            validate_label_locale=validate_label_locale,
            space_after_every_character=space_after_every_character,
            max_chars_per_s=max_chars_per_s,
            audio_sample_rate=audio_sample_rate,
            max_duration_s=max_duration_s,
            previous=previous,
        )
        settings = with_extra_flags(given, extra_flags, "extra_flags of import_cv")
        made = step.run(settings, corpus_uri, Path(corpus.path))
        Path(report.path).write_text(step.read_report(made), encoding="utf-8")
        corpus.metadata.update(step.headline(made))
        clips = {"train": train_clips, "dev": dev_clips, "test": test_clips}
        split(made, {name: Path(one.path) for name, one in clips.items()}, {n: one.uri for n, one in clips.items()})


@dsl.component(base_image=images.IMPORT_CV, install_kfp_package=False)
def import_part(
    part: Output[Dataset],
    corpus_uri: str = "",
    corpus_revision: str = "",
    partition: str = "1/1",
    filter_alphabet: str = "",
    normalize: bool = False,
    max_duration_s: float = 10.0,
    previous: str = "",
    extra_flags: str = "",
) -> None:
    """Import one part of a Common Voice release, for merge_corpus.

    Args:
        part: Some of the corpus' shards, and what is known of their clips.
        corpus_uri: The release: folder or .tar.gz, local or s3://.
        corpus_revision: Text that changes when the release does, so that a cached import is not taken for the new one.
        partition: i/n imports the i-th of n parts.
        filter_alphabet: Drop clips with characters outside this alphabet: file, s3:// URI, or the text itself.
        normalize: Turn letters with diacritics into their base letters.
        max_duration_s: Drop longer clips.
        previous: Corpus of an earlier import, folder or s3:// prefix: unchanged clips are taken from it.
        extra_flags: Further flags as on the command line, e.g. --layout clips --workers 4.
    """
    from pathlib import Path

    from speech.errors import one_line_errors

    with one_line_errors():
        from components.import_cv import step
        from components.import_cv.settings import ImportSettings
        from speech.settings import with_extra_flags

        given = ImportSettings(
            filter_alphabet=filter_alphabet,
            normalize=normalize,
            max_duration_s=max_duration_s,
            previous=previous,
            partition=partition,
        )
        settings = with_extra_flags(given, extra_flags, "extra_flags of import_part")
        step.run(settings, corpus_uri, Path(part.path))


@dsl.component(base_image=images.IMPORT_CV, install_kfp_package=False)
def merge_corpus(
    parts: Input[List[Dataset]],  # noqa: UP006
    corpus: Output[Dataset],
    train_clips: Output[Dataset],
    dev_clips: Output[Dataset],
    test_clips: Output[Dataset],
    report: Output[HTML],
) -> None:
    """Make one corpus of the parts that import_part made with the partitions 1/n to n/n.

    Args:
        parts: The parts, in any order.
        corpus: What describes the corpus: CSVs, alphabet, reports, and where the clips are.
        train_clips: The clips of the training set, and their CSV.
        dev_clips: The clips of the dev set, and their CSV.
        test_clips: The clips of the test set and of further sets, and their CSVs.
        report: What was imported and refused, and why.
    """
    from pathlib import Path

    from speech.errors import one_line_errors

    with one_line_errors():
        from components.import_cv import step
        from components.import_cv.plan.split import split
        from components.import_cv.write.parts import merge

        made = merge([part.path for part in parts], Path(corpus.path))
        Path(report.path).write_text(step.read_report(made), encoding="utf-8")
        corpus.metadata.update(step.headline(made))
        clips = {"train": train_clips, "dev": dev_clips, "test": test_clips}
        split(made, {name: Path(one.path) for name, one in clips.items()}, {n: one.uri for n, one in clips.items()})
