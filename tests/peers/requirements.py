"""What each peer is made of: the Pythons it runs on and every package of its environment, pinned and complete."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Requirements:
    """An environment: Python versions by preference, and all its packages (installed without resolving)."""

    pythons: tuple[str, ...]
    packages: tuple[str, ...]
    linux_x86_64_only: bool = True


# What the trainer of Coqui STT imports to train, evaluate and export. Its other dependencies (hyper-parameter search,
# experiment tracking, downloads) are left out; miniaudio is the last one with a binary package for Python 3.7.
COQUI_TRAINING = (
    "coqui-stt-training==1.4.0",
    "coqui-stt-ctcdecoder==1.4.0",
    "tensorflow==1.15.4",
    "tensorboard==1.15.0",
    "tensorflow-estimator==1.15.1",
    "numpy==1.18.5",
    "protobuf==3.20.1",
    "absl-py==2.1.0",
    "astor==0.8.1",
    "attrdict==2.0.1",
    "braceexpand==0.1.7",
    "certifi==2026.10.18",
    "cffi==1.15.1",
    "charset-normalizer==3.5.2",
    "coqpit==0.0.17",
    "gast==0.2.2",
    "google-pasta==0.2.0",
    "grpcio==1.62.3",
    "h5py==3.8.0",
    "idna==3.10",
    "importlib-metadata==6.7.0",
    "importlib-resources==5.12.0",
    "Keras-Applications==1.0.8",
    "Keras-Preprocessing==1.1.2",
    "llvmlite==0.36.0",
    "Markdown==3.4.4",
    "MarkupSafe==2.1.5",
    "miniaudio==1.59",
    "numba==0.53.1",
    "opt-einsum==3.3.0",
    "opuslib==2.0.0",
    "packaging==24.0",
    "pandas==1.3.5",
    "progressbar2==4.2.0",
    "pycparser==2.21",
    "PyOgg==0.6.14a1",
    "python-dateutil==3.0.0",
    "python-utils==3.5.2",
    "pytz==2026.6",
    "PyYAML==6.0.1",
    "requests==2.31.0",
    "resampy==0.4.3",
    "semver==3.0.4",
    "setuptools==47.1.0",
    "six==1.17.0",
    "soundfile==0.13.1",
    "termcolor==2.3.0",
    "tqdm==4.68.2",
    "typing-extensions==4.7.1",
    "tzdata==2026.6",
    "urllib3==2.0.7",
    "webdataset==0.1.103",
    "Werkzeug==2.2.3",
    "wrapt==1.16.0",
    "zipp==3.15.0",
)

# What Coqui STT's importers take of that, and sox's Python module; the programs sox and soxi have to be on the PATH.
COQUI_IMPORTING = (
    "coqui-stt-training==1.4.0",
    "coqui-stt-ctcdecoder==1.4.0",
    "numpy==1.18.5",
    "certifi==2026.10.18",
    "charset-normalizer==3.5.2",
    "idna==3.10",
    "importlib-metadata==6.7.0",
    "progressbar2==4.2.0",
    "python-utils==3.5.2",
    "requests==2.31.0",
    "semver==3.0.4",
    "six==1.17.0",
    "sox==1.4.1",
    "tqdm==4.68.2",
    "typing-extensions==4.7.1",
    "urllib3==2.0.7",
    "zipp==3.15.0",
)

# What the Model Optimizer imports to convert a frozen TensorFlow graph.
MODEL_OPTIMIZER = (
    "absl-py==2.3.1",
    "astunparse==1.6.3",
    "certifi==2026.10.18",
    "cffi==2.0.0",
    "charset-normalizer==3.5.2",
    "cryptography==45.0.7",
    "defusedxml==0.7.1",
    "flatbuffers==25.12.19",
    "gast==0.4.0",
    "google-auth==2.50.0",
    "google-auth-oauthlib==1.0.0",
    "google-pasta==0.2.0",
    "grpcio==1.74.0",
    "h5py==3.14.0",
    "idna==3.20",
    "importlib-metadata==8.7.1",
    "keras==2.13.1",
    "libclang==18.1.1",
    "markdown==3.9",
    "markupsafe==3.0.4",
    "networkx==3.1",
    "numpy==1.24.3",
    "oauthlib==4.0.1",
    "opt-einsum==3.4.0",
    "packaging==26.3",
    "protobuf==4.25.9",
    "pyasn1==0.6.5",
    "pyasn1-modules==0.4.2",
    "pycparser==2.23",
    "pyyaml==6.0.3",
    "requests==2.32.5",
    "requests-oauthlib==2.0.0",
    "setuptools==82.0.1",
    "six==1.17.0",
    "tensorboard==2.13.0",
    "tensorboard-data-server==0.7.2",
    "tensorflow-cpu==2.13.1",
    "tensorflow-estimator==2.13.0",
    "tensorflow-io-gcs-filesystem==0.37.1",
    "termcolor==3.1.0",
    "tqdm==4.70.1",
    "typing-extensions==4.5.0",
    "urllib3==2.6.3",
    "werkzeug==3.1.9",
    "wheel==0.48.0",
    "wrapt==2.5.2",
    "zipp==3.23.1",
)

PEERS = {
    # The native client with the TensorFlow 2.3 runtime (.pb, .pbmm), and the reference decoder.
    "deepspeech": Requirements(("3.9", "3.8", "3.7"), ("deepspeech==0.9.3", "ds-ctcdecoder==0.9.3", "numpy==1.21.6")),
    # The same client with the TFLite runtime.
    "deepspeech-tflite": Requirements(("3.9", "3.8", "3.7"), ("deepspeech-tflite==0.9.3", "numpy==1.21.6")),
    # The native client of Coqui STT (.tflite), and its decoder, which also gives tokens and timesteps.
    "stt": Requirements(("3.9", "3.10", "3.8", "3.7"), ("stt==1.4.0", "coqui-stt-ctcdecoder==1.4.0", "numpy==1.21.6")),
    # The trainer: TensorFlow 1.15.
    "coqui-training": Requirements(("3.7",), COQUI_TRAINING),
    # Its importers, which are programs of its repository: the package has what they import.
    "coqui-importing": Requirements(("3.7",), COQUI_IMPORTING),
    # OpenVINO's former converter `mo`: the last release that was not deprecated, and the last one of all.
    "mo-2023": Requirements(
        ("3.9", "3.10"),
        ("openvino==2023.3.0", "openvino-dev==2023.3.0", "openvino-telemetry==2025.2.0", *MODEL_OPTIMIZER),
    ),
    "mo-2024": Requirements(
        ("3.9", "3.10"),
        ("openvino==2024.6.0", "openvino-dev==2024.6.0", "openvino-telemetry==2025.2.0", *MODEL_OPTIMIZER),
    ),
    # Another runtime, for the ONNX export, and ONNX's own checker.
    "onnxruntime": Requirements(
        ("3.11", "3.12", "3.13"),
        (
            "onnxruntime==1.31.1",
            "onnx==1.23.2",
            "flatbuffers==25.12.19",
            "ml-dtypes==0.6.0",
            "numpy==2.4.6",
            "packaging==26.3",
            "protobuf==6.33.6",
            "typing-extensions==4.16.0",
        ),
    ),
    # Earlier runtimes that have to load our IR.
    "openvino-2023": Requirements(
        ("3.11", "3.10", "3.9"), ("openvino==2023.3.0", "openvino-telemetry==2025.2.0", "numpy==1.26.4")
    ),
    "openvino-2024": Requirements(
        ("3.11", "3.12", "3.10", "3.9"),
        ("openvino==2024.6.0", "openvino-telemetry==2025.2.0", "numpy==1.26.4", "packaging==26.3"),
    ),
}
