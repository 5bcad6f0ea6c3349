#!/usr/bin/env python3
"""Our kernels beside PyTorch's on one GPU: the same tensors, the same protocol, ratios out.

Each case runs ours and every PyTorch way to do the same, checks both against float32, and times
them as CUDA-graph replays in the order ours, theirs, ours (A-B-A), through operand sets that
together exceed the L2 cache. A ratio below 1 means that ours takes less time.

  attention   scaled_dot_product_attention by cuDNN and by FlashAttention. PyTorch has no pages, so
              keys and values are gathered first and only the attention is timed; ours reads them
              through shuffled page tables. fp8 KV and ragged batches have no counterpart there.
              Latent prefill (keys 192 wide, values 128) is contiguous on both sides.
  gemm        torch.matmul (bf16), torch._scaled_mm (fp8, one scale or blocks), torch._int_mm;
              w4a16 beside torch.matmul on the same weights in bf16
  rms_norm, rope_kv_write
              beside Tensor.copy_ of as many bytes (and torch's rms_norm where it does the same)
  copy        Tensor.copy_ alone: the copy bandwidth of this GPU
  stack       two layers of Llama-3.1-8B in float32 with the same weights: hidden rows and tokens

Needs PyTorch with CUDA and libfleetsim_kernels_c.so, which the build of kernels/ makes."""

import argparse
import ctypes
import dataclasses
import json
import math
import platform
import signal
import sys
import time
from pathlib import Path

import comparison
from c_kernels import (BF16, FP8, FP8_BLOCK, I32, INT8, FleetsimDecodeAttention, FleetsimGemm,
                       FleetsimLatentPrefill, FleetsimPrefillAttention, FleetsimRmsNorm, FleetsimRopeKvWrite,
                       FleetsimW4a16Gemm, Kernels, OursFailed, P, find_library)
from comparison import OPERATORS, operand_sets
from stack_comparison import prepare_stack


@dataclasses.dataclass
class Prepared:
    """A case on the device: what ours and theirs do with operand set `i`, and how to check them."""

    sets: int
    ours: object  # callable(i) on the current stream, or None
    ways: dict  # name: callable(i)
    ours_result: object = None  # callable(): set 0's output of ours as float32, sampled
    way_result: object = None  # callable(what the way returned): the same of theirs
    reference: object = None  # callable(): the same in float32 from the operands
    held: tuple = ()  # tensors that ours reads by address: they live as long as this
    compared_ways: tuple = ()  # ways that compute the same and are checked; others move bytes


class Device:
    """torch and our library, and how both are timed."""

    def __init__(self, torch, kernels, place="cuda"):
        self.torch = torch
        self.kernels = kernels
        self.place = place
        self.generator = torch.Generator(device=place)

    def stream(self):
        return self.torch.cuda.current_stream().cuda_stream

    def normal(self, *shape, scale=1.0):
        out = self.torch.empty(shape, dtype=self.torch.bfloat16, device=self.place)
        return out.normal_(0.0, scale, generator=self.generator)

    def int32(self, values):
        return self.torch.tensor(values, dtype=self.torch.int32, device=self.place)

    def time_us(self, run, sets):
        """Median time of a run in microseconds: graph replays behind a short pause."""
        torch = self.torch
        stream = torch.cuda.Stream()
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))

        def elapsed(work):
            torch.cuda._sleep(60_000)  # the host gets ahead of the device
            begin.record(stream)
            work()
            end.record(stream)
            end.synchronize()
            return 1e3 * begin.elapsed_time(end)

        with torch.cuda.stream(stream):
            for i in range(min(sets, 3)):
                run(i)
            stream.synchronize()
            guess = min(elapsed(lambda: run(i % sets)) for i in range(3))
            runs = comparison.runs_per_replay(max(guess, 1.0), sets)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=stream):
                for i in range(runs):
                    run(i % sets)
            for _ in range(comparison.WARMUPS):
                graph.replay()
            stream.synchronize()
            samples = []
            while not comparison.enough_samples(len(samples), sum(samples) * runs):
                samples.append(elapsed(graph.replay) / runs)
        return comparison.quantile(samples, 0.5)


def page_table(device, batch, pages_of_one):
    """[batch][pages] of a pool that holds exactly these, in random order."""
    order = device.torch.randperm(batch * pages_of_one, generator=device.generator,
                                  device=device.place)
    return order.to(device.torch.int32).view(batch, pages_of_one).contiguous()


def gathered(pages, table, context):
    """[batch][kv_heads][context][head_dim] out of [pages][kv_heads][page_tokens][head_dim]."""
    rows = pages[table.long()]  # [batch][n][kv_heads][page_tokens][head_dim]
    batch, count, kv_heads, page_tokens, head_dim = rows.shape
    rows = rows.permute(0, 2, 1, 3, 4).reshape(batch, kv_heads, count * page_tokens, head_dim)
    return rows[:, :, :context].contiguous()


def sdpa_ways(device, query_of, kv_of, scale, causal, bias=None):
    """The backends of scaled_dot_product_attention, each alone; tried by whoever calls them."""
    torch = device.torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    attention = torch.nn.functional.scaled_dot_product_attention

    def way(backend):
        def run(i):
            keys, values = kv_of(i)
            with sdpa_kernel(backend):
                return attention(query_of(i), keys, values, attn_mask=bias, is_causal=causal,
                                 scale=scale, enable_gqa=True)
        return run
    return {"SDPA cuDNN": way(SDPBackend.CUDNN_ATTENTION),
            "SDPA FlashAttention": way(SDPBackend.FLASH_ATTENTION)}


def attention_in_float(torch, query, keys, values, scale, visible):
    """query [rows][heads][d] of one sequence, row i sees visible[i] tokens; float32."""
    group = query.shape[1] // keys.shape[0]
    keys = keys.float().repeat_interleave(group, 0)  # [heads][tokens][d]
    values = values.float().repeat_interleave(group, 0)
    scores = scale * torch.einsum("rhd,htd->hrt", query.float(), keys)
    tokens = torch.arange(keys.shape[1], device=keys.device)
    scores = scores.masked_fill(tokens[None, None, :] >= visible[None, :, None], float("-inf"))
    return torch.einsum("hrt,htd->rhd", scores.softmax(-1), values)


def prepared_workspace(device, bytes_of, prepare, arguments):
    """One workspace for all sets of arguments of an operator; it must outlive them. `bytes_of` and
    `prepare`: the functions of the operator."""
    size = ctypes.c_size_t()
    device.kernels.call(bytes_of, ctypes.byref(arguments[0]), ctypes.byref(size))
    workspace = device.torch.empty(size.value, dtype=device.torch.uint8, device=device.place)
    for own in arguments:
        own.workspace = workspace.data_ptr()
    device.kernels.launch(prepare, arguments[0], device.stream())
    return workspace


def prepare_decode(device, case):
    torch, s = device.torch, case.shape
    batch, context, head_dim = s["batch"], s["context"], s["head_dim"]
    pages_of_one = -(-context // s["page_tokens"])
    scale = 1.0 / math.sqrt(head_dim)
    sets = operand_sets(case.bytes)
    table = page_table(device, batch, pages_of_one)
    lengths = device.int32([context] * batch)
    queries, outs, arguments, pools, contiguous = [], [], [], [], []
    for _ in range(sets):
        queries.append(device.normal(batch, s["query_heads"], head_dim))
        outs.append(torch.full_like(queries[-1], float("nan")))
        pools.append([device.normal(batch * pages_of_one, s["kv_heads"], s["page_tokens"], head_dim)
                      for _ in range(2)])
        contiguous.append([gathered(pool, table, context) for pool in pools[-1]])
        arguments.append(FleetsimDecodeAttention(
            query=queries[-1].data_ptr(), key_pages=pools[-1][0].data_ptr(),
            value_pages=pools[-1][1].data_ptr(), page_table=table.data_ptr(),
            lengths=lengths.data_ptr(), out=outs[-1].data_ptr(), kv_format=BF16, sequences=batch,
            query_heads=s["query_heads"], kv_heads=s["kv_heads"], head_dim=head_dim,
            page_tokens=s["page_tokens"], pages_per_sequence=pages_of_one, softmax_scale=scale,
            key_scale=1.0, value_scale=1.0))
    workspace = prepared_workspace(device, "fleetsim_decode_attention_workspace_bytes",
                                   "fleetsim_prepare_decode_attention_workspace", arguments)
    sample = sorted({0, batch // 2, batch - 1})

    def reference():
        visible = torch.full((1,), context, device=device.place)
        return torch.stack([
            attention_in_float(torch, queries[0][b:b + 1], contiguous[0][0][b], contiguous[0][1][b],
                               scale, visible)[0] for b in sample])

    return Prepared(
        sets, lambda i: device.kernels.launch("fleetsim_decode_attention", arguments[i],
                                              device.stream()),
        sdpa_ways(device, lambda i: queries[i].unsqueeze(2), lambda i: contiguous[i], scale, False),
        lambda: outs[0][sample].float(), lambda out: out[sample, :, 0].float(), reference,
        (queries, pools, outs, table, lengths, workspace), ("SDPA cuDNN", "SDPA FlashAttention"))


def prepare_prefill(device, case):
    torch, s = device.torch, case.shape
    batch, new, cached, head_dim = s["batch"], s["new"], s["cached"], s["head_dim"]
    context = new + cached
    pages_of_one = -(-context // s["page_tokens"])
    scale = 1.0 / math.sqrt(head_dim)
    sets = operand_sets(case.bytes)
    table = page_table(device, batch, pages_of_one)
    starts = device.int32([i * new for i in range(batch + 1)])
    cached_lengths = device.int32([cached] * batch)
    queries, outs, arguments, pools, contiguous = [], [], [], [], []
    for _ in range(sets):
        queries.append(device.normal(batch * new, s["query_heads"], head_dim))
        outs.append(torch.full_like(queries[-1], float("nan")))
        pools.append([device.normal(batch * pages_of_one, s["kv_heads"], s["page_tokens"], head_dim)
                      for _ in range(2)])
        contiguous.append([gathered(pool, table, context) for pool in pools[-1]])
        arguments.append(FleetsimPrefillAttention(
            query=queries[-1].data_ptr(), key_pages=pools[-1][0].data_ptr(),
            value_pages=pools[-1][1].data_ptr(), page_table=table.data_ptr(),
            query_starts=starts.data_ptr(), cached_lengths=cached_lengths.data_ptr(),
            out=outs[-1].data_ptr(), sequences=batch, total_tokens=batch * new,
            query_heads=s["query_heads"], kv_heads=s["kv_heads"], head_dim=head_dim,
            page_tokens=s["page_tokens"], pages_per_sequence=pages_of_one, causal=1,
            softmax_scale=scale))
    workspace = prepared_workspace(device, "fleetsim_prefill_attention_workspace_bytes",
                                   "fleetsim_prepare_prefill_attention_workspace", arguments)
    bias = None
    if cached:  # is_causal counts from the first key: wrong behind a cached context
        from torch.nn.attention.bias import causal_lower_right
        bias = causal_lower_right(new, context)
    rows = sorted({0, new // 3, new // 2, new - 1} | set(range(min(new, 32))))  # of the last one

    def reference():
        visible = torch.tensor([cached + row + 1 for row in rows], device=device.place)
        return attention_in_float(torch, queries[0].view(batch, new, s["query_heads"], head_dim)[
            -1][rows], contiguous[0][0][-1], contiguous[0][1][-1], scale, visible)

    return Prepared(
        sets, lambda i: device.kernels.launch("fleetsim_prefill_attention", arguments[i],
                                              device.stream()),
        sdpa_ways(device, lambda i: queries[i].view(batch, new, s["query_heads"], head_dim)
                  .transpose(1, 2), lambda i: contiguous[i], scale, bias is None, bias),
        lambda: outs[0].view(batch, new, s["query_heads"], head_dim)[-1][rows].float(),
        lambda out: out[-1][:, rows].transpose(0, 1).float(), reference,
        (queries, pools, outs, table, starts, cached_lengths, workspace),
        ("SDPA cuDNN", "SDPA FlashAttention"))


def prepare_latent_prefill(device, case):
    torch, s = device.torch, case.shape
    batch, new, cached, heads = s["batch"], s["new"], s["cached"], s["heads"]
    context = new + cached
    scale = 1.0 / math.sqrt(192)
    sets = operand_sets(case.bytes)
    starts = device.int32([i * new for i in range(batch + 1)])
    key_starts = device.int32([i * context for i in range(batch)])
    cached_lengths = device.int32([cached] * batch)
    queries, keys, values, outs, arguments = [], [], [], [], []
    for _ in range(sets):
        queries.append(device.normal(batch * new, heads, 192))
        keys.append(device.normal(batch * context, heads, 192))
        values.append(device.normal(batch * context, heads, 128))
        outs.append(torch.full_like(queries[-1][..., :128], float("nan"),
                                    memory_format=torch.contiguous_format))
        arguments.append(FleetsimLatentPrefill(
            query=queries[-1].data_ptr(), keys=keys[-1].data_ptr(), values=values[-1].data_ptr(),
            query_starts=starts.data_ptr(), cached_lengths=cached_lengths.data_ptr(),
            key_starts=key_starts.data_ptr(), out=outs[-1].data_ptr(), sequences=batch,
            total_tokens=batch * new, total_keys=batch * context, heads=heads, causal=1,
            softmax_scale=scale))
    workspace = prepared_workspace(device, "fleetsim_latent_prefill_workspace_bytes",
                                   "fleetsim_prepare_latent_prefill_workspace", arguments)
    bias = None
    if cached:  # is_causal counts from the first key: wrong behind a cached context
        from torch.nn.attention.bias import causal_lower_right
        bias = causal_lower_right(new, context)
    rows = sorted({0, new // 3, new // 2, new - 1})  # of the last sequence

    def by_head(tensor, tokens):  # [batch][heads][tokens][width], a view
        return tensor.view(batch, tokens, heads, tensor.shape[-1]).transpose(1, 2)

    def reference():
        visible = torch.tensor([cached + row + 1 for row in rows], device=device.place)
        return attention_in_float(
            torch, queries[0].view(batch, new, heads, 192)[-1][rows],
            by_head(keys[0], context)[-1], by_head(values[0], context)[-1], scale, visible)

    return Prepared(
        sets, lambda i: device.kernels.launch("fleetsim_latent_prefill", arguments[i],
                                              device.stream()),
        sdpa_ways(device, lambda i: by_head(queries[i], new),
                  lambda i: (by_head(keys[i], context), by_head(values[i], context)), scale,
                  bias is None, bias),
        lambda: outs[0].view(batch, new, heads, 128)[-1][rows].float(),
        lambda out: out[-1][:, rows].transpose(0, 1).float(), reference,
        (queries, keys, values, outs, starts, key_starts, cached_lengths, workspace),
        ("SDPA cuDNN", "SDPA FlashAttention"))


def quantised(device, values, dtype, of_weights, rows_padded):
    """Codes, scales as our kernels read them, values in float32. The same scales serve PyTorch."""
    torch = device.torch
    if dtype == "bf16":
        return values, None, values.float()
    if dtype == "int8":
        codes = torch.randint(-128, 128, (rows_padded, values.shape[1]), dtype=torch.int8,
                              generator=device.generator, device=device.place)
        return codes, None, codes.float()
    rows, columns = values.shape
    wide = torch.zeros(rows_padded, columns, device=device.place)
    wide[:rows] = values.float()
    if dtype == "fp8":
        scales = (wide.abs().max() / 448.0).reshape(1)
        spread = scales.view(1, 1)
    else:
        blocks = -(-columns // 128)
        height = 128 if of_weights else 1
        tall = -(-rows_padded // height)
        padded = torch.zeros(tall * height, blocks * 128, device=device.place)
        padded[:rows_padded, :columns] = wide
        largest = padded.view(tall, height, blocks, 128).abs().amax((1, 3)) / 448.0
        largest[largest == 0] = 1.0
        spread = largest.repeat_interleave(height, 0)[:rows_padded]
        spread = spread.repeat_interleave(128, 1)[:, :columns]
        if of_weights:  # [n/128][k/128 rounded up to 4]
            scales = torch.zeros(tall, -(-blocks // 4) * 4, device=device.place)
            scales[:, :blocks] = largest
        else:  # [k/128][rows]
            scales = largest.t().contiguous()
    codes = (wide / spread).to(torch.float8_e4m3fn)
    return codes, scales, codes.float() * spread


def prepare_gemm(device, case):
    torch, s = device.torch, case.shape
    dtype, m, n, k = s["dtype"], s["m"], s["n"], s["k"]
    if dtype == "w4a16":
        return prepare_w4a16(device, case)
    rows = -(-m // 4) * 4 if dtype == "fp8_block" else m
    formats = {"bf16": BF16, "fp8": FP8, "fp8_block": FP8_BLOCK, "int8": INT8}
    out_type = torch.int32 if dtype == "int8" else torch.bfloat16
    plan, algorithms = P(), I32()
    device.kernels.call("fleetsim_gemm_plan", I32(formats[dtype]), I32(m), I32(n), I32(k),
                        ctypes.byref(plan), ctypes.byref(algorithms))
    sets = operand_sets(case.bytes)
    operands, arguments = [], []
    for _ in range(sets):
        a, a_scales, a_float = quantised(device, device.normal(m, k), dtype, False, rows)
        w, w_scales, w_float = quantised(device, device.normal(n, k, scale=1 / math.sqrt(k)), dtype,
                                         True, n)
        out = torch.zeros(rows, n, dtype=out_type, device=device.place)
        if operands:  # float32 copies of the first set only
            a_float = w_float = None
        operands.append((a, w, a_scales, w_scales, out, a_float, w_float))
        arguments.append(FleetsimGemm(
            activations=a.data_ptr(), weights=w.data_ptr(), out=out.data_ptr(),
            activation_scales=a_scales.data_ptr() if a_scales is not None else None,
            weight_scales=w_scales.data_ptr() if w_scales is not None else None))
    theirs_out = torch.empty(m, n, dtype=out_type, device=device.place)

    def matmul(i):
        return torch.matmul(operands[i][0], operands[i][1].t(), out=theirs_out)

    def int_mm(i):
        return torch._int_mm(operands[i][0], operands[i][1].t())

    def scaled_mm(i):
        a, w, a_scales, w_scales = operands[i][:4]
        if dtype == "fp8":
            a_scales, w_scales = a_scales.view(()), w_scales.view(())
        else:  # as torch recognises blocks: (m, k/128) and (k/128, n/128), strides of our layouts
            a_scales, w_scales = a_scales.t(), w_scales[:, :-(-k // 128)].t()
        return torch._scaled_mm(a, w.t(), scale_a=a_scales, scale_b=w_scales,
                                out_dtype=torch.bfloat16, use_fast_accum=False)

    ways = {"bf16": {"torch.matmul": matmul}, "int8": {"torch._int_mm": int_mm}}.get(
        dtype, {"torch._scaled_mm": scaled_mm})
    sample = sorted({0, m // 2, m - 1})

    def reference():  # int8 exactly, others in float32
        _, _, _, _, _, a_float, w_float = operands[0]
        if dtype == "int8":
            return a_float[sample].double() @ w_float.double().t()
        return a_float[sample] @ w_float.t()

    class Plan:  # freed with the case
        def __del__(self):
            device.kernels.library.fleetsim_free_gemm_plan(plan)

    def ours(i):
        device.kernels.call("fleetsim_gemm", plan, I32(0), ctypes.byref(arguments[i]),
                            P(device.stream()))

    return Prepared(sets, ours, ways, lambda: operands[0][4][sample].double(),
                    lambda out: out[sample].double(), reference, (Plan(), operands, theirs_out),
                    tuple(ways))


def prepare_w4a16(device, case):
    torch, s = device.torch, case.shape
    m, n, k = s["m"], s["n"], s["k"]
    size, zeroed = ctypes.c_size_t(), ctypes.c_size_t()
    device.kernels.call("fleetsim_w4a16_workspace_bytes", I32(m), I32(n), I32(k),
                        ctypes.byref(size), ctypes.byref(zeroed))
    workspace = torch.zeros(max(size.value, 1), dtype=torch.uint8, device=device.place)
    device.kernels.call("fleetsim_w4a16_tiles_bytes", I32(n), I32(k), ctypes.byref(size))
    sets = operand_sets(case.bytes)
    codes = torch.randint(0, 16, (k, n), dtype=torch.uint8)
    zeros = torch.randint(0, 16, (k // 128, n), dtype=torch.uint8)
    scales = (torch.rand(k // 128, n) * 0.2 / math.sqrt(k) + 0.1 / math.sqrt(k)).to(torch.bfloat16)
    tiles = torch.empty(size.value, dtype=torch.uint8)
    device.kernels.call("fleetsim_pack_w4a16_tiles", P(codes.data_ptr()), P(zeros.data_ptr()),
                        P(scales.data_ptr()), I32(n), I32(k), P(tiles.data_ptr()))
    exact = ((codes.float() - zeros.float().repeat_interleave(128, 0))
             * scales.float().repeat_interleave(128, 0)).t().contiguous().to(device.place)  # [n][k]
    packed = [tiles.to(device.place) for _ in range(sets)]
    plain = [exact.to(torch.bfloat16) for _ in range(operand_sets(2.0 * n * k))]
    inputs = [device.normal(m, k) for _ in range(sets)]
    outs = [torch.full((m, n), float("nan"), dtype=torch.bfloat16, device=device.place)
            for _ in range(sets)]
    arguments = [FleetsimW4a16Gemm(activations=inputs[i].data_ptr(), weights=packed[i].data_ptr(),
                                   out=outs[i].data_ptr(), workspace=workspace.data_ptr(), m=m, n=n,
                                   k=k) for i in range(sets)]
    theirs_out = torch.empty(m, n, dtype=torch.bfloat16, device=device.place)
    sample = sorted({0, m // 2, m - 1})
    return Prepared(
        sets, lambda i: device.kernels.launch("fleetsim_w4a16_gemm", arguments[i], device.stream()),
        {"torch.matmul on bf16 weights": lambda i: torch.matmul(
            inputs[i], plain[i % len(plain)].t(), out=theirs_out)},
        lambda: outs[0][sample].float(), lambda out: out[sample].float(),
        lambda: inputs[0][sample].float() @ exact.t(),
        (inputs, packed, outs, workspace, theirs_out),
        ("torch.matmul on bf16 weights",))


def copy_way(device, moved_bytes, sets):
    """Tensor.copy_ that reads and writes `moved_bytes` together."""
    torch = device.torch
    count = max(1, int(moved_bytes) // 2)
    pairs = [[torch.empty(count, dtype=torch.uint8, device=device.place).random_(
        0, 256, generator=device.generator) for _ in range(2)] for _ in range(sets)]
    return lambda i: pairs[i][0].copy_(pairs[i][1])


def prepare_rms_norm(device, case):
    torch, s = device.torch, case.shape
    tokens, hidden = s["tokens"], s["hidden"]
    sets = operand_sets(case.bytes)
    epsilon = 1e-5
    weight = device.normal(hidden)
    x = [device.normal(tokens, hidden) for _ in range(sets)]
    residual = [device.normal(tokens, hidden) if s["residual"] else None for _ in range(sets)]
    outs = [torch.full_like(own, float("nan")) for own in x]
    arguments = [FleetsimRmsNorm(x=x[i].data_ptr(), weight=weight.data_ptr(),
                                 residual=residual[i].data_ptr() if s["residual"] else None,
                                 values=outs[i].data_ptr(), tokens=tokens, hidden=hidden,
                                 epsilon=epsilon) for i in range(sets)]
    summed = x[0].float()  # before ours writes the residual back
    if s["residual"]:
        summed = (summed + residual[0].float()).to(torch.bfloat16).float()
    ways = {"Tensor.copy_ of as many bytes": copy_way(device, case.bytes, sets)}
    if not s["residual"]:
        ways["rms_norm"] = lambda i: torch.nn.functional.rms_norm(x[i], (hidden,), weight, epsilon)
    return Prepared(
        sets, lambda i: device.kernels.launch("fleetsim_rms_norm", arguments[i], device.stream()),
        ways, lambda: outs[0].float(), lambda out: out.float(),
        lambda: summed * torch.rsqrt(summed.square().mean(-1, keepdim=True) + epsilon)
        * weight.float(), (x, residual, weight), ("rms_norm",))


def prepare_rope(device, case):
    torch, s = device.torch, case.shape
    tokens, head_dim, page_tokens = s["tokens"], s["head_dim"], s["page_tokens"]
    query_heads, kv_heads = s["query_heads"], s["kv_heads"]
    sets = operand_sets(case.bytes)
    pages = -(-tokens // page_tokens)
    table = torch.empty(tokens, head_dim)
    device.kernels.call("fleetsim_rotary_table", I32(head_dim), ctypes.c_double(500_000.0),
                        I32(tokens), P(table.data_ptr()))
    table = table.to(device.place)
    slots = torch.randperm(pages * page_tokens, generator=device.generator,
                           device=device.place)[:tokens].contiguous()
    positions = torch.arange(tokens, dtype=torch.int32, device=device.place)
    heads = query_heads + 2 * kv_heads
    qkv = [device.normal(tokens, heads, head_dim) for _ in range(sets)]
    queries = [torch.full((tokens, query_heads, head_dim), float("nan"), dtype=torch.bfloat16,
                          device=device.place) for _ in range(sets)]
    caches = [[torch.zeros(pages, kv_heads, page_tokens, head_dim, dtype=torch.bfloat16,
                           device=device.place) for _ in range(2)] for _ in range(sets)]
    arguments = [FleetsimRopeKvWrite(
        qkv=qkv[i].data_ptr(), query=queries[i].data_ptr(), key_pages=caches[i][0].data_ptr(),
        value_pages=caches[i][1].data_ptr(), slots=slots.data_ptr(),
        positions=positions.data_ptr(), table=table.data_ptr(), query_row=query_heads * head_dim,
        kv_format=BF16, tokens=tokens, query_heads=query_heads, kv_heads=kv_heads,
        head_dim=head_dim, page_tokens=page_tokens, key_scale=1.0, value_scale=1.0)
        for i in range(sets)]

    def ours_result():  # queries, then keys and values where the slots say
        flat = [cache.transpose(1, 2).reshape(-1, kv_heads, head_dim)[slots] for cache in caches[0]]
        return torch.cat([queries[0], *flat], 1).float()

    def reference():
        wide = qkv[0].float()
        half = head_dim // 2
        cosine, sine = table[:, None, :half], table[:, None, half:]
        turned = wide[:, :query_heads + kv_heads]
        low, high = turned[..., :half], turned[..., half:]
        rotated = torch.cat([low * cosine - high * sine, high * cosine + low * sine], -1)
        return torch.cat([rotated, wide[:, query_heads + kv_heads:]], 1)

    return Prepared(
        sets, lambda i: device.kernels.launch("fleetsim_rope_kv_write", arguments[i],
                                              device.stream()),
        {"Tensor.copy_ of as many bytes": copy_way(device, case.bytes, sets)}, ours_result, None,
        reference, (qkv, table, positions, slots))


def prepare_copy(device, case):
    return Prepared(1, None, {"Tensor.copy_": copy_way(device, case.bytes, 1)})


PREPARE = {"copy": prepare_copy, "gemm": prepare_gemm, "decode_attention": prepare_decode,
           "prefill_attention": prepare_prefill,
           "latent_prefill_attention": prepare_latent_prefill, "rms_norm": prepare_rms_norm,
           "rope_kv_write": prepare_rope,
           "stack": lambda device, case: prepare_stack(device, case, Prepared)}


def relative_error(out, reference):
    """||out - reference|| / ||reference||; infinite when something is not finite."""
    out, reference = out.double(), reference.double()
    if not bool(out.isfinite().all()):
        return math.inf
    return float((out - reference).norm() / reference.norm())


def one_line(error):
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def run_case(device, case, seed):
    """Checks, then times A-B-A. What went wrong stands in the answer instead of times."""
    torch = device.torch
    result = {"op": case.op, "shape": case.shape, "flops": case.flops, "bytes": case.bytes,
              "ways": {}}
    device.generator.manual_seed(seed)
    try:
        prepared = PREPARE[case.op](device, case)
        if prepared.ours is not None:
            prepared.ours(0)
            torch.cuda.synchronize()
            reference = prepared.reference()
            result["error"] = relative_error(prepared.ours_result(), reference)
            result["error_limit"] = comparison.limit_of(case)
            if not result["error"] <= result["error_limit"]:
                result["failure"] = (f"wrong: relative error {result['error']:.2e}, "
                                     f"limit {result['error_limit']:.0e}")
                return result
    except OursFailed as error:
        result["failure"] = one_line(error)
        return result
    except torch.OutOfMemoryError:
        result["failure"] = "does not fit into this GPU's memory"
        return result
    for way, run in prepared.ways.items():
        answer = result["ways"][way] = {}
        try:
            out = run(0)
            torch.cuda.synchronize()
        except (RuntimeError, TypeError, ValueError, AttributeError, NotImplementedError) as error:
            answer["refused"] = one_line(error)
            continue
        if way in prepared.compared_ways:
            answer["error"] = relative_error(prepared.way_result(out), reference)
        if prepared.ours is None:
            answer["theirs_us"] = device.time_us(run, prepared.sets)
            continue
        first = device.time_us(prepared.ours, prepared.sets)
        theirs = device.time_us(run, prepared.sets)
        answer.update(comparison.aba(first, theirs, device.time_us(prepared.ours, prepared.sets)))
    return result


def versions(torch, kernels):
    properties = torch.cuda.get_device_properties(0)
    return {"device": properties.name, "sm": f"{properties.major}.{properties.minor}",
            "multiprocessors": properties.multi_processor_count, "torch": torch.__version__,
            "torch_cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version(),
            "cublaslt": kernels.library.fleetsim_cublaslt_version().decode(),
            "python": platform.python_version()}


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", default=[], metavar="OP",
                        help=f"one operator, may be given again: {', '.join(OPERATORS)}")
    parser.add_argument("--quick", action="store_true", help="a few cases of each operator")
    parser.add_argument("--list", action="store_true", help="print the cases and end; needs no GPU")
    parser.add_argument("--library", metavar="FILE",
                        help="libfleetsim_kernels_c.so (default: the newest below build/)")
    parser.add_argument("--out", default="compare_pytorch.json", metavar="FILE",
                        help="where the JSON goes (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the operands (default: 1)")
    return parser.parse_args(arguments)


def refuse(text):
    print(f"compare_pytorch: {text}", file=sys.stderr)
    return 2


def main(arguments):
    options = parse(arguments)
    try:
        cases = comparison.chosen_cases(comparison.all_cases(options.quick), options.only)
    except ValueError as error:
        return refuse(str(error))
    if options.list:
        for case in cases:
            print(f"{case.op}: {case.name}")
        return 0
    try:
        import torch
    except ImportError:
        return refuse("PyTorch is not installed here; it needs one with CUDA (--list needs none)")
    if not torch.cuda.is_available():
        return refuse(f"PyTorch {torch.__version__} sees no CUDA device")
    path = find_library(options.library)
    if path is None:
        return refuse("no libfleetsim_kernels_c.so; build it: cmake -S kernels -B build/kernels && "
                      "cmake --build build/kernels")
    try:
        kernels = Kernels(path)
    except OSError as error:
        return refuse(f"cannot load {path}: {one_line(error)}")
    torch.backends.cuda.matmul.allow_tf32 = False  # references are float32
    device = Device(torch, kernels)
    report = {"schema": "fleetsim.compare_pytorch/1", "versions": versions(torch, kernels),
              "seed": options.seed, "order": "ours, theirs, ours", "results": []}
    try:
        for number, case in enumerate(cases):
            print(f"[{number + 1}/{len(cases)}] {case.op} {case.name}", file=sys.stderr, flush=True)
            report["results"].append(run_case(device, case, options.seed + number))
            torch.cuda.empty_cache()
    except KeyboardInterrupt:
        report["stopped"] = "interrupted"
    except RuntimeError as error:  # after a fault the device is lost for this process
        report["stopped"] = one_line(error)
    report["written"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    Path(options.out).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(comparison.table(report["results"]))
    for line in comparison.refusals(report["results"]) + comparison.failures(report["results"]):
        print(line)
    print(f"{report['versions']['device']}, torch {report['versions']['torch']}, cuBLASLt "
          f"{report['versions']['cublaslt']}; {options.out}")
    if report.get("stopped"):
        print(f"stopped: {report['stopped']}; {len(report['results'])} of {len(cases)} cases done",
              file=sys.stderr)
        return 130 if report["stopped"] == "interrupted" else 1
    return 1 if any(result.get("failure") for result in report["results"]) else 0


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `--list | head` ends quietly
    sys.exit(main(sys.argv[1:]))
