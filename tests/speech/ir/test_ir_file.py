"""What an IR's XML says: ours by its rt_info, another converter's by its shapes."""

import json
from pathlib import Path

import pytest

from speech import model_files
from speech.alphabet import Alphabet
from speech.errors import InputError
from speech.geometry import Geometry
from speech.ir.ir_file import IrFile, rt_info

GEOMETRY = Geometry(n_hidden=24, n_labels=28)
LETTERS = Alphabet(tuple(" abcdefghijklmnopqrstuvwxyz'"))

# The parts of an IR of the Model Optimizer that tell what it is; its LSTM and the rest are left out.
MODEL_OPTIMIZERS = """<?xml version="1.0" ?>
<net name="output_graph" version="11">
  <layers>
    <layer id="0" name="input_node" type="Parameter" version="opset1">
      <output><port id="0" precision="FP32" names="input_node:0">
        <dim>1</dim><dim>16</dim><dim>19</dim><dim>26</dim></port></output>
    </layer>
    <layer id="1" name="previous_state_c" type="Parameter" version="opset1">
      <output><port id="0" precision="FP32" names="previous_state_c/read:0"><dim>1</dim><dim>24</dim></port></output>
    </layer>
    <layer id="2" name="logits" type="SoftMax" version="opset8">
      <output><port id="1" precision="FP32"><dim>16</dim><dim>1</dim><dim>CLASSES</dim></port></output>
    </layer>
    <layer id="3" name="logits/sink_port_0" type="Result" version="opset1">
      <input><port id="0" precision="FP32"><dim>16</dim><dim>1</dim><dim>CLASSES</dim></port></input>
    </layer>
  </layers>
  <edges><edge from-layer="2" from-port="1" to-layer="3" to-port="0" /></edges>
</net>
"""


def write_other_ir(path: Path, n_classes: int = 29, **replaced: str) -> Path:
    """An IR of another converter, with other texts in the place of some."""
    text = MODEL_OPTIMIZERS.replace("CLASSES", str(n_classes))
    for old, new in replaced.items():
        text = text.replace(old, new)
    path.write_text(text)
    path.with_suffix(".bin").touch()
    return path


def test_an_ir_of_another_converter_is_known_by_its_shapes(tmp_path: Path) -> None:
    LETTERS.save(tmp_path / "alphabet.txt")
    file = IrFile.open(write_other_ir(tmp_path / "other.xml"))
    assert (file.geometry, file.alphabet, file.n_steps, file.batch) == (GEOMETRY, None, 16, 1)
    assert not file.takes_samples
    assert not file.keeps_state
    model = model_files.open(file.path)
    assert (model.geometry, model.alphabet, model.inside, model.n_steps) == (GEOMETRY, LETTERS, None, 16)


@pytest.mark.parametrize(
    ("replaced", "message"),
    [
        ({"previous_state_c": "state"}, "no previous_state_c of 2 dimensions"),
        ({"logits": "scores"}, "no output logits"),
        ({"<dim>24</dim>": "<dim>-1</dim>"}, "no previous_state_c of 2 dimensions"),
        ({"<dim>19</dim>": ""}, "no input_node of 4 dimensions"),
        ({"</net>": ""}, "not readable as an OpenVINO IR"),
        ({'from-layer="2"': 'from-layer="9"'}, "not readable as an OpenVINO IR"),
        ({"<dim>26</dim>": "<dim>x</dim>"}, "not readable as an OpenVINO IR"),
    ],
)
def test_other_networks_and_damaged_files(tmp_path: Path, replaced: dict[str, str], message: str) -> None:
    path = write_other_ir(tmp_path / "other.xml", **replaced)
    with pytest.raises(InputError, match=f"other.xml: .*{message}"):
        model_files.open(path)


@pytest.mark.parametrize("alphabet", [Alphabet((" ", "#", '"', "\n")), Alphabet.bytes_output_mode()])
def test_what_is_written_is_read(tmp_path: Path, alphabet: Alphabet) -> None:
    """The rt_info survives XML, whatever the symbols are."""
    from xml.sax.saxutils import quoteattr

    geometry = Geometry(24, len(alphabet), relu_clip=3.5, feature_win_step=10)
    texts = rt_info(geometry, alphabet, {"precision": "int8"})
    assert all(json.loads(text) is not None for text in texts.values())
    entries = "".join(f"<{name} value={quoteattr(text)} />" for name, text in texts.items())
    section = f"<rt_info><speechmill>{entries}</speechmill></rt_info></net>"
    file = IrFile.open(write_other_ir(tmp_path / "ours.xml", **{"</net>": section}))
    assert (file.geometry, file.alphabet) == (geometry, alphabet)
    assert file.facts["settings"] == {"precision": "int8"}
