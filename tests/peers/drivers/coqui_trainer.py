"""Coqui STT's trainer: `train`, `evaluate` and `export` with its own flags, and `forward` for numbers to compare with.

train answers {"epochs": [{"train": loss, "dev": {csv: loss}}]}.
evaluate answers {"clips": [{"wav_filename", "src", "res", "loss", ...}]}, in the order of Coqui's report.
export answers {}.
forward --npz FILE (and evaluate's flags) answers {"clips": [{"wav_filename", "loss"}]} and writes the arrays
`features_N` [T, 26], `logits_N` [T, A + 1] and `labels_N` of clip N, computed by the training graph without dropout.
"""

from __future__ import annotations

import io
import json
import re
import sys
import tempfile
from pathlib import Path

import channel


class Tee(io.StringIO):
    """Keeps what is printed, and passes it on to standard error."""

    def write(self, text: str) -> int:
        sys.stderr.write(text)
        return super().write(text)


def train() -> dict:
    from coqui_stt_training import train as trainer

    sys.argv += ["--skip_batch_test", "true", "--show_progressbar", "false"]
    log = sys.stdout = Tee()
    trainer.main()
    epochs = []
    for line in log.getvalue().splitlines():
        trained = re.search(r"Finished training epoch \d+ - loss: (\S+)", line)
        validated = re.search(r"Finished validating epoch \d+ on (.+) - loss: (\S+)", line)
        if trained:
            epochs.append({"train": float(trained.group(1)), "dev": {}})
        elif validated:
            epochs[-1]["dev"][validated.group(1)] = float(validated.group(2))
    return {"epochs": epochs}


def evaluate() -> dict:
    from coqui_stt_training import evaluate as evaluator

    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "samples.json"
        sys.argv += ["--test_output_file", str(output), "--show_progressbar", "false"]
        evaluator.main()
        return {"clips": json.loads(output.read_text(encoding="utf-8"))}


def export() -> dict:
    from coqui_stt_training import export as exporter

    exporter.main()
    return {}


def forward() -> dict:
    position = sys.argv.index("--npz")
    npz = sys.argv[position + 1]
    del sys.argv[position : position + 2]
    import numpy as np
    import tensorflow.compat.v1 as tf
    from coqui_stt_training.deepspeech_model import create_model
    from coqui_stt_training.util import config, feeding
    from coqui_stt_training.util.checkpoints import load_graph_for_evaluation

    config.initialize_globals_from_cli()
    dataset = feeding.create_dataset(config.Config.test_files, batch_size=1, train_phase=False)
    names, (features, lengths), labels = tf.data.make_one_shot_iterator(dataset).get_next()
    logits, _ = create_model(features, lengths, dropout=[None] * 6)
    loss = tf.nn.ctc_loss(labels=labels, inputs=logits, sequence_length=lengths)
    tf.train.get_or_create_global_step()
    clips, arrays = [], {}
    with tf.Session() as session:
        load_graph_for_evaluation(session)
        while True:
            try:
                got = session.run([names, features, logits, labels, loss])
            except tf.errors.OutOfRangeError:
                break
            number = len(clips)
            clips.append({"wav_filename": got[0][0].decode(), "loss": float(got[4][0])})
            arrays[f"features_{number}"] = got[1][0]
            arrays[f"logits_{number}"] = got[2][:, 0]
            arrays[f"labels_{number}"] = got[3].values
    np.savez(npz, **arrays)
    return {"clips": clips}


def main() -> None:
    command = sys.argv.pop(1)
    channel.answer({"train": train, "evaluate": evaluate, "export": export, "forward": forward}[command]())


if __name__ == "__main__":
    main()
