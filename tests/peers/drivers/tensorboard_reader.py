"""TensorBoard's own reading of a run: curve -> [step, value] of each point that it would show.

python tensorboard_reader.py FOLDER_OR_URI [S3_ENDPOINT]
"""

from __future__ import annotations

import os
import sys

import channel


def main() -> None:
    if len(sys.argv) > 2:
        os.environ.update(S3_ENDPOINT=sys.argv[2], AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="test")
        os.environ["AWS_DEFAULT_REGION"] = "us-east-1"
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0, "tensors": 0})
    run.Reload()
    curves = {tag: [[event.step, event.value] for event in run.Scalars(tag)] for tag in run.Tags()["scalars"]}
    channel.answer(curves)


if __name__ == "__main__":
    main()
