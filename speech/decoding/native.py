"""The compiled decoder's C interface, for ctypes. The structures mirror those in `cpp/`, field by field."""

import ctypes
from functools import lru_cache

from speech.decoding.language_model import MAX_ORDER
from speech.decoding.library import LIBRARY
from speech.native.compiling import NoCompilerError


class LevelStruct(ctypes.Structure):
    """`speech::Level`, the fields of `language_model.Level` in its order."""

    _fields_ = [
        *((name, ctypes.c_uint64) for name in ("base", "entries", "next_entries", "pointer_table", "pointer_count")),
        *((name, ctypes.c_uint64) for name in ("prob_table", "backoff_table")),
        *((name, ctypes.c_uint32) for name in ("bucket_bytes", "word_bits", "prob_bits", "backoff_bits")),
        *((name, ctypes.c_uint32) for name in ("pointer_bits", "record_bits")),
    ]


class LanguageModelStruct(ctypes.Structure):
    """`speech::LanguageModelLayout`."""

    _fields_ = [
        ("data", ctypes.c_void_p),
        ("vocabulary", ctypes.c_uint64),
        ("vocabulary_entries", ctypes.c_uint64),
        ("unigrams", ctypes.c_uint64),
        ("unigram_bytes", ctypes.c_uint32),
        ("words", ctypes.c_uint32),
        ("order", ctypes.c_int32),
        ("probing", ctypes.c_int32),
        ("levels", LevelStruct * (MAX_ORDER - 1)),
    ]


class DictionaryStruct(ctypes.Structure):
    """`speech::Dictionary`."""

    _fields_ = [
        ("first_arc", ctypes.c_void_p),
        ("labels", ctypes.c_void_p),
        ("targets", ctypes.c_void_p),
        ("start", ctypes.c_uint32),
    ]


class AlphabetStruct(ctypes.Structure):
    """`speech::Alphabet`."""

    _fields_ = [
        ("bytes", ctypes.c_void_p),
        ("offsets", ctypes.c_void_p),
        ("labels", ctypes.c_uint32),
        ("space", ctypes.c_uint32),
    ]


class SearchSettingsStruct(ctypes.Structure):
    """`speech::SearchSettings`."""

    _fields_ = [
        ("beam_size", ctypes.c_uint64),
        ("cutoff_prob", ctypes.c_double),
        ("cutoff_top_n", ctypes.c_uint64),
        ("alpha", ctypes.c_double),
        ("beta", ctypes.c_double),
        ("num_results", ctypes.c_uint64),
    ]


class BatchStruct(ctypes.Structure):
    """`speech_batch`."""

    _fields_ = [
        ("emissions", ctypes.c_void_p),
        ("frames", ctypes.c_void_p),
        ("clips", ctypes.c_int64),
        ("is_double", ctypes.c_int32),
        ("threads", ctypes.c_int32),
        ("scorer", ctypes.c_void_p),
        ("labels", ctypes.c_uint32),
        ("hot_words", ctypes.c_uint32),
        ("hot_word_bytes", ctypes.c_void_p),
        ("hot_word_offsets", ctypes.c_void_p),
        ("hot_word_boosts", ctypes.c_void_p),
        ("settings", SearchSettingsStruct),
    ]


class ResultsStruct(ctypes.Structure):
    """`speech_results`."""

    _fields_ = [
        ("hypotheses", ctypes.POINTER(ctypes.c_int64)),
        ("confidences", ctypes.POINTER(ctypes.c_double)),
        ("lengths", ctypes.POINTER(ctypes.c_int64)),
        ("tokens", ctypes.POINTER(ctypes.c_uint32)),
        ("frames", ctypes.POINTER(ctypes.c_uint32)),
    ]


@lru_cache(maxsize=1)
def library() -> ctypes.CDLL:
    """The loaded library, built first if need be; raises NoCompilerError."""
    with LIBRARY.for_this_process() as path:
        try:
            loaded = ctypes.CDLL(str(path))
        except OSError as error:
            raise NoCompilerError(f"{path} does not load: {error}") from error
    loaded.speech_scorer_new.argtypes = [
        ctypes.POINTER(LanguageModelStruct),
        ctypes.POINTER(DictionaryStruct),
        ctypes.POINTER(AlphabetStruct),
        ctypes.c_int32,
    ]
    loaded.speech_scorer_new.restype = ctypes.c_void_p
    loaded.speech_scorer_delete.argtypes = [ctypes.c_void_p]
    loaded.speech_scorer_delete.restype = None
    loaded.speech_scorer_query.argtypes = [
        ctypes.c_void_p,
        *(ctypes.c_void_p,) * 2,
        ctypes.c_uint32,
        ctypes.c_int32,
        *(ctypes.c_void_p,) * 2,
    ]
    loaded.speech_scorer_query.restype = None
    loaded.speech_decode.argtypes = [ctypes.POINTER(BatchStruct)]
    loaded.speech_decode.restype = ctypes.POINTER(ResultsStruct)
    loaded.speech_results_delete.argtypes = [ctypes.POINTER(ResultsStruct)]
    loaded.speech_results_delete.restype = None
    return loaded
