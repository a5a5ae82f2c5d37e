"""`--augment "name[parameter=value,...]"` -> augmentations, in the spellings of DeepSpeech and of Coqui STT."""

import dataclasses
import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from speech.augmentation.augmentation import Augmentation
from speech.augmentation.cepstra import FlatNoise, Voice
from speech.augmentation.multi_domain import Add, Dropout, Multiply, TimeMask
from speech.augmentation.ranges import Range
from speech.augmentation.spectrogram import FrequencyMask, Pitch, Tempo, Warp
from speech.augmentation.waveform import Codec, Gaps, Overlay, Resample, Reverb, Volume
from speech.errors import InputError

AUGMENTATIONS: Mapping[str, type[Augmentation]] = {
    kind.NAME: kind
    for kind in (
        *(Overlay, Codec, Reverb, Resample, Volume, Gaps),
        *(Pitch, Tempo, Warp, FrequencyMask),
        *(TimeMask, Dropout, Add, Multiply),
        *(Voice, FlatNoise),
    )
}
NONE = "none"  # instead of what a recipe would do
# Names that DeepSpeech's development had for a few weeks and that no release knows.
REPLACED = {"speed": "tempo[factor=...]", "pitch_and_tempo": "pitch[pitch=...] and tempo[factor=...]"}

_SPECIFICATION = re.compile(r"\s*(?P<name>[^\s\[\]]+)\s*(?:\[(?P<parameters>.*)\]\s*)?", re.DOTALL)


def parse_augmentations(specifications: Iterable[str]) -> list[Augmentation]:
    """The augmentations in the order given, an empty list for `none`; raises InputError as `parse_augmentation`."""
    specifications = list(specifications)
    if specifications == [NONE]:
        return []
    return [parse_augmentation(specification) for specification in specifications]


def parse_augmentation(specification: str) -> Augmentation:
    """Read one augmentation; raises InputError that names the nearest name, or what a value may be."""
    where = f"--augment {specification!r}"
    match = _SPECIFICATION.fullmatch(specification)
    if not match:
        raise InputError(f"{where}: expected name[parameter=value,...], for example pitch[p=0.1,pitch=1~0.2]")
    kind = AUGMENTATIONS.get(match["name"])
    if specification.strip() == NONE:
        raise InputError(f"{where}: {NONE} stands alone: leave it out, or the others")
    if kind is None:
        raise InputError(f"{where}: unknown augmentation {match['name']}: {_known_name(match['name'])}")
    fields = {field.name: field for field in dataclasses.fields(kind) if "read" in field.metadata}
    values: dict[str, Any] = {}
    for text in filter(None, map(str.strip, (match["parameters"] or "").split(","))):
        parameter, value = _assignment(text, kind, fields, where)
        if parameter in values:
            raise InputError(f"{where}: {parameter} is given twice")
        values[parameter] = value
    required = [name for name, field in fields.items() if field.default is dataclasses.MISSING and name not in values]
    if required:
        raise InputError(f"{where}: {required[0]} is missing: write {kind.NAME}[{required[0]}=...]")
    return kind(**values)


def _known_name(name: str) -> str:
    if name in REPLACED:
        return f"write {REPLACED[name]}"
    nearest = difflib.get_close_matches(name, AUGMENTATIONS, n=1, cutoff=0.5)
    return f"did you mean {nearest[0]}?" if nearest else f"expected one of {', '.join(AUGMENTATIONS)}"


def _assignment(
    text: str, kind: type[Augmentation], fields: Mapping[str, dataclasses.Field[Any]], where: str
) -> tuple[str, Any]:
    """`parameter=value` -> the field's name and the value that was read."""
    written, equals, value_text = map(str.strip, text.partition("="))
    if not equals:
        raise InputError(f"{where}: {text!r} has no name: write parameter=value; {kind.NAME} has {', '.join(fields)}")
    spellings = {alias: name for name, field in fields.items() for alias in (name, *field.metadata["aliases"])}
    if written not in spellings:
        nearest = difflib.get_close_matches(written, spellings, n=1, cutoff=0.5)
        hint = f"did you mean {nearest[0]}?" if nearest else f"{kind.NAME} has {', '.join(fields)}"
        raise InputError(f"{where}: unknown parameter {written}: {hint}")
    field = fields[spellings[written]]
    try:
        value = field.metadata["read"](value_text)
        _check_bounds(value, field.metadata)
    except ValueError as error:
        raise InputError(f"{where}: {written}={value_text} is not allowed: {error}") from error
    return field.name, value


def _check_bounds(value: Any, metadata: Mapping[str, Any]) -> None:
    if not isinstance(value, Range):
        return
    if value.lowest <= metadata["above"]:
        raise ValueError(f"it reaches {value.lowest:g}; expected values above {metadata['above']:g}")
    if value.lowest < metadata["least"]:
        raise ValueError(f"it reaches {value.lowest:g}; expected values of {metadata['least']:g} or more")


def table() -> str:
    """The Markdown table of augmentations and parameters, for the README."""
    rows = ["| augmentation | domain | parameter | default | unit | meaning |", "|---|---|---|---|---|---|"]
    for kind in AUGMENTATIONS.values():
        fields = {field.name: field for field in dataclasses.fields(kind)}
        domain = "chosen" if "read" in fields["domain"].metadata else str(fields["domain"].default)
        summary = (kind.__doc__ or "").strip().splitlines()[0].rstrip(".:")
        rows.append(f"| **`{kind.NAME}`** | {domain} | | | | {summary} |")
        for field in fields.values():
            if "read" in field.metadata and field.name != "p":
                name = " or ".join(f"`{spelling}`" for spelling in (field.name, *field.metadata["aliases"]))
                default = f"`{field.metadata['default']}`" if "default" in field.metadata else "required"
                rows.append(f"| | | {name} | {default} | {field.metadata['unit']} | {field.metadata['help']} |")
    return "\n".join(rows)
