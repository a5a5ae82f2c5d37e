"""The command lines of DeepSpeech's and Coqui STT's guides for training, with the paths of a tiny corpus, run.

Behind each line come flags that make it short; the steps that follow a training run in this process.
"""

import dataclasses
import importlib
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from components.train import __main__ as train
from components.train import step
from components.train.peers import afterwards
from components.train.settings import TrainSettings
from speech.artifacts import ExportedModel
from speech.nn import snapshots
from tests.fixtures.tones import write_csv
from tests.speech.clips.test_sample_database import SPEECH, TRANSCRIPT, database

SHORT = ["--epochs", "1", "--train_batch_size", "4", "--limit_train", "8", "--limit_dev", "2", "--skip_batch_test"]
SHORT_TEST = ["--limit_test", "2"]
SMALL = ["--n_hidden", "16"]
SETS = "--train_files my-train.csv --dev_files my-dev.csv --test_files my-test.csv"
COMMA_SETS = "--train_files data/train.csv,data/train.csv --dev_files data/dev.csv --test_files data/test.csv"

FROM_SCRATCH = {
    "deepspeech: Common Voice": f"./DeepSpeech.py {COMMA_SETS}",
    "deepspeech: one file": "python -u DeepSpeech.py --noshow_progressbar --train_files my-train.csv --test_files "
    "my-train.csv --train_batch_size 1 --test_batch_size 1 --n_hidden 100 --epochs 200 --checkpoint_dir new",
    "deepspeech: mixed precision": f"DeepSpeech.py {SETS} --automatic_mixed_precision=True --checkpoint_dir new",
    "deepspeech: mixed precision, as the text has it": f"DeepSpeech.py {SETS} --auto_mixed_precision=True",
    "deepspeech 0.8: bytes": "DeepSpeech.py --utf8 --train_files my-train.csv --dev_files my-dev.csv",
    "coqui: bytes": "python -m coqui_stt_training.train --bytes_output_mode true --train_files my-train.csv",
    "coqui: one CSV": "python -m coqui_stt_training.train --auto_input_dataset all/all.csv --checkpoint_dir new",
    "deepspeech 0.6: feature noise": "DeepSpeech.py --train_files my-train.csv --data_aug_features_additive 0.2 "
    "--data_aug_features_multiplicative 0.1 --augmentation_speed_up_std 0.1",
    "deepspeech 0.6: spectrogram": "DeepSpeech.py --train_files my-train.csv --augmentation_spec_dropout_keeprate 0.9 "
    "--augmentation_freq_and_time_masking --augmentation_freq_and_time_masking_freq_mask_range 5 "
    "--augmentation_freq_and_time_masking_number_freq_masks 3 "
    "--augmentation_freq_and_time_masking_time_mask_rangee 2 "
    "--augmentation_freq_and_time_masking_number_time_masks 3 --augmentation_pitch_and_tempo_scaling "
    "--augmentation_pitch_and_tempo_scaling_min_pitch 0.95 --augmentation_pitch_and_tempo_scaling_max_pitch 1.2 "
    "--augmentation_pitch_and_tempo_scaling_max_tempo 1.2",
    "deepspeech 0.6: switched off": "DeepSpeech.py --train_files my-train.csv --noaugmentation_freq_and_time_masking "
    "--noaugmentation_pitch_and_tempo_scaling",
    "deepspeech 0.9: every augmentation": "python -u DeepSpeech.py --train_files train.sdb --feature_cache "
    "cache/feature.cache --cache_for_epochs 10 --epochs 100 "
    "--augment overlay[p=0.1,source=noise.sdb,layers=1,snr=50:20~10] "
    "--augment overlay[p=0.3,source=voices.sdb,layers=10:6,snr=50:20~10] "
    "--augment reverb[p=0.1,delay=50.0~30.0,decay=10.0:2.0~1.0] --augment resample[p=0.1,rate=12000:8000~4000] "
    "--augment codec[p=0.1,bitrate=48000:16000] --augment volume[p=0.1,dbfs=-10:-40] "
    "--augment pitch[p=0.1,pitch=1~0.2] --augment tempo[p=0.1,factor=1~0.5] "
    "--augment warp[p=0.1,nt=4,nf=1,wt=0.5:1.0,wf=0.1:0.2] --augment frequency_mask[p=0.1,n=1:3,size=1:5] "
    "--augment time_mask[p=0.1,domain=signal,n=3:10~2,size=50:100~40] --augment dropout[p=0.1,rate=0.05] "
    "--augment add[p=0.1,domain=signal,stddev=0~0.5] --augment multiply[p=0.1,domain=features,stddev=0~0.5]",
    "coqui: augmentations in one list": "python -m coqui_stt_training.train --train_files train.sdb --augment "
    "'pitch[p=0.1,pitch=1~0.2]' 'tempo[p=0.1,factor=1~0.5]' 'time_mask[p=0.1,domain=signal,n=3:10~2,size=50:100~40]'",
}
FROM_CHECKPOINT = {
    "coqui: fine-tuning": f"python -m coqui_stt_training.train --checkpoint_dir released {SETS}",
    "coqui: a release": f"python -m coqui_stt_training.train --n_hidden 2048 --load_cudnn true --load_checkpoint_dir "
    f"released --save_checkpoint_dir new {SETS}",
    "coqui: transfer learning": "python -m coqui_stt_training.train --drop_source_layers 1 --alphabet_config_path "
    "other/alphabet.txt --save_checkpoint_dir new --load_checkpoint_dir released --train_files other/train.csv "
    "--dev_files other/train.csv --test_files other/train.csv",
    "coqui: three new layers": "python -m coqui_stt_training.train --drop_source_layers 3 --alphabet_config_path "
    "other/alphabet.txt --save_checkpoint_dir new --load_checkpoint_dir released --train_files other/train.csv",
    "deepspeech: from a release": "python3 DeepSpeech.py --n_hidden 2048 --checkpoint_dir released --epochs 3 "
    f"{SETS} --learning_rate 0.0001 --train_cudnn",
}
WITHOUT_TRAINING = {
    "deepspeech: for the OpenVINO guide": "python3 DeepSpeech.py --checkpoint_dir released --export_dir exported/",
    "deepspeech: TFLite": "DeepSpeech.py --checkpoint_dir released --export_tflite --export_dir exported",
    "coqui: test on a sample database": "python -m coqui_stt_training.evaluate --checkpoint_dir released --test_files "
    "train.sdb",
    "coqui: test": "python -m coqui_stt_training.evaluate --checkpoint_dir released --test_files my-test.csv",
    "deepspeech: one clip": "DeepSpeech.py --checkpoint_dir released --one_shot_infer clip.wav",
}


@pytest.fixture(scope="module")
def released(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small checkpoint in the place of a release's."""
    folder = tmp_path_factory.mktemp("released")
    settings = TrainSettings(n_hidden=24, epochs=1, train_batch_size=4)
    step.run(settings, [tones / "train.csv"], [tones / "dev.csv"], folder)
    return folder


@pytest.fixture
def desk(tones: Path, released: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with everything that the lines name, as working folder and as home; steps run in this process."""
    for name in ("my-train", "my-dev", "my-test", "data/train", "data/dev", "data/test", "all/all"):
        source = tones / ("train.csv" if name.endswith(("train", "all")) else "dev.csv")
        (tmp_path / name).parent.mkdir(exist_ok=True)
        content = source.read_text().splitlines()
        rows = [content[0], *(f"{tones}/{line}" for line in content[1:])]
        (tmp_path / f"{name}.csv").write_text("\n".join(rows) + "\n")
    shutil.copy(tones / "train-0.wav", tmp_path / "clip.wav")
    write_csv(tmp_path / "other", "train", ["ab", "ba", "aab"])
    (tmp_path / "other" / "alphabet.txt").write_text(" \na\nb\n")
    shutil.copytree(released, tmp_path / "released")
    wavs = [(path.read_bytes(), b"ab") for path in sorted(tmp_path.glob("other/*.wav"))]
    (tmp_path / "train.sdb").write_bytes(database(wavs, [SPEECH, TRANSCRIPT]))
    for name in ("noise", "voices"):
        (tmp_path / f"{name}.sdb").write_bytes(database([row[:1] for row in wavs], [SPEECH]))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))

    def in_this_process(command: list[str], check: bool) -> subprocess.CompletedProcess[str]:
        _, dash_m, module, *arguments = command
        assert dash_m == "-m"
        assert call(f"{module}.__main__", arguments) is None
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(afterwards, "subprocess", SimpleNamespace(run=in_this_process))
    return tmp_path


def call(module: str, arguments: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", [module, *arguments])
        importlib.import_module(module).main()


def flags_of(line: str) -> list[str]:
    words = shlex.split(line)
    return words[next(index for index, word in enumerate(words) if word.startswith("--")) :]


@pytest.mark.parametrize("name", FROM_SCRATCH)
def test_from_scratch(name: str, desk: Path) -> None:
    flags = flags_of(FROM_SCRATCH[name])
    call(train.__name__, [*flags, *SHORT, *SMALL, *SHORT_TEST])
    folder = Path("new") if "new" in flags else desk / "home/.local/share/speechmill/checkpoints"
    bundle = snapshots.load(snapshots.find(folder, "last")[0])
    assert bundle.global_step >= 1
    assert (folder / "evaluation" / "scores.json").is_file() == ("--test_files" in flags or "all/all.csv" in flags)


@pytest.mark.parametrize("name", FROM_CHECKPOINT)
def test_from_a_checkpoint(name: str, desk: Path, released: Path) -> None:
    # The releases are 2048 units wide; with this one, that would be a contradiction.
    flags = ["24" if flag == "2048" else flag for flag in flags_of(FROM_CHECKPOINT[name])]
    before = snapshots.load(snapshots.find(released, "best")[0])
    call(train.__name__, [*flags, *SHORT, *SHORT_TEST])
    folder = Path("new") if "new" in flags else Path("released")
    bundle = snapshots.load(snapshots.find(folder, "last")[0])
    assert bundle.geometry.n_hidden == 24
    assert bundle.global_step > before.global_step
    assert bundle.geometry.n_labels == (3 if "other/alphabet.txt" in flags else 5)
    assert (folder / "evaluation" / "scores.json").is_file() == ("--test_files" in flags)


@pytest.mark.parametrize("name", WITHOUT_TRAINING)
def test_without_training(name: str, desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(path.name for path in Path("released").glob("*.index"))
    flags = flags_of(WITHOUT_TRAINING[name])
    call(train.__name__, [*flags, *(SHORT_TEST if "--test_files" in flags else [])])
    assert sorted(path.name for path in Path("released").glob("*.index")) == before
    output = capsys.readouterr().out
    if "--export_dir" in flags:
        assert {"output_graph.pb", "output_graph.tflite"} <= {
            path.name for path in ExportedModel.open("exported").folder.iterdir()
        }
    elif "--one_shot_infer" in flags:
        assert set(output.splitlines()[-1]) <= set(" abcd")
    else:
        assert (Path("released") / "evaluation" / "scores.json").is_file()


@pytest.mark.parametrize(("level", "silent"), [("1", ""), ("2", "out"), ("3", "out err")])
def test_log_levels(level: str, silent: str, desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = f"--train_files train.sdb --feature_cache c --augment volume --checkpoint_dir new --log_level {level}"
    call(train.__name__, [*line.split(), *SMALL, "--epochs", "0"])
    output = capsys.readouterr()
    assert ("from scratch" in output.out) == ("out" not in silent)
    assert ("note: --feature_cache is not used" in output.err) == ("err" not in silent)
    assert Path("new", "checkpoint").is_file()


def test_helpfull_lists_every_flag(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        call(train.__name__, ["--helpfull"])
    assert ended.value.code == 0
    output = capsys.readouterr().out
    for field in dataclasses.fields(train.TrainCommand):
        assert f"--{field.name}" in output
