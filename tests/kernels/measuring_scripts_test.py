"""Claims on the scripts around a measurement: ptxas' report and the spread of two profiles."""
import importlib.util
import io
import pathlib
import sys
import tempfile
import unittest
from contextlib import redirect_stderr, redirect_stdout
from importlib.machinery import SourceFileLoader

ROOT = pathlib.Path(__file__).resolve().parents[2]


def load(path):
    loader = SourceFileLoader(path.replace("/", "_").replace("-", "_"), str(ROOT / path))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


ptxas_report = load("scripts/ptxas-report")
profile_spread = load("kernels/profile_spread.py")

CLEAN = """ptxas info    : Compiling entry function '_Z4calmv' for 'sm_90a'
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 168 registers, used 2 barriers
"""
SPILLING = """ptxas info    : Compiling entry function '_Z4busyv' for 'sm_80'
    16 bytes stack frame, 8 bytes spill stores, 12 bytes spill loads
ptxas info    : Used 255 registers
"""


SERIALISED = ("ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async instructions are serialized due to "
              "insufficient register resources for the wgmma pipeline in the function '_Z4calmv'\n")


def run(script, arguments):
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        argv, sys.argv = sys.argv, ["script", *arguments]
        try:
            code = script.main() if script is ptxas_report else script.main(arguments)
        finally:
            sys.argv = argv
    return code, out.getvalue(), err.getvalue()


class PtxasReport(unittest.TestCase):
    def report(self, log):
        with tempfile.NamedTemporaryFile("w", suffix=".log") as file:
            file.write(log)
            file.flush()
            return run(ptxas_report, [file.name])

    def test_a_build_without_spills_passes_and_shows_registers(self):
        code, out, _ = self.report("[1/2] Building\n" + CLEAN)
        self.assertEqual(code, 0)
        self.assertRegex(out, r"calm +sm_90a +168 +0 +0")

    def test_a_spilling_kernel_fails_the_build_by_name(self):
        code, out, err = self.report(CLEAN + SPILLING)
        self.assertEqual(code, 1)
        self.assertRegex(out, r"busy +sm_80 +255 +16 +20")
        self.assertEqual(err, "spills registers: busy\n")

    def test_matrix_instructions_that_wait_for_each_other_fail_the_build(self):
        code, _, err = self.report(SERIALISED + CLEAN)
        self.assertEqual(code, 1)
        self.assertEqual(err, "serialises wgmma: calm\n")

    def test_a_log_without_kernels_is_no_success(self):
        self.assertEqual(self.report("ninja: no work to do.\n")[0], 2)

    def test_parameters_are_cut_and_template_arguments_are_kept(self):
        self.assertEqual(ptxas_report.without_parameters("f<(E)1, g<2>>(char*, int)"), "f<(E)1, g<2>>")


class ProfileSpread(unittest.TestCase):
    HEAD = "op,m,l2,median_ns,p10_ns,p90_ns,samples,clock_mhz,check_err,noisy,note\n"

    def profile(self, folder, rows):
        text = self.HEAD + "".join(f"gemm,{m},cold,{ns},1,9,20,,0,0,\n" for m, ns in rows)
        (pathlib.Path(folder) / "gemm.csv").write_text(text, encoding="utf-8")
        return folder

    def test_only_shared_points_count(self):
        with tempfile.TemporaryDirectory() as a, tempfile.TemporaryDirectory() as b:
            self.profile(a, [(1, 100), (2, 210), (4, 95)])
            self.profile(b, [(2, 200), (4, 100), (8, 1)])
            tables = profile_spread.medians(a), profile_spread.medians(b)
            (row,) = profile_spread.spreads(*tables)
            self.assertEqual(row[:2], ("gemm.csv", 2))
            self.assertAlmostEqual(row[2], 0.05)   # |+5 %| and |-5 %|
            self.assertAlmostEqual(row[4], 0.0)    # which cancel as bias

    def test_nothing_to_compare_is_said(self):
        with tempfile.TemporaryDirectory() as a, tempfile.TemporaryDirectory() as b:
            self.profile(a, [(1, 100)])
            self.assertEqual(run(profile_spread, [a, b])[0], 2)
            self.profile(b, [(2, 100)])
            code, _, err = run(profile_spread, [a, b])
            self.assertEqual((code, err), (2, "the profiles share no point\n"))


if __name__ == "__main__":
    unittest.main()
