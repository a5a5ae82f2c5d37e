"""One runtime with one model, timed on request: what `openvino.py` starts, in the environment of each runtime.

    python openvino_worker.py RUNTIME MODEL INPUTS OUTPUTS PRECISION THREADS

Needs numpy and the runtime (openvino, tensorflow or onnxruntime). INPUTS is an .npz file with `chunk` [1, 16, window,
n_input], `long` [1, T, window, n_input] and the states `c` and `h`. Says when it is ready, then takes `chunk` or `long`
a line and answers with the seconds it took: wall clock and processor. At the end of its input it writes the results.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path[0:1] = []  # this folder has a file called openvino.py
import numpy as np  # noqa: E402

Step = Callable[[Any, Any, Any], tuple[Any, Any, Any]]  # windows, c, h -> probabilities, c, h
CELL = "cudnn_lstm/rnn/multi_rnn_cell/cell_0/cudnn_compatible_lstm_cell"
OUTPUTS = {
    "logits": ("logits", "logits:0"),
    "c": ("new_state_c:0", f"{CELL}/GatherNd:0", f"{CELL}/GatherNd", f"{CELL}/BlockLSTM/TensorIterator.2"),
    "h": ("new_state_h:0", f"{CELL}/GatherNd_1:0", f"{CELL}/GatherNd_1", f"{CELL}/BlockLSTM/TensorIterator.1"),
}


def openvino_step(model: str, precision: str, threads: int) -> tuple[Step, int, str]:
    import openvino

    properties: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
    if precision:
        properties["INFERENCE_PRECISION_HINT"] = precision
    if threads:
        properties["INFERENCE_NUM_THREADS"] = threads
    network = openvino.Core().compile_model(model, "CPU", properties)
    request = network.create_infer_request()
    ports = {name.split(":")[0]: port for port in network.inputs for name in port.get_names()}
    outputs = [next(p for p in network.outputs if set(known) & set(p.get_names())) for known in OUTPUTS.values()]
    frames = ports["input_node"].get_partial_shape()[1]
    n_steps = frames.get_length() if frames.is_static else 0

    def step(windows: Any, c: Any, h: Any) -> tuple[Any, Any, Any]:
        inputs = {ports["input_node"]: windows, ports["previous_state_c"]: c, ports["previous_state_h"]: h}
        if "input_lengths" in ports:
            inputs[ports["input_lengths"]] = np.array([n_steps], np.int32)
        request.infer(inputs)
        logits, c, h = (request.get_tensor(port).data for port in outputs)
        return logits, c.copy(), h.copy()

    return step, n_steps, openvino.__version__


def tensorflow_step(model: str, threads: int) -> tuple[Step, int, str]:
    import tensorflow as tf

    graph = tf.compat.v1.GraphDef()
    graph.ParseFromString(Path(model).read_bytes())
    imported = tf.Graph()
    with imported.as_default():
        tf.import_graph_def(graph, name="")
    options = tf.compat.v1.ConfigProto(intra_op_parallelism_threads=threads, inter_op_parallelism_threads=threads)
    session = tf.compat.v1.Session(graph=imported, config=options)
    feeds = ["input_node:0", "input_lengths:0", "previous_state_c:0", "previous_state_h:0"]
    run = session.make_callable(["logits:0", "new_state_c:0", "new_state_h:0"], feeds)
    n_steps = imported.get_tensor_by_name("input_node:0").shape[1]

    def step(windows: Any, c: Any, h: Any) -> tuple[Any, Any, Any]:
        logits, c, h = run(windows, [n_steps], c, h)
        return logits, c, h

    return step, n_steps, tf.__version__


def onnxruntime_step(model: str, threads: int) -> tuple[Step, int, str]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # the others want the cores meanwhile
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def step(windows: Any, c: Any, h: Any) -> tuple[Any, Any, Any]:
        feeds = {"input_node": windows, "previous_state_c": c, "previous_state_h": h}
        logits, c, h = session.run(["logits", "new_state_c", "new_state_h"], feeds)
        return logits, c, h

    return step, 0, onnxruntime.__version__


def transcribe(step: Step, n_steps: int, windows: Any, c: Any, h: Any) -> Any:
    """Probabilities [T, C] of all frames: at once where the model takes any number, else call by call."""
    size = n_steps or windows.shape[1]
    blocks: list[Any] = []
    for start in range(0, windows.shape[1], size):
        block = windows[:, start : start + size]
        missing = size - block.shape[1]
        if missing:
            block = np.pad(block, ((0, 0), (0, missing), (0, 0), (0, 0)))
        logits, c, h = step(block, c, h)
        blocks.append(np.array(logits).reshape(size, -1)[: size - missing])
    return np.concatenate(blocks)


def main() -> None:
    runtime, model, inputs, outputs, precision, threads = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # runtimes print, too
    makers: dict[str, Callable[[], tuple[Step, int, str]]] = {
        "openvino": lambda: openvino_step(model, precision, int(threads)),
        "tensorflow": lambda: tensorflow_step(model, int(threads)),
        "onnxruntime": lambda: onnxruntime_step(model, int(threads)),
    }
    started = time.perf_counter()
    step, n_steps, version = makers[runtime]()
    load_s = time.perf_counter() - started
    with np.load(inputs) as file:
        data = {name: file[name] for name in file.files}
    results = {name: transcribe(step, n_steps, data[name], data["c"], data["h"]) for name in ("chunk", "long")}
    print(json.dumps({"version": version, "load_s": load_s}), file=answers, flush=True)
    for line in sys.stdin:
        windows = data[line.strip()]
        wall, processor = time.perf_counter(), time.process_time()
        transcribe(step, n_steps, windows, data["c"], data["h"])
        seconds = [time.perf_counter() - wall, time.process_time() - processor]
        print(json.dumps(seconds), file=answers, flush=True)
    np.savez(outputs, **results)
    answers.close()
    os._exit(0)  # some runtimes hang in their threads at exit


if __name__ == "__main__":
    main()
