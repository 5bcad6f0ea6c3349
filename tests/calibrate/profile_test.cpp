// Profile folders: what the writer writes the loader reads, and it refuses whatever is not sound.

#include "calibrate/profile.h"

#include <algorithm>
#include <filesystem>

#include "hw_models/gpu_spec.h"
#include "hw_models/sha256.h"
#include "kernels/measure/profile_writer.h"
#include "tests/calibrate/synthetic_profile.h"

#include "tests/catch.h"

using namespace fleetsim;
using namespace fleetsim::kernels;

namespace {

/// The loader's faults, with DIR for the folder.
std::string faults_of(const std::string& folder, bool require_clean = false) {
  Problems problems;
  const auto profile = load_profile(folder, {require_clean}, problems);
  CHECK(profile.has_value() == problems.empty());
  std::string text = problems.text();
  for (std::size_t at; (at = text.find(folder)) != std::string::npos;)
    text.replace(at, folder.size(), "DIR");
  return text;
}

/// After a table was changed: the manifest vouches for its new content.
void vouch_for(const std::string& folder, const std::string& table, const std::string& old_text) {
  const std::string text = text_of_file(folder + "/" + table);
  const std::string manifest = folder + "/manifest.yaml";
  edit_file(manifest, sha256_hex(old_text), sha256_hex(text));
  edit_file(manifest,
            "bytes: " + std::to_string(old_text.size()) + "\n    sha256: \"" + sha256_hex(text),
            "bytes: " + std::to_string(text.size()) + "\n    sha256: \"" + sha256_hex(text));
}

/// Faults of a fresh synthetic profile in whose table `from` was replaced by `to`, checksum mended.
std::string faults_with(const std::string& table, const std::string& from, const std::string& to) {
  const ScratchFolder scratch;
  const std::string folder = scratch.path("profile");
  write_synthetic_profile(folder);
  const std::string before = text_of_file(folder + "/" + table);
  edit_file(folder + "/" + table, from, to);
  vouch_for(folder, table, before);
  return faults_of(folder);
}

std::string faults_with_manifest(const std::string& from, const std::string& to) {
  const ScratchFolder scratch;
  const std::string folder = scratch.path("profile");
  write_synthetic_profile(folder);
  edit_file(folder + "/manifest.yaml", from, to);
  return faults_of(folder);
}

void check_contains(const std::string& text, const std::string& part) {
  INFO(text << "must hold " << part);
  CHECK(text.find(part) != std::string::npos);
}

}  // namespace

TEST_CASE("a profile reads back as it was written", "[unit]") {
  const ScratchFolder scratch;
  const std::string folder = scratch.path("a/b/profile");
  write_synthetic_profile(folder);
  Problems problems;
  const auto profile = load_profile(folder, {true}, problems);
  INFO(problems.text());
  REQUIRE(profile.has_value());
  const RunFacts facts = synthetic_facts();
  CHECK(profile->facts.device.name == facts.device.name);
  CHECK(profile->facts.device.mem_bytes == facts.device.mem_bytes);
  CHECK(profile->facts.host.cpu == facts.host.cpu);
  CHECK(profile->facts.software.git_rev == facts.software.git_rev);
  CHECK_FALSE(profile->facts.software.dirty);
  CHECK(profile->facts.started_utc == facts.started_utc);
  CHECK(profile->facts.seed == facts.seed);
  CHECK(profile->facts.budget_s == facts.budget_s);
  CHECK(profile->complete);
  CHECK(profile->stopped.empty());
  CHECK(profile->warnings == std::vector<std::string>{"2 points were skipped: µs \"quoted\""});
  CHECK(profile->clocks.sm_mhz_min == 1400);
  CHECK(profile->clocks.power_w_median == 512.5);
  CHECK(profile->ceilings.hbm_read_gb_s == 4294.967296);
  CHECK(profile->ceilings.node_us == 2.4);
  CHECK(profile->ceilings.fp8_tflop_s == 0);
  const std::vector<MeasuredRow> rows = synthetic_rows();
  REQUIRE(profile->rows.size() == rows.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const MeasuredRow& read = profile->rows[i];
    CAPTURE(read.point.text());
    CHECK(read.point == rows[i].point);
    CHECK(read.l2 == rows[i].l2);
    CHECK(read.median_ns == rows[i].median_ns);
    CHECK(read.p10_ns == rows[i].p10_ns);
    CHECK(read.p90_ns == rows[i].p90_ns);
    CHECK(read.n == rows[i].n);
    CHECK(read.clock_mhz == rows[i].clock_mhz);
    CHECK(read.check_err == rows[i].check_err);
    CHECK(read.noisy == rows[i].noisy);
    CHECK(read.note == rows[i].note);
  }
}

TEST_CASE("a table looks as it is documented", "[golden]") {
  const ScratchFolder scratch;
  write_synthetic_profile(scratch.path("p"));
  CHECK(text_of_file(scratch.path("p/gemm.csv")) ==
        "op,dtype,m,n,k,algo,l2,median_ns,p10_ns,p90_ns,samples,clock_mhz,check_err,noisy,note\n"
        "gemm,bf16,256,8192,8192,best8,cold,60000,60000,60000,20,1500,0.001,0,"
        "\"algorithm 21, \"\"split-k\"\" 4\"\n");
  CHECK(text_of_file(scratch.path("p/decode_attention.csv")) ==
        "op,kv_dtype,query_heads,kv_heads,head_dim,page_tokens,lengths,l2,median_ns,p10_ns,p90_ns,"
        "samples,clock_mhz,check_err,noisy,note\n"
        "decode_attention,e4m3,32,8,128,16,\"1x32768,63x512\",cold,48000,47000,53000,20,1500,0.001,"
        "1,\n");
  CHECK(text_of_file(scratch.path("p/rms_norm.csv"))
            .ends_with(",warm,3000,3000,3000,20,,0.001,0,\n"));
}

TEST_CASE("a manifest looks as it is documented", "[golden]") {
  const ScratchFolder scratch;
  write_synthetic_profile(scratch.path("p"));
  const std::string text = text_of_file(scratch.path("p/manifest.yaml"));
  const std::string begin =
      "# Written by fleetsim-kernels. Times in the tables are measured, not fitted.\n"
      "schema: fleetsim.profile/1\n"
      "source: measured\n"
      "device:\n"
      "  name: \"Synthetic GPU\"\n"
      "  sm: 90\n"
      "  sms: 132\n"
      "  l2_bytes: 62914560\n"
      "  mem_bytes: 150000000000\n"
      "  driver: \"1.2\"\n"
      "  cuda: \"13.0\"\n"
      "  runtime: \"13.0\"\n"
      "  vbios: \"\"\n"
      "host:\n"
      "  cpu: \"a CPU of 16 cores, \\\"invented\\\"\"\n"
      "  kernel: \"6.1\"\n"
      "software:\n"
      "  git_rev: \"0123456789abcdef\"\n"
      "  dirty: false\n"
      "  nvcc: \"13.0.88\"\n"
      "  cublaslt: \"13.0\"\n"
      "  flags: \"-O3\"\n"
      "run:\n"
      "  started_utc: \"2026-11-21T09:30:00Z\"\n"
      "  seed: 7\n"
      "  budget_s: 60\n"
      "  order: [ceiling, gemm, decode_attention, swap, rms_norm]\n"
      "  complete: true\n"
      "  stopped: \"\"\n"
      "  warnings:\n"
      "    - \"2 points were skipped: µs \\\"quoted\\\"\"\n"
      "ceilings:\n"
      "  hbm_read_gb_s: 4294.967296\n"
      "  hbm_write_gb_s: null\n";
  CHECK(text.substr(0, begin.size()) == begin);
  const std::string gemm = text_of_file(scratch.path("p/gemm.csv"));
  check_contains(text, "  - file: gemm.csv\n    op: gemm\n    rows: 1\n    bytes: " +
                           std::to_string(gemm.size()) + "\n    sha256: \"" + sha256_hex(gemm) +
                           "\"\n    axes: [dtype, m, n, k, algo]\n"
                           "    units: {m: tokens, n: elements, k: elements}\n");
}

TEST_CASE("texts of any kind survive the manifest", "[unit]") {
  const ScratchFolder scratch;
  RunFacts facts = synthetic_facts();
  facts.host.cpu = "tab\t colon: # [x] {y} \\ \"q\" 'r' \x01 é ≥ 😀";
  facts.host.kernel = "null";
  facts.software.flags = "- a\n- b";
  facts.device.vbios = "broken \xff\xc3 bytes";
  ProfileWriter writer(scratch.path("p"), facts, false);
  writer.finish("");
  Problems problems;
  const auto profile = load_profile(scratch.path("p"), {}, problems);
  INFO(problems.text());
  REQUIRE(profile.has_value());
  CHECK(profile->facts.host.cpu == facts.host.cpu);
  CHECK(profile->facts.host.kernel == "null");
  CHECK(profile->facts.software.flags == facts.software.flags);
  CHECK(profile->facts.device.vbios == "broken ?? bytes");
}

TEST_CASE("after every row the folder can be loaded, and says that it is partial", "[unit]") {
  const ScratchFolder scratch;
  ProfileWriter writer(scratch.path("p"), synthetic_facts(), false);
  std::size_t written = 0;
  for (const MeasuredRow& row : synthetic_rows()) {
    writer.add(row);
    Problems problems;
    const auto profile = load_profile(scratch.path("p"), {}, problems);
    INFO(problems.text());
    REQUIRE(profile.has_value());
    CHECK(profile->rows.size() == ++written);
    CHECK_FALSE(profile->complete);
    CHECK(profile->stopped == "the run has not ended, or was killed");
  }
  writer.finish("budget");
  Problems problems;
  CHECK(load_profile(scratch.path("p"), {}, problems)->stopped == "budget");
}

TEST_CASE("a row that a killed run could not vouch for is left out", "[unit]") {
  const ScratchFolder scratch;
  write_synthetic_profile(scratch.path("p"), "interrupted");
  const std::string table = scratch.path("p/gemm.csv");
  write_file(table, text_of_file(table) + "gemm,bf16,1,81");
  Problems problems;
  const auto profile = load_profile(scratch.path("p"), {}, problems);
  INFO(problems.text());
  REQUIRE(profile.has_value());
  CHECK(profile->rows.size() == synthetic_rows().size());
  // but nothing may be missing
  write_file(table, text_of_file(table).substr(0, 100));
  check_contains(faults_of(scratch.path("p")), "gemm.csv: error: has 100 bytes");
}

TEST_CASE("the writer refuses a folder that holds something, unless forced", "[unit]") {
  const ScratchFolder scratch;
  const std::string folder = scratch.path("p");
  write_synthetic_profile(folder);
  write_file(folder + "/notes.txt", "mine");
  CHECK_THROWS_WITH(ProfileWriter(folder, synthetic_facts(), false),
                    folder +
                        ": holds files already; name another folder with --out, or overwrite "
                        "the profile in it with --force");
  {
    ProfileWriter writer(folder, synthetic_facts(), true);
    writer.add(synthetic_rows()[0]);
    writer.finish("");
  }
  CHECK(text_of_file(folder + "/notes.txt") == "mine");
  CHECK_FALSE(std::filesystem::exists(folder + "/gemm.csv"));
  Problems problems;
  CHECK(load_profile(folder, {}, problems)->rows.size() == 1);
  CHECK_THROWS_WITH(ProfileWriter(folder + "/notes.txt", synthetic_facts(), true),
                    folder + "/notes.txt: is a file; a profile is a folder");
  CHECK_THROWS_AS(ProfileWriter("/proc/nowhere/p", synthetic_facts(), true), ProfileFault);
}

TEST_CASE("the writer takes no row that cannot have been measured", "[unit]") {
  const ScratchFolder scratch;
  ProfileWriter writer(scratch.path("p"), synthetic_facts(), false);
  MeasuredRow row = synthetic_rows()[5];
  row.p10_ns = row.median_ns + 1;
  CHECK_THROWS(writer.add(row));
  row = synthetic_rows()[5];
  row.check_err = std::numeric_limits<double>::infinity();
  CHECK_THROWS(writer.add(row));
  row = synthetic_rows()[5];
  row.median_ns = row.p10_ns = 0;
  CHECK_THROWS(writer.add(row));
  CHECK(writer.rows() == 0);
}

TEST_CASE("folders are named after the GPU as the catalogue names it, and the date", "[unit]") {
  CHECK(default_profile_folder("NVIDIA H200", "2026-11-21T09:30:00Z") ==
        "hw_models/profiles/h200-sxm/2026-11-21");
  for (const char* name :
       {"NVIDIA H200", "NVIDIA H100 80GB HBM3", "NVIDIA A100-SXM4-80GB", "NVIDIA B200",
        "NVIDIA L40S", "NVIDIA A10", "NVIDIA GeForce RTX 4090", "NVIDIA GeForce RTX 5090"}) {
    CAPTURE(name);
    const GpuSpec* gpu = find_gpu(gpu_slug(name));
    REQUIRE(gpu != nullptr);
    CHECK(gpu->name == gpu_slug(name));
  }
  CHECK(gpu_slug("NVIDIA H100 PCIe") == "h100-pcie");
  CHECK(gpu_slug("Some/Other  ../GPU (rev 2)") == "some-other-gpu-rev-2");
  CHECK(gpu_slug("///") == "unknown-gpu");
}

TEST_CASE("a folder without a manifest, or with another one, is refused", "[unit]") {
  const ScratchFolder scratch;
  check_contains(faults_of(scratch.path("none")),
                 "DIR/manifest.yaml: error: cannot be read: No such file or directory");
  check_contains(faults_with_manifest("fleetsim.profile/1", "fleetsim.profile/2"),
                 "DIR/manifest.yaml:2:9: error: schema is 'fleetsim.profile/2'; this version of "
                 "fleetsim reads fleetsim.profile/1\n");
  check_contains(faults_with_manifest("schema: fleetsim.profile/1\n", ""),
                 "no schema: not the manifest of a profile");
  check_contains(faults_with_manifest("source: measured", "source: guessed"),
                 "DIR/manifest.yaml:3:9: error: source is 'guessed'; known is measured");
}

TEST_CASE("all faults of a manifest are told with their places", "[unit]") {
  const ScratchFolder scratch;
  write_synthetic_profile(scratch.path("p"));
  const std::string manifest = scratch.path("p/manifest.yaml");
  edit_file(manifest, "  sms: 132\n", "  sms: many\n  smz: 132\n");
  edit_file(manifest, "  dirty: false\n", "  dirty: maybe\n");
  edit_file(manifest, "  seed: 7\n", "");
  edit_file(manifest, "hbm_write_gb_s: null", "hbm_write_gb_s: -1");
  CHECK(
      faults_of(scratch.path("p")) ==
      "DIR/manifest.yaml:7:8: error: device.sms is 'many'; a whole number, 0 or more, is expected\n"
      "DIR/manifest.yaml:8:3: error: unknown key 'smz'; did you mean 'sm'?\n"
      "DIR/manifest.yaml:20:10: error: software.dirty must be true or false\n"
      "DIR/manifest.yaml:25:3: error: run.seed is missing\n"
      "DIR/manifest.yaml:34:19: error: ceilings.hbm_write_gb_s is '-1'; a number, 0 or more, is "
      "expected\n");
}

TEST_CASE("a dirty build is refused where a release asks", "[unit]") {
  const ScratchFolder scratch;
  write_synthetic_profile(scratch.path("p"));
  edit_file(scratch.path("p/manifest.yaml"), "dirty: false", "dirty: true");
  CHECK(faults_of(scratch.path("p")).empty());
  CHECK(faults_of(scratch.path("p"), true) ==
        "DIR/manifest.yaml:19:10: error: was measured by a build of uncommitted sources (dirty: "
        "true)\n");
}

TEST_CASE("a table that was changed, or is not there, is refused", "[unit]") {
  const ScratchFolder scratch;
  write_synthetic_profile(scratch.path("p"));
  edit_file(scratch.path("p/gemm.csv"), "60000,60000,60000", "60000,60000,60001");
  check_contains(faults_of(scratch.path("p")), "DIR/gemm.csv: error: its sha256 is ");
  std::filesystem::remove(scratch.path("p/gemm.csv"));
  check_contains(faults_of(scratch.path("p")), "DIR/gemm.csv: error: cannot be read: No such file");
}

TEST_CASE("what the manifest says of a table must be what this version means by it", "[unit]") {
  check_contains(faults_with_manifest("file: gemm.csv", "file: ../gemm.csv"),
                 "the table of gemm is gemm.csv, not '../gemm.csv'");
  check_contains(faults_with_manifest("op: gemm\n", "op: gems\n"), "unknown operator 'gems'");
  check_contains(faults_with_manifest("[dtype, m, n, k, algo]", "[dtype, m, k, n, algo]"),
                 "the axes of gemm are dtype, m, n, k, algo, not dtype, m, k, n, algo");
  check_contains(faults_with_manifest("{m: tokens, ", "{m: rows, "),
                 "gemm is measured in other units");
  check_contains(faults_with_manifest("op: gemm\n    rows: 1\n", "op: gemm\n    rows: 2\n"),
                 "gemm.csv has 1 rows; the manifest says 2");
  check_contains(
      faults_with_manifest("file: swap.csv\n    op: swap", "file: gemm.csv\n    op: gemm"),
      "a second table of gemm");
}

TEST_CASE("a table's columns are exactly those of its operator", "[unit]") {
  CHECK(faults_with("gemm.csv", "op,dtype", "op,dtypo") ==
        "DIR/gemm.csv:1:1: error: the column 'dtype' is missing\n"
        "DIR/gemm.csv:1:4: error: unknown column 'dtypo' in a table of gemm\n");
  check_contains(faults_with("gemm.csv", ",m,n,k", ",m,k,n"),
                 "DIR/gemm.csv:1:1: error: the columns stand in another order; expected is op,");
  check_contains(faults_with("gemm.csv", ",note\n", ",note,note\n"),
                 "the column 'note' stands twice");
  check_contains(faults_with("gemm.csv", ",noisy,note\n", ",noisy\n"),
                 "the column 'note' is missing");
}

TEST_CASE("values out of form are refused with line and column", "[unit]") {
  struct Case {
    const char *from, *to, *fault;
  };
  for (const Case& one : {
           Case{"gemm,bf16", "gem,bf16", "2:1: error: op is 'gem'; gemm is expected"},
           Case{"gemm,bf16", "gemm,bf17", "2:6: error: dtype is 'bf17'; one of bf16, fp8,"},
           Case{",256,", ",256.0,", "2:11: error: m is '256.0'; a whole number"},
           Case{"cold", "hot", ": error: l2 is 'hot'; cold or warm is expected"},
           Case{"cold,60000,", "cold,60000.5,",
                "2:36: error: median_ns is '60000.5'; a whole number"},
           Case{"cold,60000,", "cold,,", "2:36: error: median_ns is ''; a whole number"},
           Case{"cold,60000,", "cold,0,",
                "2:36: error: median_ns is '0'; a whole number, 1 or more"},
           Case{"cold,60000,60000", "cold,60000,60001",
                "2:36: error: p10_ns <= median_ns <= p90_ns does not hold"},
           Case{",20,1500,", ",0,1500,", ": error: samples is '0'"},
           Case{",20,1500,", ",20,1.5e3,", ": error: clock_mhz is '1.5e3'"},
           Case{"0.001,0", "nan,0",
                ": error: check_err is 'nan'; a number, 0 or more, is expected"},
           Case{"0.001,0", "-1,0", ": error: check_err is '-1'"},
           Case{"0.001,0", "0.001,yes", ": error: noisy is 'yes'; 0 or 1 is expected"},
           Case{"0.001,0", "0.001", "2:1: error: 14 values where the header has 15"},
           Case{"\" 4\"\n", "\" 4\n", ": error: the quote is never closed"},
           Case{"gemm,bf16", "\"gemm\"x,bf16", "2:7: error: a comma is expected here"},
           Case{"4\"\n", "4\"", "the last line does not end: the file was cut off"},
           Case{"gemm,bf16", "\ngemm,bf16", "2:1: error: 1 values where the header has 15"},
       }) {
    CAPTURE(one.to);
    check_contains(faults_with("gemm.csv", one.from, one.to), one.fault);
  }
}

TEST_CASE("a table that is empty is refused", "[unit]") {
  const ScratchFolder scratch;
  write_synthetic_profile(scratch.path("p"));
  const std::string before = text_of_file(scratch.path("p/gemm.csv"));
  write_file(scratch.path("p/gemm.csv"), "");
  vouch_for(scratch.path("p"), "gemm.csv", before);
  CHECK(faults_of(scratch.path("p")) ==
        "DIR/gemm.csv:1:1: error: the file is empty; a header is expected\n");
}

TEST_CASE("a point measured twice is refused, the same one cold and warm is not", "[unit]") {
  const std::string row = csv_line(synthetic_rows()[8]) + "\n";
  std::string cold = row;
  cold.replace(cold.find("warm"), 4, "cold");
  check_contains(faults_with("rms_norm.csv", row, row + cold + row),
                 "DIR/rms_norm.csv:4:1: error: the point of line 2 again");
  CHECK(faults_with("rms_norm.csv", row, row + cold).find(".csv:") == std::string::npos);
}

TEST_CASE("of many faults in a table twenty are shown and the rest counted", "[unit]") {
  const std::string row = csv_line(synthetic_rows()[8]) + "\n";
  std::string many = row;
  for (int i = 0; i < 30; ++i) many += "x\n";
  const std::string faults = faults_with("rms_norm.csv", row, many);
  CHECK(std::count(faults.begin(), faults.end(), '\n') == 21);
  check_contains(faults, "10 more faults in this file are not shown");
}

TEST_CASE("a time under the physical floor is refused with its arithmetic", "[unit]") {
  // 2 x 256 x 8192 x 8192 FLOPs at 733 TFLOP/s, with 25 % allowed: 37.5 us; its bytes, with 10 %:
  // 30.2 us
  const std::string faults =
      faults_with("gemm.csv", "cold,60000,60000,60000", "cold,37000,37000,37000");
  check_contains(faults,
                 "DIR/gemm.csv:2:36: error: 37000 ns is under the physical floor of 37500 ns: "
                 "3.436e+10 FLOPs, 1.426e+08 bytes of memory");
  CHECK(faults_with("gemm.csv", "cold,60000,60000,60000", "cold,37501,37501,37501").empty());
  check_contains(faults_with("swap.csv", "cold,1500000,1500000,", "cold,1200000,1200000,"),
                 "is under the physical floor of ");
  check_contains(faults_with("decode_attention.csv", "cold,48000,47000,", "cold,20000,20000,"),
                 "is under the physical floor of ");
}

TEST_CASE("the manifest's ceilings are those of the rows, and rows need their ceilings", "[unit]") {
  check_contains(faults_with_manifest("hbm_read_gb_s: 4294.967296", "hbm_read_gb_s: 2000"),
                 "ceilings.hbm_read_gb_s is 2000; the rows of ceilings.csv give 4294.967296");
  check_contains(faults_with_manifest("fp8_tflop_s: null", "fp8_tflop_s: 1000"),
                 "ceilings.fp8_tflop_s is 1000; the rows of ceilings.csv give 0");
  const ScratchFolder scratch;
  {
    ProfileWriter writer(scratch.path("p"), synthetic_facts(), false);
    writer.add(synthetic_rows()[0]);
    writer.add(synthetic_rows()[5]);
    writer.add(synthetic_rows()[7]);
    writer.finish("");
  }
  const std::string faults = faults_of(scratch.path("p"));
  check_contains(faults,
                 "gemm.csv:2:36: error: cannot be judged: no ceiling of bf16 GEMM was measured");
  check_contains(faults, "cannot be judged: no ceiling of device to host copy was measured");
}
