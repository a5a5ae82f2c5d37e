"""`--augment`: the guides' examples, both peers' spellings, defaults, and errors that help."""

from pathlib import Path

import pytest

import speech.augmentation
from speech.augmentation.parsing import AUGMENTATIONS, parse_augmentation, parse_augmentations, table
from speech.errors import InputError

# Every augmentation that the guides and CI scripts of DeepSpeech 0.7 ... 0.9 and Coqui STT 1.4 show.
GUIDES = {
    "overlay[p=0.1,source=/path/to/audio.csv,snr=20.0]": {"p": 0.1, "source": "/path/to/audio.csv", "snr": "20"},
    "overlay[p=0.5,source=noise.csv,layers=1,snr=50:20~10]": {"p": 0.5, "layers": "1", "snr": "50:20~10"},
    "overlay[p=0.2,source=voices.csv,layers=10:6,snr=50:20~10]": {"layers": "10:6"},
    "overlay[source=noise.csv,layers=1,snr=20~10]": {"p": 1.0, "snr": "20~10"},
    "overlay[source=/data/overlay.csv,snr=20]": {"layers": "1"},
    "reverb[p=0.1,delay=50.0~30.0,decay=10.0:2.0~1.0]": {"delay": "50~30", "decay": "10:2~1"},
    "reverb[p=0.1,delay=50.0,decay=2.0]": {"delay": "50", "decay": "2"},
    "reverb[delay=20.0,decay=1.0]": {"p": 1.0, "delay": "20", "decay": "1"},
    "resample[p=0.1,rate=12000:8000~4000]": {"rate": "12000:8000~4000"},
    "resample[rate=12000:8000~4000]": {"p": 1.0},
    "resample[rate=4000]": {"rate": "4000"},
    "codec[p=0.1,bitrate=48000:16000]": {"bitrate": "48000:16000"},
    "codec[bitrate=4000]": {"bitrate": "4000"},
    "volume[p=0.1,dbfs=-10:-40]": {"dbfs": "-10:-40"},
    "volume": {"p": 1.0, "dbfs": "3.0103"},
    "gaps[p=0.05,n=1:3~2,size=10:100]": {"p": 0.05, "n": "1:3~2", "size": "10:100", "domain": "sample"},
    "pitch[p=0.1,pitch=1~0.2]": {"pitch": "1~0.2"},
    "tempo[p=0.1,factor=1~0.5]": {"factor": "1~0.5"},
    "warp[p=0.1,nt=4,nf=1,wt=0.5:1.0,wf=0.1:0.2]": {
        "num_t": "4",
        "num_f": "1",
        "warp_t": "0.5:1",
        "warp_f": "0.1:0.2",
    },
    "frequency_mask[p=0.1,n=1:3,size=1:5]": {"n": "1:3", "size": "1:5", "domain": "spectrogram"},
    "time_mask[p=0.1,domain=signal,n=3:10~2,size=50:100~40]": {"domain": "signal", "n": "3:10~2", "size": "50:100~40"},
    "dropout[p=0.1,rate=0.05]": {"rate": "0.05", "domain": "spectrogram"},
    "add[p=0.1,domain=signal,stddev=0~0.5]": {"domain": "signal", "stddev": "0~0.5"},
    "multiply[p=0.1,domain=features,stddev=0~0.5]": {"domain": "features", "stddev": "0~0.5"},
    # what the flags before --augment come close to
    "add[domain=features,stddev=0.1]": {"stddev": "0.1"},
    "frequency_mask[n=3,size=2~2]": {"n": "3", "size": "2~2"},
    "time_mask[n=3,size=10~10]": {"n": "3", "size": "10~10"},
    "pitch[pitch=1.075~0.125]": {"pitch": "1.075~0.125"},
    "tempo[factor=1.1~0.1]": {"factor": "1.1~0.1"},
    "pitch[p=0.05,pitch=1~0.2]": {"p": 0.05},
    "time_mask[domain=signal,n=1,size=50.0]": {"n": "1", "size": "50"},
}

# The defaults of Coqui STT 1.4.0, of DeepSpeech 0.7.3 for `gaps`, and ours.
DEFAULTS = {
    "overlay[source=x]": {"p": 1.0, "snr": "3", "layers": "1", "domain": "sample"},
    "codec": {"bitrate": "3200", "domain": "sample"},
    "reverb": {"delay": "20", "decay": "10", "domain": "sample"},
    "resample": {"rate": "8000", "domain": "sample"},
    "volume": {"dbfs": "3.0103", "domain": "sample"},
    "gaps": {"n": "1", "size": "50", "domain": "sample"},
    "pitch": {"pitch": "1.075~0.125", "domain": "spectrogram"},
    "tempo": {"factor": "1.1", "max_time": -1.0, "domain": "spectrogram"},
    "warp": {"num_t": "1", "num_f": "1", "warp_t": "0.1", "warp_f": "0", "domain": "spectrogram"},
    "frequency_mask": {"n": "3", "size": "2", "domain": "spectrogram"},
    "time_mask": {"n": "3", "size": "10", "domain": "spectrogram"},
    "dropout": {"rate": "0.05", "domain": "spectrogram"},
    "add": {"stddev": "5", "domain": "features"},
    "multiply": {"stddev": "5", "domain": "features"},
    "voice": {"formants": "1~0.15", "tone": "1", "domain": "features"},
    "noise": {"snr": "30~15", "domain": "features"},
}


@pytest.mark.parametrize(("specification", "expected"), [*GUIDES.items(), *DEFAULTS.items()])
def test_specifications_of_the_guides(specification, expected):
    augmentation = parse_augmentation(specification)
    assert specification.startswith(augmentation.NAME)
    read = {name: getattr(augmentation, name) for name in expected}
    assert {name: value if isinstance(value, float) else str(value) for name, value in read.items()} == expected


def test_defaults_are_checked_for_every_augmentation():
    assert {specification.split("[")[0] for specification in DEFAULTS} == set(AUGMENTATIONS)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("warp[nt=4,nf=1,wt=0.5:1.0,wf=0.1]", "warp[num_t=4,num_f=1,warp_t=0.5:1.0,warp_f=0.1]"),
        ("pitch[p=0.1,pitch=1~0.2]", " pitch [ p = 0.1, pitch = 1 ~ 0.2 ] "),
        ("volume", "volume[]"),
        ("tempo[factor=1.2,max_time=9000]", "tempo[max_time=9000,factor=1.2]"),
    ],
)
def test_spellings_that_mean_the_same(one, other):
    assert parse_augmentation(one) == parse_augmentation(other)


def test_none_stands_alone():
    assert parse_augmentations(["none"]) == parse_augmentations([]) == []
    with pytest.raises(InputError, match="none stands alone"):
        parse_augmentations(["none", "volume"])


def test_text_of_an_augmentation_reads_back():
    for specification in (*GUIDES, *DEFAULTS):
        augmentation = parse_augmentation(specification)
        text = str(augmentation)
        assert parse_augmentation(text) == augmentation, text


@pytest.mark.parametrize(
    ("specification", "messages"),
    [
        ("frequncy_mask[n=1]", ["unknown augmentation frequncy_mask", "did you mean frequency_mask?"]),
        ("xyz", ["unknown augmentation xyz", "overlay, codec, reverb"]),
        ("speed[factor=1.1]", ["tempo[factor=...]"]),
        ("pitch_and_tempo[tempo=1.1]", ["pitch[pitch=...] and tempo[factor=...]"]),
        ("reverb[delai=3]", ["unknown parameter delai", "did you mean delay?"]),
        ("warp[shift=3]", ["unknown parameter shift", "num_t, num_f, warp_t, warp_f"]),
        ("pitch[domain=signal]", ["unknown parameter domain"]),
        ("volume[0.5]", ["'0.5' has no name", "volume has p, dbfs"]),
        ("volume[p=1.5]", ["p=1.5", "0.0 ... 1.0"]),
        ("volume[p=often]", ["p=often", "expected a number"]),
        ("volume[dbfs=1~2~3]", ["dbfs=1~2~3", "START:END~RADIUS"]),
        ("frequency_mask[n=1.5]", ["n=1.5", "whole numbers"]),
        ("tempo[factor=1~1]", ["factor=1~1", "reaches 0", "above 0"]),
        ("resample[rate=1000:500~600]", ["reaches -100"]),
        ("reverb[decay=-20]", ["decay=-20", "0 or more"]),
        ("add[domain=feature]", ["domain=feature", "signal, spectrogram, features"]),
        ("overlay[snr=3]", ["source is missing", "overlay[source=...]"]),
        ("overlay[source=]", ["expected a path"]),
        ("warp[nt=1,num_t=2]", ["num_t is given twice"]),
        ("volume[p=0.1", ["name[parameter=value,...]"]),
        ("volume[p=0.1] pitch", ["name[parameter=value,...]"]),
        ("", ["name[parameter=value,...]"]),
    ],
)
def test_errors_say_what_is_wrong_and_what_to_write(specification, messages):
    with pytest.raises(InputError) as error:
        parse_augmentation(specification)
    assert "\n" not in str(error.value)
    for message in (repr(specification), *messages):
        assert message in str(error.value)


def test_readme_has_the_table_of_augmentations():
    readme = (Path(speech.augmentation.__file__).parent / "README.md").read_text(encoding="utf-8")
    assert table() in readme
