"""Run an IR the way the Open Model Zoo's speech_recognition_deepspeech_demo does, by the names of one of its profiles.

That is: blocks of 16 frames, float64 zeros of the inputs' shapes as first states, outputs fetched by name after each
block and copied into the next. Reads `windows` [blocks, 16, 19, 26] from an .npz file and writes `probabilities`.
"""

from __future__ import annotations

import argparse

import channel
import numpy as np
import openvino

CELL = "cudnn_lstm/rnn/multi_rnn_cell/cell_0/cudnn_compatible_lstm_cell"
# (input, states c and h in, states c and h out, output) of the built-in profiles and of profile_example.yml
PROFILES = {
    "mds09x_en": (
        "input_node",
        ("previous_state_c:0", "previous_state_h:0"),
        (f"{CELL}/GatherNd:0", f"{CELL}/GatherNd_1:0"),
        "logits:0",
    ),
    "example": (
        "input_node",
        ("previous_state_c", "previous_state_h"),
        (f"{CELL}/BlockLSTM/TensorIterator.2", f"{CELL}/BlockLSTM/TensorIterator.1"),
        "logits",
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--windows", required=True)
    parser.add_argument("--outputs", required=True)
    options = parser.parse_args()
    core = openvino.Core()
    model = core.read_model(options.model)
    request = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"}).create_infer_request()
    with np.load(options.windows) as file:
        windows = file["windows"]
    heard = {}
    for profile, (features, states_in, states_out, output) in PROFILES.items():
        states = [np.zeros(model.input(name).shape) for name in states_in]
        blocks = []
        for block in windows:
            request.infer(inputs={states_in[0]: states[0], states_in[1]: states[1], features: block[None]})
            states = [request.get_tensor(name).data.copy() for name in states_out]
            blocks.append(request.get_tensor(output).data.copy().squeeze(1))
        heard[profile] = np.concatenate(blocks)
    np.savez(options.outputs, **heard)
    channel.answer({"version": openvino.__version__, "profiles": sorted(heard)})


if __name__ == "__main__":
    main()
