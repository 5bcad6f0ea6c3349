"""Two layers of Llama-3.1-8B, ours beside float32 in PyTorch with the same weights and cache.

Ours draws weights, cache and tokens; PyTorch reads them where they stand. Held are the normed
hidden rows of every sequence's last token and the tokens drawn from them."""

import ctypes
import math

from c_kernels import (I32, FleetsimStackBatch, FleetsimStackLayer, FleetsimStackMemory, OursFailed,
                       P)

STACK = "llama-3.1-8b"
HIDDEN, QUERY_HEADS, KV_HEADS, HEAD_DIM, FFN, VOCAB = 4096, 32, 8, 128, 14336, 128256
PAGE_TOKENS = 16
EPSILON = 1e-5
ARENA_BYTES = 12 << 30
EQUAL_TOKENS_MIN = 0.99  # of the rows whose largest logit stands out


def inverse_frequencies():
    """Llama 3.1: base 500000; wavelengths above 8192 tokens eight times longer, from 2048 mixed."""
    out = []
    for pair in range(HEAD_DIM // 2):
        frequency = 500_000.0 ** (-2.0 * pair / HEAD_DIM)
        wavelength = 2 * math.pi / frequency
        if wavelength > 8192:
            frequency /= 8
        elif wavelength > 2048:
            share = (8192 / wavelength - 1) / 3
            frequency *= (1 - share) / 8 + share
        out.append(frequency)
    return out


def starts_of(lengths):
    """Row of the first new token of each sequence, and behind the last."""
    starts = [0]
    for length in lengths:
        starts.append(starts[-1] + length)
    return starts


def equal_tokens(ours, theirs, best, of_ours, allowed):
    """Share of rows on which both took the same token; or ours took one whose float32 logit lies
    within `allowed` of the best, where either is right. Lists, a row each."""
    right = sum(1 for row in range(len(ours))
                if ours[row] == theirs[row] or best[row] - of_ours[row] <= allowed[row])
    return right / len(ours)


class Memory:
    """What torch needs to see device memory as a tensor."""

    def __init__(self, address, shape, kind):
        self.__cuda_array_interface__ = {"data": (address, False), "shape": shape, "typestr": kind,
                                         "version": 2}


class Stack:
    """The stack of ours, and its memory as tensors."""

    def __init__(self, device, case):
        s = case.shape
        self.device, self.torch, self.layers = device, device.torch, s["layers"]
        self.new = [s["new"]] * s["batch"] + [1] * s["decodes"]
        self.cached = [s["cached"]] * len(self.new)
        lengths = ctypes.c_int32 * len(self.new)
        new, cached = lengths(*self.new), lengths(*self.cached)
        batch = FleetsimStackBatch(new_lengths=ctypes.addressof(new),
                                   cached_lengths=ctypes.addressof(cached),
                                   sequences=len(self.new), page_tokens=PAGE_TOKENS)
        self.handle = P()
        device.kernels.call("fleetsim_decoder_stack", ctypes.c_char_p(STACK.encode()),
                            I32(self.layers), ctypes.byref(batch), ctypes.c_uint64(s["batch"]),
                            ctypes.c_size_t(ARENA_BYTES), ctypes.byref(self.handle))
        self.memory = FleetsimStackMemory()
        device.kernels.call("fleetsim_decoder_stack_memory", self.handle, ctypes.byref(self.memory))

    def __del__(self):
        if getattr(self, "handle", None):
            self.device.kernels.library.fleetsim_free_decoder_stack(self.handle)

    def launch(self):
        self.device.kernels.call("fleetsim_launch_decoder_stack", self.handle,
                                 P(self.device.stream()))

    def tensor(self, address, *shape, kind="bf16"):
        whole = self.torch.as_tensor(Memory(address, shape, {"bf16": "<i2", "float": "<f4",
                                                             "int": "<i4"}[kind]),
                                     device=self.device.place)
        return whole.view(self.torch.bfloat16) if kind == "bf16" else whole

    def layer(self, number):
        """Weights [n][k] and pages [pages][kv heads][page tokens][head dim] of one layer."""
        c = FleetsimStackLayer()
        self.device.kernels.call("fleetsim_decoder_stack_layer", self.handle, I32(number),
                                 ctypes.byref(c))
        queries, keys = QUERY_HEADS * HEAD_DIM, KV_HEADS * HEAD_DIM
        pages = (self.memory.pool_pages, KV_HEADS, PAGE_TOKENS, HEAD_DIM)
        shapes = {"input_norm": (HIDDEN,), "post_norm": (HIDDEN,),
                  "qkv": (queries + 2 * keys, HIDDEN), "output": (HIDDEN, queries),
                  "gate_up": (2 * FFN, HIDDEN), "down": (HIDDEN, FFN), "key_pages": pages,
                  "value_pages": pages}
        return {name: self.tensor(getattr(c, name), *shape) for name, shape in shapes.items()}


def normed(x, weight):
    return x * (x.square().mean(-1, keepdim=True) + EPSILON).rsqrt() * weight.float()


def rotated(torch, heads, positions):
    """[tokens][heads][head dim] at `positions` [tokens]."""
    frequencies = torch.tensor(inverse_frequencies(), dtype=torch.float64, device=heads.device)
    angles = positions.double()[:, None] * frequencies
    cosine, sine = angles.cos().float()[:, None], angles.sin().float()[:, None]
    low, high = heads[..., :HEAD_DIM // 2], heads[..., HEAD_DIM // 2:]
    return torch.cat([low * cosine - high * sine, high * cosine + low * sine], -1)


def forward(stack):
    """Normed hidden rows [sequences][HIDDEN] of the last tokens, float32 throughout."""
    torch, m = stack.torch, stack.memory
    place = stack.device.place
    starts = starts_of(stack.new)
    table = stack.tensor(m.page_table, len(stack.new), m.pages_per_sequence, kind="int").long()
    ids = stack.tensor(m.ids, m.tokens, kind="int").long()
    hidden = stack.tensor(m.embedding, VOCAB, HIDDEN)[ids].float()
    positions = torch.cat([torch.arange(cached, cached + new, device=place)
                           for new, cached in zip(stack.new, stack.cached)])
    for number in range(stack.layers):
        own = stack.layer(number)
        qkv = normed(hidden, own["input_norm"]) @ own["qkv"].float().t()
        qkv = qkv.view(-1, QUERY_HEADS + 2 * KV_HEADS, HEAD_DIM)
        turned = rotated(torch, qkv[:, :QUERY_HEADS + KV_HEADS], positions)
        attended = torch.empty(m.tokens, QUERY_HEADS, HEAD_DIM, device=place)
        for sequence, (new, cached) in enumerate(zip(stack.new, stack.cached)):
            rows = slice(starts[sequence], starts[sequence + 1])
            pages = table[sequence, :-(-cached // PAGE_TOKENS)]

            def context(pool, fresh):  # [kv heads][tokens][head dim]
                old = own[pool][pages].float().permute(1, 0, 2, 3).reshape(
                    KV_HEADS, len(pages) * PAGE_TOKENS, HEAD_DIM)
                return torch.cat([old[:, :cached], fresh.transpose(0, 1)], 1).repeat_interleave(
                    QUERY_HEADS // KV_HEADS, 0)
            keys = context("key_pages", turned[rows, QUERY_HEADS:])
            values = context("value_pages", qkv[rows, QUERY_HEADS + KV_HEADS:])
            scores = turned[rows, :QUERY_HEADS].transpose(0, 1) @ keys.transpose(1, 2)
            unseen = (torch.arange(new + cached, device=place)[None]
                      > torch.arange(cached, new + cached, device=place)[:, None])
            scores = (scores / math.sqrt(HEAD_DIM)).masked_fill(unseen, float("-inf"))
            attended[rows] = (scores.softmax(-1) @ values).transpose(0, 1)
        hidden = hidden + attended.flatten(1) @ own["output"].float().t()
        gate, up = (normed(hidden, own["post_norm"]) @ own["gate_up"].float().t()).chunk(2, -1)
        hidden = hidden + (torch.nn.functional.silu(gate) * up) @ own["down"].float().t()
    last = [start - 1 for start in starts[1:]]
    return normed(hidden[last], stack.tensor(m.final_norm, HIDDEN))


def check_tokens(stack, hidden):
    """Raises OursFailed when too few tokens are those of float32 logits."""
    logits = hidden @ stack.tensor(stack.memory.head, VOCAB, HIDDEN).float().t()
    ours = stack.tensor(stack.memory.sampled, len(stack.new), kind="int").long()
    best, theirs = logits.max(-1)
    of_ours = logits.gather(1, ours[:, None])[:, 0]
    allowed = 2e-2 * logits.square().mean(-1).sqrt()  # both logits may be off by the limit
    share = equal_tokens(ours.tolist(), theirs.tolist(), best.tolist(), of_ours.tolist(),
                         allowed.tolist())
    if share < EQUAL_TOKENS_MIN:
        raise OursFailed(f"greedy tokens agree on {100 * share:.1f} % of {len(stack.new)} rows")


def prepare_stack(device, case, prepared):
    """`prepared`: the class that takes what every case has. Checked, not timed."""
    stack = Stack(device, case)

    def reference():
        hidden = forward(stack)
        check_tokens(stack, hidden)
        return hidden

    return prepared(1, lambda i: stack.launch(), {},
                    lambda: stack.tensor(stack.memory.last_hidden, len(stack.new), HIDDEN).float(),
                    None, reference, (stack,))
