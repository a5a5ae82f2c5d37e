"""Coqui STT's reader and writer of sample databases.

write CSV SDB TYPE ("wav" or "opus") [--unlabeled] answers {"clips": n}.
read SDB NPZ answers {"clips": [{"id", "transcript", "rate"}]} and writes the PCM of clip N as `samples_N`.
"""

from __future__ import annotations

import sys

import channel


def write(csv: str, sdb: str, kind: str, *options: str) -> dict:
    from coqui_stt_training.util.audio import AUDIO_TYPE_OPUS, AUDIO_TYPE_WAV
    from coqui_stt_training.util.sample_collections import CSV, DirectSDBWriter, unpack_maybe

    labeled = "--unlabeled" not in options
    audio_type = {"wav": AUDIO_TYPE_WAV, "opus": AUDIO_TYPE_OPUS}[kind]
    with DirectSDBWriter(sdb, audio_type=audio_type, labeled=labeled) as writer:
        collection = CSV(csv, labeled=True)
        for position in range(len(collection)):
            writer.add(unpack_maybe(collection[position]))
        count = len(writer)
    return {"clips": count}


def read(sdb: str, npz: str) -> dict:
    import numpy as np
    from coqui_stt_training.util.audio import AUDIO_TYPE_PCM
    from coqui_stt_training.util.sample_collections import SDB

    clips, arrays = [], {}
    for number, sample in enumerate(SDB(sdb, labeled=None)):
        sample.change_audio_type(AUDIO_TYPE_PCM)
        transcript = getattr(sample, "transcript", None)
        clips.append({"id": sample.sample_id, "transcript": transcript, "rate": sample.audio_format.rate})
        arrays[f"samples_{number}"] = np.frombuffer(sample.audio, "<i2")
    np.savez(npz, **arrays)
    return {"clips": clips}


def main() -> None:
    command, *arguments = sys.argv[1:]
    channel.answer({"write": write, "read": read}[command](*arguments))


if __name__ == "__main__":
    main()
