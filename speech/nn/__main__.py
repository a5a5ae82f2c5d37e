"""What TensorFlow is, and what it sees of this machine, as a line of JSON: `python -m speech.nn`.

`speech.doctor` asks it in a process of its own.
"""

import importlib
import importlib.util
import json

import tensorflow as tf


def report() -> dict[str, object]:
    """Version, CUDA and cuDNN it was built for (empty: for CPUs), names of its GPUs, what computes the LSTM."""
    build = tf.sysconfig.get_build_info()
    gpus = [tf.config.experimental.get_device_details(gpu) for gpu in tf.config.list_physical_devices("GPU")]
    capabilities = [".".join(map(str, gpu.get("compute_capability", ("?",)))) for gpu in gpus]
    return {
        "version": tf.__version__,
        "cuda": build.get("cuda_version", "") if build.get("is_cuda_build") else "",
        "cudnn": build.get("cudnn_version", "") if build.get("is_cuda_build") else "",
        "gpus": [
            f"{gpu.get('device_name', 'GPU')} (compute capability {capability})"
            for gpu, capability in zip(gpus, capabilities, strict=True)
        ],
        "lstm": _lstm(),
    }


def _lstm() -> dict[str, str]:
    """Type of the products -> what computes with it; empty in an image that trains nothing, and so has no LSTM."""
    name = "speech.nn.recurrent"
    if importlib.util.find_spec(name) is None or importlib.util.find_spec(f"{name}.recurrence") is None:
        return {}
    recurrence = importlib.import_module(f"{name}.recurrence")
    return {dtype.name: recurrence.describe(dtype) for dtype in (tf.float32, tf.bfloat16)}


if __name__ == "__main__":
    print(json.dumps(report()))
