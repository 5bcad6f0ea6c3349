"""Our kernels from Python: kernels/program/c_interface.h once more, by ctypes.

tests/kernels/compare_pytorch_test.py compares the structs with that header, member by member."""

import ctypes
from pathlib import Path

P, I32, I64, F32 = ctypes.c_void_p, ctypes.c_int32, ctypes.c_int64, ctypes.c_float
BF16, FP8, FP8_BLOCK, INT8 = 0, 1, 2, 3


class FleetsimDecodeAttention(ctypes.Structure):
    _fields_ = [("query", P), ("key_pages", P), ("value_pages", P), ("page_table", P),
                ("lengths", P), ("out", P), ("log_sum_exp", P), ("workspace", P),
                ("kv_format", I32), ("sequences", I32), ("query_heads", I32), ("kv_heads", I32),
                ("head_dim", I32), ("page_tokens", I32), ("pages_per_sequence", I32),
                ("blocks", I32), ("softmax_scale", F32), ("key_scale", F32), ("value_scale", F32)]


class FleetsimPrefillAttention(ctypes.Structure):
    _fields_ = [("query", P), ("key_pages", P), ("value_pages", P), ("page_table", P),
                ("query_starts", P), ("cached_lengths", P), ("out", P), ("log_sum_exp", P),
                ("workspace", P), ("sequences", I32), ("total_tokens", I32), ("query_heads", I32),
                ("kv_heads", I32), ("head_dim", I32), ("page_tokens", I32),
                ("pages_per_sequence", I32), ("causal", I32), ("softmax_scale", F32)]


class FleetsimLatentPrefill(ctypes.Structure):
    _fields_ = [("query", P), ("keys", P), ("values", P), ("query_starts", P),
                ("cached_lengths", P), ("key_starts", P), ("out", P), ("log_sum_exp", P),
                ("workspace", P), ("sequences", I32), ("total_tokens", I32), ("total_keys", I32),
                ("heads", I32), ("causal", I32), ("blocks", I32), ("softmax_scale", F32)]


class FleetsimRmsNorm(ctypes.Structure):
    _fields_ = [("x", P), ("residual", P), ("weight", P), ("values", P), ("codes", P),
                ("token_scales", P), ("tensor_scale", P), ("tokens", I32), ("hidden", I32),
                ("epsilon", F32)]


class FleetsimRopeKvWrite(ctypes.Structure):
    _fields_ = [("qkv", P), ("query", P), ("key_pages", P), ("value_pages", P), ("slots", P),
                ("positions", P), ("table", P), ("query_row", I64), ("kv_format", I32),
                ("tokens", I32), ("query_heads", I32), ("kv_heads", I32), ("head_dim", I32),
                ("page_tokens", I32), ("key_scale", F32), ("value_scale", F32)]


class FleetsimW4a16Gemm(ctypes.Structure):
    _fields_ = [("activations", P), ("weights", P), ("out", P), ("workspace", P), ("m", I32),
                ("n", I32), ("k", I32)]


class FleetsimGemm(ctypes.Structure):
    _fields_ = [("activations", P), ("weights", P), ("out", P), ("activation_scales", P),
                ("weight_scales", P)]


class FleetsimStackBatch(ctypes.Structure):
    _fields_ = [("new_lengths", P), ("cached_lengths", P), ("sequences", I32),
                ("page_tokens", I32)]


class FleetsimStackMemory(ctypes.Structure):
    _fields_ = [("embedding", P), ("final_norm", P), ("head", P), ("ids", P), ("page_table", P),
                ("last_hidden", P), ("logits", P), ("sampled", P), ("tokens", I32),
                ("pages_per_sequence", I32), ("pool_pages", I32)]


class FleetsimStackLayer(ctypes.Structure):
    _fields_ = [("input_norm", P), ("post_norm", P), ("qkv", P), ("output", P), ("gate_up", P),
                ("down", P), ("key_pages", P), ("value_pages", P)]


class OursFailed(Exception):
    """A call of ours answered 1."""


class Kernels:
    """The shared library; every call raises OursFailed with its text when it fails."""

    def __init__(self, path):
        self.path = path
        self.library = ctypes.CDLL(str(path))
        self.library.fleetsim_last_error.restype = ctypes.c_char_p
        self.library.fleetsim_cublaslt_version.restype = ctypes.c_char_p
        self.library.fleetsim_free_gemm_plan.restype = None
        self.library.fleetsim_free_decoder_stack.restype = None

    def call(self, name, *arguments):
        if getattr(self.library, name)(*arguments) != 0:
            raise OursFailed(f"{name}: {self.library.fleetsim_last_error().decode()}")

    def launch(self, name, arguments, stream):
        self.call(name, ctypes.byref(arguments), ctypes.c_void_p(stream))


def find_library(given):
    """The path of the library; None when it is nowhere."""
    root = Path(__file__).resolve().parent.parent
    places = [Path(given)] if given else sorted(
        root.glob("build/**/libfleetsim_kernels_c.so"), key=lambda path: -path.stat().st_mtime)
    return next((place for place in places if place.is_file()), None)
