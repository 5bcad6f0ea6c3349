"""What is compared with PyTorch, and what the figures come to: cases, arithmetic, the table."""

import dataclasses
import math

ROTATED_BYTES = 180e6  # between two uses of an operand: 3 x the L2 of an H200
SETS_MAX = 64
REPLAY_US_MIN = 200.0  # a sample lasts at least so long
REPLAY_US_MAX = 50_000.0
RUNS_MAX = 1024
SAMPLES = 20
SAMPLED_US = 30_000.0  # enough sampled time, after at least SAMPLES_MIN
SAMPLES_MIN = 5
WARMUPS = 3
# relative L2 error of ours: kernels-and-cost-models section 4.7
LIMITS = {
    "decode_attention": 5e-3,
    "prefill_attention": 5e-3,
    "latent_prefill_attention": 5e-3,
    "gemm": {"bf16": 3e-3, "fp8": 5e-3, "fp8_block": 5e-3, "int8": 0.0, "w4a16": 3e-3},
    "rms_norm": 4e-3,
    "rope_kv_write": 4e-3,
    "stack": 1e-2,
}
OPERATORS = ("copy", "gemm", "decode_attention", "prefill_attention", "latent_prefill_attention",
             "rms_norm", "rope_kv_write", "stack")


@dataclasses.dataclass(frozen=True)
class Case:
    """One shape of one operator; `flops` and `bytes` are of one run, for the rates."""

    op: str
    shape: dict
    flops: float = 0.0
    bytes: float = 0.0

    @property
    def name(self):
        return " ".join(f"{key}={value}" for key, value in self.shape.items())


def gemm_case(dtype, m, n, k):
    weight = {"bf16": 2.0, "fp8": 1.0, "fp8_block": 1.0, "int8": 1.0, "w4a16": 0.5 + 2.5 / 128}
    other = 1.0 if dtype in ("fp8", "fp8_block", "int8") else 2.0
    out = 4.0 if dtype == "int8" else 2.0
    return Case("gemm", {"dtype": dtype, "m": m, "n": n, "k": k}, 2.0 * m * n * k,
                weight[dtype] * n * k + other * m * k + out * m * n)


def decode_case(query_heads, kv_heads, head_dim, page_tokens, batch, context):
    shape = {"query_heads": query_heads, "kv_heads": kv_heads, "head_dim": head_dim,
             "page_tokens": page_tokens, "batch": batch, "context": context}
    tokens = batch * context
    return Case("decode_attention", shape, 4.0 * query_heads * head_dim * tokens,
                4.0 * kv_heads * head_dim * tokens + 4.0 * query_heads * head_dim * batch)


def prefill_case(query_heads, kv_heads, head_dim, page_tokens, batch, new, cached):
    """Causal; `new` and `cached` tokens of each sequence."""
    shape = {"query_heads": query_heads, "kv_heads": kv_heads, "head_dim": head_dim,
             "page_tokens": page_tokens, "batch": batch, "new": new, "cached": cached}
    pairs = batch * (new * cached + new * (new + 1) / 2)
    return Case("prefill_attention", shape, 4.0 * query_heads * head_dim * pairs,
                batch * (4.0 * kv_heads * head_dim * (new + cached)
                         + 4.0 * query_heads * head_dim * new))


def latent_prefill_case(heads, batch, new, cached):
    """Causal, keys 192 wide and values 128; `new` and `cached` tokens of each sequence."""
    shape = {"heads": heads, "batch": batch, "new": new, "cached": cached}
    pairs = batch * (new * cached + new * (new + 1) / 2)
    return Case("latent_prefill_attention", shape, 2.0 * heads * (192 + 128) * pairs,
                batch * 2.0 * heads * (192 + 128) * (new + new + cached))


def rms_norm_case(tokens, hidden, residual):
    return Case("rms_norm", {"tokens": tokens, "hidden": hidden, "residual": residual}, 0.0,
                (8.0 if residual else 4.0) * tokens * hidden)


def rope_case(query_heads, kv_heads, head_dim, page_tokens, tokens):
    shape = {"query_heads": query_heads, "kv_heads": kv_heads, "head_dim": head_dim,
             "page_tokens": page_tokens, "tokens": tokens}
    return Case("rope_kv_write", shape, 0.0,
                tokens * head_dim * (4.0 * query_heads + 8.0 * kv_heads))


def stack_case(batch, new, cached, decodes):
    """Two layers of Llama-3.1-8B: `batch` sequences of `new` tokens, `decodes` of one token, all
    behind `cached` ones. Checked, not timed."""
    return Case("stack", {"layers": 2, "batch": batch, "new": new, "cached": cached,
                          "decodes": decodes})


def all_cases(quick):
    """Every case in the order in which they run; `quick`: a sixth of them."""
    sites = [(6144, 4096), (4096, 4096), (28672, 4096), (4096, 14336)]  # Llama-3.1-8B, one GPU
    sites += [(8192, 8192), (7168, 8192)]  # Llama-3.1-70B: o on one GPU, gate-up of eight
    rows = [1, 16, 64, 256, 1024, 4096]
    cases = [Case("copy", {"bytes": 1 << 30}, 0.0, 2.0 * (1 << 30))]
    if quick:
        sites, rows = [(28672, 4096), (8192, 8192)], [1, 64, 4096]
    for dtype in ("bf16", "fp8", "fp8_block", "int8", "w4a16"):
        for n, k in sites:
            cases += [gemm_case(dtype, m, n, k) for m in rows]
    if not quick:
        cases += [gemm_case(dtype, 8192, 8192, 8192) for dtype in ("bf16", "fp8")]
        cases += [gemm_case("fp8", m, 8192, 8192) for m in (257, 513)]  # behind a tile's edge
    heads = [(32, 8, 128)] if quick else [(32, 8, 128), (64, 8, 128), (8, 1, 128), (64, 8, 64)]
    batches = [(1, 1024), (32, 4096), (128, 4096)] if quick else [
        (1, 1024), (1, 8192), (1, 32768), (8, 4096), (32, 1024), (32, 4096), (128, 1024),
        (128, 4096)]
    for query_heads, kv_heads, head_dim in heads:
        for batch, context in batches:
            for page_tokens in ((64,) if quick or batch == 8 else (16, 64)):
                cases.append(decode_case(query_heads, kv_heads, head_dim, page_tokens, batch,
                                         context))
    chunks = [(1, 2048, 0), (1, 8192, 0)] if quick else [
        (1, 512, 0), (1, 1024, 0), (1, 2048, 0), (1, 4096, 0), (1, 8192, 0), (1, 16384, 0),
        (8, 1024, 0), (1, 512, 8192), (4, 256, 2048)]
    for query_heads, kv_heads, head_dim in heads[:2]:
        for batch, new, cached in chunks:
            cases.append(prefill_case(query_heads, kv_heads, head_dim, 64, batch, new, cached))
    latent = [(128, 1, 4096, 0)] if quick else [
        (128, 1, 1024, 0), (128, 1, 4096, 0), (128, 1, 8192, 0), (16, 1, 8192, 0),
        (16, 4, 2048, 0), (16, 1, 1024, 8192)]  # DeepSeek-V3 on one GPU, a rank of eight
    cases += [latent_prefill_case(*one) for one in latent]
    for tokens in ((2048,) if quick else (64, 2048, 8192)):
        cases += [rms_norm_case(tokens, 4096, residual) for residual in (0, 1)]
        cases.append(rope_case(32, 8, 128, 16, tokens))
    stacks = [(0, 1, 777, 100)] if quick else [
        (0, 1, 777, 100), (4, 300, 0, 0), (1, 512, 2000, 63)]  # decode, prompts, a chunk beside
    return cases + [stack_case(*stack) for stack in stacks]


def chosen_cases(cases, only):
    """Those of the operators in `only` (empty: all). Raises ValueError for an unknown one."""
    unknown = [op for op in only if op not in OPERATORS]
    if unknown:
        raise ValueError(f"no operator '{unknown[0]}' here; there are {', '.join(OPERATORS)}")
    return [case for case in cases if not only or case.op in only]


def limit_of(case):
    limit = LIMITS[case.op]
    return limit[case.shape["dtype"]] if isinstance(limit, dict) else limit


def operand_sets(bytes_per_set):
    """Distinct operand sets, so that ROTATED_BYTES lie between two uses of one."""
    return max(1, min(SETS_MAX, math.ceil(ROTATED_BYTES / max(bytes_per_set, 1))))


def runs_per_replay(run_us, sets):
    """At least REPLAY_US_MIN, in whole rotations of the sets while that stays below the most."""
    runs = max(1, min(RUNS_MAX, math.ceil(REPLAY_US_MIN / run_us)))
    rotations = math.ceil(runs / sets) * sets
    return rotations if rotations <= RUNS_MAX and rotations * run_us <= REPLAY_US_MAX else runs


def enough_samples(samples, sampled_us):
    return samples >= SAMPLES or (samples >= SAMPLES_MIN and sampled_us >= SAMPLED_US)


def quantile(values, q):
    """Linear between order statistics (Hyndman and Fan 1996, type 7)."""
    ordered = sorted(values)
    place = q * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def aba(first_us, theirs_us, last_us):
    """Times of one comparison: ours is the mean of both passes, drift how far they lie apart."""
    ours_us = (first_us + last_us) / 2
    return {"ours_us": ours_us, "theirs_us": theirs_us, "ratio": ours_us / theirs_us,
            "drift": abs(last_us - first_us) / ours_us}


def rate_text(case, us):
    if case.flops and case.op in ("gemm", "prefill_attention", "latent_prefill_attention"):
        return f"{case.flops / us / 1e6:.1f} TFLOP/s"
    return f"{case.bytes / us / 1e3:.0f} GB/s"


def table_rows(results):
    """Rows of text, a PyTorch way each: operator, case, ours, rate, way, theirs, ratio, drift."""
    rows = []
    for result in results:
        case = Case(result["op"], result["shape"], result["flops"], result["bytes"])
        if result.get("failure"):
            rows.append([case.op, case.name, "", "", "", "failed", "", ""])
            continue
        if case.op == "stack":  # nothing to time
            rows.append([case.op, case.name, "", f"error {result['error']:.1e}", "float32", "", "",
                         ""])
        for way, answer in result["ways"].items():
            if "refused" in answer:
                rows.append([case.op, case.name, "", "", way, "refused", "", ""])
            elif "ratio" in answer:
                rows.append([case.op, case.name, f"{answer['ours_us']:.1f}",
                             rate_text(case, answer["ours_us"]), way, f"{answer['theirs_us']:.1f}",
                             f"{answer['ratio']:.3f}", f"{100 * answer['drift']:.1f} %"])
            else:  # PyTorch alone
                rows.append([case.op, case.name, "", "", way,
                             f"{answer['theirs_us']:.1f} ({rate_text(case, answer['theirs_us'])})",
                             "", ""])
    return rows


def table(results):
    head = ["operator", "case", "ours us", "ours", "PyTorch by", "its us", "ours/its", "drift"]
    rows = [head] + table_rows(results)
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
             for row in rows]
    return "\n".join([lines[0], "-" * len(lines[0])] + lines[1:])


def refusals(results):
    """Each way that was refused, a line with PyTorch's own words, once."""
    seen = {}
    for result in results:
        for way, answer in result.get("ways", {}).items():
            if "refused" in answer:
                seen.setdefault(f"refused: {result['op']}, {way}: {answer['refused']}", None)
    return list(seen)


def failures(results):
    return [f"failed: {result['op']} {Case(result['op'], result['shape']).name}: "
            f"{result['failure']}" for result in results if result.get("failure")]
