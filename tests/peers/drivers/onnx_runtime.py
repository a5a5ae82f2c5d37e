"""Check an ONNX file, and run it once on the arrays of an .npz file, keyed by input name, on the CPU.

Answers {"version", "inputs": {name: shape}, "outputs": {name: shape}, "metadata"} and writes the outputs to an .npz
file by their names.
"""

from __future__ import annotations

import argparse

import channel
import numpy as np
import onnx
import onnxruntime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--inputs", required=True)
    parser.add_argument("--outputs", required=True)
    options = parser.parse_args()
    onnx.checker.check_model(options.model, full_check=True)
    session = onnxruntime.InferenceSession(options.model, providers=["CPUExecutionProvider"])
    with np.load(options.inputs) as file:
        inputs = {key: file[key] for key in file.files}
    names = [port.name for port in session.get_outputs()]
    np.savez(options.outputs, **dict(zip(names, session.run(names, inputs), strict=True)))
    channel.answer(
        {
            "version": onnxruntime.__version__,
            "inputs": {port.name: port.shape for port in session.get_inputs()},
            "outputs": {port.name: port.shape for port in session.get_outputs()},
            "metadata": session.get_modelmeta().custom_metadata_map,
        }
    )


if __name__ == "__main__":
    main()
