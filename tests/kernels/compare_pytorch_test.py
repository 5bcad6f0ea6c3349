"""The comparison with PyTorch, as far as it needs neither PyTorch nor a GPU."""

import ctypes
import io
import re
import sys
import unittest
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "kernels"))

import c_kernels  # noqa: E402
import compare_pytorch  # noqa: E402
import comparison  # noqa: E402
import stack_comparison  # noqa: E402


def run_main(*arguments):
    """Exit code, stdout, stderr; PyTorch is not to be found."""
    out, errors = io.StringIO(), io.StringIO()
    with mock.patch.dict(sys.modules, {"torch": None}), redirect_stdout(out), \
            redirect_stderr(errors):
        try:
            code = compare_pytorch.main(list(arguments))
        except SystemExit as end:  # argparse
            code = end.code
    return code, out.getvalue(), errors.getvalue()


class Cases(unittest.TestCase):
    def test_every_operator_has_cases_and_no_case_comes_twice(self):
        for quick in (False, True):
            cases = comparison.all_cases(quick)
            self.assertEqual({case.op for case in cases}, set(comparison.OPERATORS))
            names = [(case.op, case.name) for case in cases]
            self.assertEqual(len(names), len(set(names)))
            self.assertEqual(set(compare_pytorch.PREPARE), set(comparison.OPERATORS))

    def test_quick_is_a_small_part(self):
        self.assertLess(6 * len(comparison.all_cases(True)), len(comparison.all_cases(False)))

    def test_work_of_a_gemm_by_hand(self):
        case = comparison.gemm_case("bf16", 4, 16, 32)
        self.assertEqual(case.flops, 2 * 4 * 16 * 32)
        self.assertEqual(case.bytes, 2 * (4 * 32 + 16 * 32 + 4 * 16))
        self.assertEqual(comparison.gemm_case("fp8", 4, 16, 32).bytes,
                         4 * 32 + 16 * 32 + 2 * 4 * 16)
        self.assertEqual(comparison.gemm_case("int8", 4, 16, 32).bytes,
                         4 * 32 + 16 * 32 + 4 * 4 * 16)
        # 4 bits a weight, a bf16 scale and 4 bits of zero point for 128 of them
        self.assertEqual(comparison.gemm_case("w4a16", 4, 16, 128).bytes,
                         16 * 128 / 2 + 16 * 2.5 + 2 * 4 * 128 + 2 * 4 * 16)

    def test_work_of_attention_by_hand(self):
        # 3 sequences of 5 tokens, 4 heads on 2, 8 wide: scores and sums are 2 x 2 flops a pair
        case = comparison.decode_case(4, 2, 8, 16, 3, 5)
        self.assertEqual(case.flops, 4 * 4 * 8 * 15)
        self.assertEqual(case.bytes, 2 * 2 * (2 * 8) * 15 + 2 * 2 * (4 * 8) * 3)
        # 3 new tokens behind 2: they see 3, 4 and 5 keys
        case = comparison.prefill_case(4, 2, 8, 16, 1, 3, 2)
        self.assertEqual(case.flops, 4 * 4 * 8 * (3 + 4 + 5))
        self.assertEqual(case.bytes, 2 * 2 * (2 * 8) * 5 + 2 * 2 * (4 * 8) * 3)

        # the same, 4 heads with keys of their own, 192 and 128 wide
        case = comparison.latent_prefill_case(4, 1, 3, 2)
        self.assertEqual(case.flops, 2 * 4 * (192 + 128) * (3 + 4 + 5))
        self.assertEqual(case.bytes, 2 * 4 * (192 * 3 + (192 + 128) * 5 + 128 * 3))

    def test_every_case_fits_beside_its_gathered_copy(self):
        for case in comparison.all_cases(False):
            sets = comparison.operand_sets(case.bytes)
            self.assertLess(3 * sets * case.bytes, 60e9, case.name)

    def test_only_keeps_the_order_and_refuses_what_is_not_there(self):
        cases = comparison.all_cases(True)
        chosen = comparison.chosen_cases(cases, ["rms_norm", "gemm"])
        self.assertEqual(chosen, [case for case in cases if case.op in ("gemm", "rms_norm")])
        self.assertEqual(comparison.chosen_cases(cases, []), cases)
        with self.assertRaisesRegex(ValueError, "no operator 'gem'.*decode_attention"):
            comparison.chosen_cases(cases, ["gem"])

    def test_every_checked_case_has_a_limit(self):
        for case in comparison.all_cases(False):
            if case.op != "copy":
                most = 1e-2 if case.op == "stack" else 5e-3
                self.assertLessEqual(comparison.limit_of(case), most)
        self.assertEqual(comparison.limit_of(comparison.gemm_case("int8", 1, 1, 1)), 0.0)


class Arithmetic(unittest.TestCase):
    def test_sets_rotate_through_more_than_the_cache(self):
        self.assertEqual(comparison.operand_sets(60e6), 3)
        self.assertEqual(comparison.operand_sets(179e6), 2)
        self.assertEqual(comparison.operand_sets(2e9), 1)
        self.assertEqual(comparison.operand_sets(10), comparison.SETS_MAX)

    def test_a_replay_is_long_enough_and_in_whole_rotations(self):
        self.assertEqual(comparison.runs_per_replay(10.0, 1), 20)
        self.assertEqual(comparison.runs_per_replay(10.0, 16), 32)
        self.assertEqual(comparison.runs_per_replay(1000.0, 1), 1)
        self.assertEqual(comparison.runs_per_replay(1000.0, 43), 43)
        self.assertEqual(comparison.runs_per_replay(5000.0, 43), 1)  # a rotation would take 215 ms
        self.assertEqual(comparison.runs_per_replay(0.01, 1), comparison.RUNS_MAX)

    def test_sampling_stops_at_twenty_or_at_thirty_milliseconds_after_five(self):
        self.assertFalse(comparison.enough_samples(19, 29_999.0))
        self.assertTrue(comparison.enough_samples(20, 0.0))
        self.assertFalse(comparison.enough_samples(4, 1e9))
        self.assertTrue(comparison.enough_samples(5, 30_000.0))

    def test_quantiles_lie_between_order_statistics(self):
        self.assertEqual(comparison.quantile([3.0, 1.0, 2.0], 0.5), 2.0)
        self.assertEqual(comparison.quantile([4.0, 1.0, 2.0, 3.0], 0.5), 2.5)
        self.assertEqual(comparison.quantile([7.0], 0.9), 7.0)
        self.assertEqual(comparison.quantile([1.0, 2.0], 1.0), 2.0)

    def test_a_comparison_is_ours_over_theirs_with_the_drift_of_ours(self):
        answer = comparison.aba(9.0, 20.0, 11.0)
        self.assertEqual(answer["ours_us"], 10.0)
        self.assertEqual(answer["ratio"], 0.5)
        self.assertEqual(answer["drift"], 0.2)
        self.assertEqual(comparison.aba(11.0, 20.0, 9.0), answer)


class Table(unittest.TestCase):
    def result(self, case, ways, **more):
        return {"op": case.op, "shape": case.shape, "flops": case.flops, "bytes": case.bytes,
                "ways": ways, **more}

    def test_rows_hold_times_rates_and_ratios(self):
        gemm = comparison.gemm_case("bf16", 1000, 1000, 1000)  # 2 GFLOP
        rows = comparison.table_rows([self.result(
            gemm, {"torch.matmul": comparison.aba(9.0, 20.0, 11.0)})])
        self.assertEqual(rows, [["gemm", "dtype=bf16 m=1000 n=1000 k=1000", "10.0",
                                 "200.0 TFLOP/s", "torch.matmul", "20.0", "0.500", "20.0 %"]])
        copy = comparison.Case("copy", {"bytes": 1000}, 0.0, 2e9)
        rows = comparison.table_rows([self.result(copy, {"Tensor.copy_": {"theirs_us": 500.0}})])
        self.assertEqual(rows[0][5], "500.0 (4000 GB/s)")

    def test_refusals_and_failures_are_told_once_each_and_never_as_a_time(self):
        norm = comparison.rms_norm_case(4, 8, 0)
        results = [self.result(norm, {"rms_norm": {"refused": "not on this GPU"}}),
                   self.result(norm, {"rms_norm": {"refused": "not on this GPU"}}),
                   self.result(norm, {}, failure="wrong: relative error inf")]
        text = comparison.table(results)
        self.assertEqual(len(text.splitlines()), 5)
        self.assertIn("refused", text)
        self.assertNotRegex(text, r"\d us|\d\.\d")
        self.assertEqual(comparison.refusals(results),
                         ["refused: rms_norm, rms_norm: not on this GPU"])
        self.assertEqual(comparison.failures(results), [
            "failed: rms_norm tokens=4 hidden=8 residual=0: wrong: relative error inf"])

    def test_columns_stand_below_each_other(self):
        gemm = comparison.gemm_case("bf16", 1, 2, 3)
        lines = comparison.table([self.result(
            gemm, {"a": comparison.aba(1.0, 1.0, 1.0),
                   "longer": comparison.aba(123456.0, 1.0, 1.0)})]).splitlines()
        place = lines[0].index("PyTorch by")
        self.assertTrue(lines[2][place:].startswith("a "))
        self.assertTrue(lines[3][place:].startswith("longer "))


class Stack(unittest.TestCase):
    def test_shapes_are_those_of_the_stack_that_is_measured(self):
        text = (ROOT / "kernels/measure/stack_shape.cpp").read_text(encoding="utf-8")
        row = re.search(r'\{"' + stack_comparison.STACK + r'", ([0-9, ]+)\}', text).group(1)
        self.assertEqual([int(number) for number in row.split(",")][1:], [
            stack_comparison.HIDDEN, stack_comparison.QUERY_HEADS, stack_comparison.KV_HEADS,
            stack_comparison.HEAD_DIM, stack_comparison.FFN, stack_comparison.VOCAB])

    def test_weights_cache_and_activations_fit_into_its_arena(self):
        for case in comparison.all_cases(False):
            if case.op != "stack":
                continue
            s = case.shape
            tokens = s["batch"] * s["new"] + s["decodes"]
            pages = (s["batch"] + s["decodes"]) * (-(-(s["cached"] + s["new"]) // 16) + 1)
            needed = 2 * s["layers"] * (436e6 / 2 + 2 * pages * 16 * 8 * 128)
            needed += 2 * 2 * 128256 * 4096 + 2 * tokens * 80_000
            needed += 4 * (s["batch"] + s["decodes"]) * 128256
            self.assertLess(1.1 * needed, stack_comparison.ARENA_BYTES)

    def test_rows_begin_where_the_one_before_ends(self):
        self.assertEqual(stack_comparison.starts_of([3, 1, 4]), [0, 3, 4, 8])

    def test_long_wavelengths_are_stretched_and_short_ones_kept(self):
        frequencies = stack_comparison.inverse_frequencies()
        self.assertEqual(frequencies[0], 1.0)
        self.assertAlmostEqual(frequencies[-1], 500_000.0 ** (-126 / 128) / 8)
        self.assertEqual(frequencies, sorted(frequencies, reverse=True))

    def test_tokens_that_float32_cannot_tell_apart_count_as_equal(self):
        share = stack_comparison.equal_tokens([1, 2, 3, 4], [1, 9, 9, 4], [5.0] * 4,
                                              [5.0, 4.999, 4.0, 5.0], [0.01] * 4)
        self.assertEqual(share, 0.75)

    def test_the_table_shows_its_error_and_no_time(self):
        case = comparison.stack_case(1, 2, 3, 4)
        rows = comparison.table_rows([{"op": case.op, "shape": case.shape, "flops": 0.0,
                                       "bytes": 0.0, "ways": {}, "error": 4.2e-3}])
        self.assertEqual(rows, [["stack", "layers=2 batch=1 new=2 cached=3 decodes=4", "",
                                 "error 4.2e-03", "float32", "", "", ""]])


class CInterface(unittest.TestCase):
    """ctypes cannot see a mistake in a struct: the header is read here."""

    TYPES = {"int32_t": c_kernels.I32, "int64_t": c_kernels.I64, "float": c_kernels.F32}

    def header(self):
        return (ROOT / "kernels/program/c_interface.h").read_text(encoding="utf-8")

    def test_structs_have_the_members_of_the_header_in_its_order(self):
        structs = re.findall(r"typedef struct (\w+) \{(.*?)\} \w+;", self.header(), re.DOTALL)
        self.assertEqual({name for name, _ in structs},
                         {name for name in vars(c_kernels) if name.startswith("Fleetsim")})
        for name, body in structs:
            members = []
            for line in filter(None, (line.strip() for line in body.splitlines())):
                kind, member = re.fullmatch(r"(.*?)(\w+);", line).groups()
                members.append((member, c_kernels.P if "*" in kind else self.TYPES[kind.strip()]))
            self.assertEqual(getattr(c_kernels, name)._fields_, members, name)

    def test_formats_have_the_numbers_of_the_header(self):
        numbers = dict(re.findall(r"FLEETSIM_(\w+) = (\d+)", self.header()))
        self.assertEqual({name: int(number) for name, number in numbers.items()},
                         {"BF16": c_kernels.BF16, "FP8": c_kernels.FP8,
                          "FP8_BLOCK": c_kernels.FP8_BLOCK, "INT8": c_kernels.INT8})

    def test_every_function_that_is_called_is_declared(self):
        text = "".join((ROOT / "kernels" / name).read_text(encoding="utf-8")
                       for name in ("compare_pytorch.py", "c_kernels.py", "stack_comparison.py"))
        called = set(re.findall(r"\bfleetsim_[a-z0-9_]+", text)) - {"fleetsim_kernels_c"}
        declared = set(re.findall(r"FLEETSIM_C [^;(]*?(fleetsim_\w+)\(", self.header()))
        self.assertGreater(len(called), 10)
        self.assertLessEqual(called, declared)

    def test_a_call_that_answers_1_raises_with_its_text(self):
        kernels = c_kernels.Kernels.__new__(c_kernels.Kernels)
        kernels.library = mock.Mock()
        kernels.library.fleetsim_rms_norm.return_value = 1
        kernels.library.fleetsim_last_error.return_value = b"hidden is 7"
        with self.assertRaisesRegex(c_kernels.OursFailed, "fleetsim_rms_norm: hidden is 7"):
            kernels.launch("fleetsim_rms_norm", c_kernels.FleetsimRmsNorm(), 0)
        kernels.library.fleetsim_rms_norm.return_value = 0
        kernels.launch("fleetsim_rms_norm", c_kernels.FleetsimRmsNorm(), 0)
        stream = kernels.library.fleetsim_rms_norm.call_args.args[1]
        self.assertIsInstance(stream, ctypes.c_void_p)

    def test_a_library_that_is_not_there_is_not_found(self):
        self.assertIsNone(c_kernels.find_library("/nowhere/libfleetsim_kernels_c.so"))


class Program(unittest.TestCase):
    def test_without_pytorch_one_line_says_so_and_the_answer_is_2(self):
        code, out, errors = run_main("--quick")
        self.assertEqual((code, out), (2, ""))
        self.assertEqual(len(errors.splitlines()), 1)
        self.assertIn("PyTorch is not installed here", errors)

    def test_an_operator_that_is_not_there_is_named(self):
        code, _, errors = run_main("--only", "gem")
        self.assertEqual(code, 2)
        self.assertIn("no operator 'gem'", errors)

    def test_list_needs_no_pytorch(self):
        code, out, _ = run_main("--list", "--only", "copy")
        self.assertEqual((code, out), (0, "copy: bytes=1073741824\n"))

    def test_help_names_every_operator(self):
        code, out, _ = run_main("--help")
        self.assertEqual(code, 0)
        for op in comparison.OPERATORS:
            self.assertIn(op, out)

    def test_unreadable_and_endless_results_are_wrong(self):
        class Numbers(list):  # what relative_error needs of a tensor
            def double(self):
                return self

            def isfinite(self):
                finite = mock.Mock()
                finite.all.return_value = all(abs(value) < 1e300 for value in self)
                return finite

            def __sub__(self, other):
                return Numbers(a - b for a, b in zip(self, other))

            def norm(self):
                return sum(value * value for value in self) ** 0.5

        self.assertEqual(compare_pytorch.relative_error(Numbers([3, 5]), Numbers([3, 4])), 0.2)
        self.assertEqual(compare_pytorch.relative_error(Numbers([3, float("nan")]),
                                                        Numbers([3, 4])), float("inf"))


if __name__ == "__main__":
    unittest.main()
