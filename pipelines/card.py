"""`speechmill card`: the model card of a version or an exported model, for a model hub."""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from speech import model_card
from speech.artifacts import Evaluation, ExportedModel
from speech.errors import InputError
from speech.model_card import CardSettings, CardSources
from speech.settings import command, setting
from speech.storage.files import write_text
from speech.storage.objects import local_folder
from speech.storage.stores import store_at


@dataclass(frozen=True)
class CardFlags(CardSettings):
    """Which model, where the card goes, and what it says in other words than the version does."""

    folder: str = setting(
        "",
        "folder or s3:// prefix of a version or an exported model",
        positional=True,
        metavar="VERSION",
        group="Model",
    )
    language: str = setting("", "language of the model, such as cy; empty: what the version says")
    output: str = setting("", "file to write, README.md for a hub; empty: print the card", metavar="FILE")


def main(argv: Sequence[str]) -> None:
    """Entry point."""
    command(
        CardFlags,
        write,
        prog="speechmill card",
        description="Print the model card of a version: its scores, data and files, with the metadata that hubs read.",
        usage="VERSION",
        argv=argv,
    )


def write(flags: CardFlags) -> None:
    """Print the card, or write it to `output`."""
    if not flags.folder:
        raise InputError("VERSION is missing: the folder or s3:// prefix of a published version")
    page = model_card.markdown(facts_of(flags))
    if not flags.output:
        print(page, end="" if page.endswith("\n") else "\n")
        return
    if Path(flags.output).exists():
        raise InputError(f"--output {flags.output} exists: nothing is replaced; move it away, or give another name")
    write_text(Path(flags.output), page)
    print(f"wrote {flags.output}")


def facts_of(flags: CardFlags) -> dict[str, Any]:
    """What the version's own card says, with the given flags on top; without one, what its other files say."""
    own = store_at(flags.folder).read(model_card.JSON_NAME)
    try:
        facts = _without_card(flags) if own is None else model_card.restated(json.loads(own), flags)
        return facts | ({"language": flags.language} if flags.language else {})
    except ValueError as error:
        raise InputError(f"{flags.folder}/{model_card.JSON_NAME} is damaged: not readable as JSON: {error}") from error


def _without_card(flags: CardFlags) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        folder = local_folder(flags.folder, Path(scratch))
        scores = folder / Evaluation.SCORES
        evaluation = Evaluation.open(folder) if scores.is_file() else None
        return model_card.describe(flags, CardSources([ExportedModel.open(folder)], evaluation))
