"""The names that clients know an IR's tensors by.

A tensor may carry any number of names, so one IR answers to DeepSpeech's own, to those that the Model Optimizer left
(with the port behind a colon), and to both profiles of the Open Model Zoo's speech_recognition_deepspeech_demo: the
built-in ones want `GatherNd:0` and `GatherNd_1:0`, profile_example.yml wants the ports of a TensorIterator.
"""

from speech.model_files.variables import LSTM_SCOPE

FEATURES = "input_node"
STATE_C, STATE_H = "previous_state_c", "previous_state_h"
LENGTHS = "input_lengths"
SAMPLES = "input_samples"
LOGITS, NEW_STATE_C, NEW_STATE_H = "logits", "new_state_c", "new_state_h"
RAW_LOGITS = "raw_logits"  # before the softmax; an output on demand, as OpenVINO's guides for DeepSpeech 0.5 had it

INPUTS = (FEATURES, STATE_C, STATE_H)
OUTPUTS = (LOGITS, NEW_STATE_C, NEW_STATE_H)

# DeepSpeech up to 0.5 calls the cell lstm_fused_cell, and reads its states from variables.
_FUSED = "lstm_fused_cell"
_OTHER_NAMES = {
    STATE_C: (f"{STATE_C}/read",),
    STATE_H: (f"{STATE_H}/read",),
    NEW_STATE_C: (
        *(f"{scope}/{name}" for scope in (LSTM_SCOPE, _FUSED) for name in ("GatherNd", "BlockLSTM/TensorIterator.2")),
        f"{_FUSED}/Gather",
    ),
    NEW_STATE_H: (
        *(f"{scope}/{name}" for scope in (LSTM_SCOPE, _FUSED) for name in ("GatherNd_1", "BlockLSTM/TensorIterator.1")),
        f"{_FUSED}/Gather_1",
    ),
}


def aliases(name: str) -> set[str]:
    """Every name that the tensor called `name` answers to, itself included."""
    names = {name, *_OTHER_NAMES.get(name, ())}
    return names | {f"{spelling}:0" for spelling in names if "TensorIterator" not in spelling}


def canonical(name: str) -> str:
    """Our name for a tensor that a client calls `name`; `name` itself if no input or output is called that."""
    return next((ours for ours in (*INPUTS, LENGTHS, SAMPLES, *OUTPUTS, RAW_LOGITS) if name in aliases(ours)), name)
