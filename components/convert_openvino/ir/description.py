"""What an IR says about itself, in its `rt_info`: geometry, alphabet, settings. One file is enough to use it.

Values are JSON, because line ends and leading spaces do not survive in an XML attribute.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openvino as ov

from components.convert_openvino.ir import names
from speech.alphabet import Alphabet
from speech.artifacts import ALPHABET, read_alphabet
from speech.errors import InputError
from speech.geometry import Geometry

_SECTION = "speechmill"


@dataclass(frozen=True)
class Description:
    """Geometry and alphabet of the model in an IR."""

    geometry: Geometry
    alphabet: Alphabet


def write(network: ov.Model, description: Description, settings: dict[str, Any]) -> None:
    """Put the description and the conversion's settings into the network."""
    alphabet = description.alphabet
    values = {
        "geometry": description.geometry.to_dict(),
        "alphabet": [] if alphabet.bytes_mode else list(alphabet.symbols),
        "bytes_output_mode": alphabet.bytes_mode,
        "settings": settings,
    }
    for name, value in values.items():
        network.set_rt_info(json.dumps(value, ensure_ascii=False), [_SECTION, name])


def read(network: ov.Model, where: Path, alphabet: Alphabet | None = None) -> Description:
    """The description in a network; for an IR of another converter, the shapes and the alphabet file beside it.

    `alphabet` replaces the IR's own. Raises InputError if it does not fit, or is to be found nowhere.
    """
    if network.has_rt_info([_SECTION, "geometry"]):
        geometry = Geometry.from_dict(_json(network, "geometry"), f"{where}: rt_info")
    else:
        geometry = _geometry_by_shapes(network, where)
    if alphabet is None:
        alphabet = _alphabet(network, where, geometry)
    if len(alphabet) != geometry.n_labels:
        raise InputError(
            f"{where}: the alphabet has {len(alphabet)} symbols, but the IR writes {geometry.n_labels} labels and the "
            "blank: give the model's own as --alphabet_config_path"
        )
    return Description(geometry, alphabet)


def _json(network: ov.Model, name: str) -> Any:
    return json.loads(network.get_rt_info([_SECTION, name]).astype(str))


def _alphabet(network: ov.Model, where: Path, geometry: Geometry) -> Alphabet:
    if network.has_rt_info([_SECTION, "alphabet"]):
        symbols, bytes_mode = _json(network, "alphabet"), _json(network, "bytes_output_mode")
        return Alphabet.bytes_output_mode() if bytes_mode else Alphabet(tuple(symbols))
    if (where.parent / ALPHABET).is_file():
        return read_alphabet(where.parent, geometry)
    raise InputError(f"{where}: no alphabet inside, no {ALPHABET} beside it: give --alphabet_config_path")


def _geometry_by_shapes(network: ov.Model, where: Path) -> Geometry:
    try:
        windows, state = (network.input(name).get_partial_shape() for name in (names.FEATURES, names.STATE_C))
        logits = find_output(network, names.LOGITS, where).get_partial_shape()
        window_frames, n_input = (windows[axis].get_length() for axis in (2, 3))
        return Geometry(
            n_hidden=state[1].get_length(),
            n_labels=logits[len(logits) - 1].get_length() - 1,
            n_input=n_input,
            n_context=window_frames // 2,
        )
    except RuntimeError as error:
        raise InputError(f"{where}: no input_node or previous_state_c: expected a DeepSpeech acoustic model") from error


def find_output(network: ov.Model | ov.CompiledModel, name: str, where: Path) -> Any:
    """The output that answers to any of the names of ours; raises InputError if there is none."""
    for output in network.outputs:
        if names.aliases(name) & output.get_names():
            return output
    raise InputError(f"{where}: the IR has no output {name}: convert the model again with all outputs")
