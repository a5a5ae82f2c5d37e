"""Run an OpenVINO IR once on the arrays of an .npz file, keyed by input name, on the CPU.

Answers {"version", "inputs": [{"names", "shape"}], "outputs": [the same], "median_s"} and writes the outputs to an .npz
file as `output_0`, `output_1`, ... in the order of `outputs`.
"""

from __future__ import annotations

import argparse
import statistics
import time

import channel
import numpy as np
import openvino


def describe(port: object) -> dict:
    return {"names": sorted(port.get_names()), "shape": str(port.get_partial_shape())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--inputs", required=True)
    parser.add_argument("--outputs", required=True)
    parser.add_argument("--precision", default="f32", help="INFERENCE_PRECISION_HINT")
    parser.add_argument("--repeat", type=int, default=1, help="how many runs to take the median time of")
    options = parser.parse_args()
    core = openvino.Core()
    model = core.compile_model(options.model, "CPU", {"INFERENCE_PRECISION_HINT": options.precision})
    with np.load(options.inputs) as file:
        inputs = {key: file[key] for key in file.files}
    request, seconds = model.create_infer_request(), []
    for _ in range(options.repeat):
        begun = time.perf_counter()
        request.infer(inputs)
        seconds.append(time.perf_counter() - begun)
    count = len(model.outputs)
    np.savez(options.outputs, **{f"output_{i}": request.get_output_tensor(i).data for i in range(count)})
    channel.answer(
        {
            "version": openvino.__version__,
            "inputs": [describe(port) for port in model.inputs],
            "outputs": [describe(port) for port in model.outputs],
            "median_s": statistics.median(seconds),
        }
    )


if __name__ == "__main__":
    main()
