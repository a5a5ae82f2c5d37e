"""What an IR says about itself, read from its XML: inputs and outputs, geometry, alphabet. No OpenVINO.

Ours carry geometry, alphabet and settings in their `rt_info`, so that one file is enough to use them; of an IR of
another converter the shapes tell the geometry. Source: OpenVINO's documentation of the IR, versions 10 and 11.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from speech.alphabet import Alphabet
from speech.errors import InputError
from speech.geometry import Geometry
from speech.ir import names

SECTION = "speechmill"  # of the rt_info
FREE = -1  # a dimension whose size is known at run time

Shape = tuple[int, ...]


@dataclass(frozen=True)
class IrFile:
    """An IR's `.xml` file: the shapes of inputs and outputs by every name that they answer to, and the rt_info."""

    path: Path
    inputs: Mapping[str, Shape]
    outputs: Mapping[str, Shape]
    facts: Mapping[str, Any]  # of our section of the rt_info

    @classmethod
    def open(cls, path: Path) -> "IrFile":
        """Read it; raises InputError if it is no IR, or its weights are not beside it."""
        if path.suffix != ".xml":
            raise InputError(f"{path}: expected the .xml file of an OpenVINO IR")
        for file in (path, path.with_suffix(".bin")):
            if not file.is_file():
                raise InputError(f"{file}: no such file: expected an OpenVINO IR, an .xml file with its .bin beside it")
        try:
            root = ElementTree.parse(path).getroot()
            layers = {layer.attrib["id"]: layer for layer in root.findall("layers/layer")}
            inputs = dict(_inputs(layers))
            outputs = dict(_outputs(layers, root.findall("edges/edge")))
            section = root.find(f"rt_info/{SECTION}")
            entries = () if section is None else section
            facts = {entry.tag: json.loads(entry.attrib["value"]) for entry in entries}
        except (ElementTree.ParseError, KeyError, ValueError) as error:
            raise InputError(f"{path}: not readable as an OpenVINO IR ({error}): convert the model again") from error
        return cls(path, inputs, outputs, facts)

    @property
    def takes_samples(self) -> bool:
        """Whether the features are part of the network."""
        return names.SAMPLES in self.inputs

    @property
    def keeps_state(self) -> bool:
        """Whether the LSTM's state stays in the network from call to call, or there is only one call."""
        return names.STATE_C not in self.inputs

    @property
    def n_steps(self) -> int:
        """Frames a call if the IR has them fixed, 0 if they are free."""
        frames = self.inputs[names.FEATURES][1] if names.FEATURES in self.inputs else FREE
        return 0 if frames == FREE else frames

    @property
    def batch(self) -> int:
        """Utterances a call; 0 if they are free."""
        batch = self.inputs[names.FEATURES][0] if names.FEATURES in self.inputs else 1
        return 0 if batch == FREE else batch

    @property
    def geometry(self) -> Geometry:
        """By the rt_info, else by the shapes. Raises InputError for another network."""
        self.output(names.LOGITS)
        if "geometry" in self.facts:
            return Geometry.from_dict(self.facts["geometry"], f"{self.path}: rt_info")
        windows, state = (self._ranked(name, rank) for name, rank in ((names.FEATURES, 4), (names.STATE_C, 2)))
        *_, window_frames, n_input = windows
        n_classes = self.output(names.LOGITS)[-1]
        return Geometry(state[1], n_classes - 1, n_context=window_frames // 2, n_input=n_input)

    @property
    def alphabet(self) -> Alphabet | None:
        """That of the rt_info; None for an IR of another converter."""
        if "alphabet" not in self.facts:
            return None
        symbols = tuple(self.facts["alphabet"])
        return Alphabet.bytes_output_mode() if self.facts.get("bytes_output_mode") else Alphabet(symbols)

    def output(self, name: str) -> Shape:
        """The shape of the output that answers to any of the names of ours. Raises InputError if there is none."""
        shapes = [self.outputs[alias] for alias in names.aliases(name) if alias in self.outputs]
        if not shapes:
            raise InputError(f"{self.path}: the IR has no output {name}: convert the model again with all outputs")
        return shapes[0]

    def _ranked(self, name: str, rank: int) -> Shape:
        shape = self.inputs.get(name, ())
        if len(shape) != rank or FREE in shape[-rank // 2 :]:
            raise InputError(f"{self.path}: no {name} of {rank} dimensions: expected a DeepSpeech acoustic model")
        return shape


def rt_info(geometry: Geometry, alphabet: Alphabet, settings: Mapping[str, Any]) -> dict[str, str]:
    """What `IrFile` reads, by name. JSON, because line ends and leading spaces do not survive in an XML attribute."""
    facts = {
        "geometry": geometry.to_dict(),
        "alphabet": [] if alphabet.bytes_mode else list(alphabet.symbols),
        "bytes_output_mode": alphabet.bytes_mode,
        "settings": settings,
    }
    return {name: json.dumps(fact, ensure_ascii=False) for name, fact in facts.items()}


def _inputs(layers: Mapping[str, Element]) -> Iterator[tuple[str, Shape]]:
    for layer in layers.values():
        port = layer.find("output/port")
        if layer.get("type") == "Parameter" and port is not None:
            for name in _with_canonical({layer.attrib["name"], *_split(port.get("names"))}):
                yield name, _shape(port)


def _outputs(layers: Mapping[str, Element], edges: list[Element]) -> Iterator[tuple[str, Shape]]:
    """An output goes by the names of the tensor that it takes, and in IRs without such names by that of the layer."""
    for edge in edges:
        result, source = layers[edge.attrib["to-layer"]], layers[edge.attrib["from-layer"]]
        port = result.find("input/port")
        if result.get("type") != "Result" or port is None:
            continue
        number, ports = edge.attrib["from-port"], source.findall("output/port")
        tensor = next((port for port in ports if port.get("id") == number), port)
        layer_name = source.attrib["name"]
        place = ports.index(tensor) if tensor in ports else 0
        called = {f"{layer_name}.{place}", *([layer_name] if len(ports) == 1 else ())}
        for name in (*called, *_split(tensor.get("names")), *_split(result.get("output_names"))):
            yield name, _shape(port)


def _with_canonical(spellings: set[str]) -> set[str]:
    return spellings | {names.canonical(spelling) for spelling in spellings}


def _split(text: str | None) -> list[str]:
    """Names with commas between; a comma in a name is escaped."""
    return [name.replace("\\,", ",") for name in re.split(r"(?<!\\),", text)] if text else []


def _shape(port: Element) -> Shape:
    return tuple(int(size.text or FREE) for size in port.findall("dim"))
