// `fleetsim calibrate bench` against a fleetsim-kernels that is a shell script: what is handed
// over, what is understood, and how every kind of end is told.

#include "calibrate/bench.h"

#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <thread>

#include "calibrate/profile.h"
#include "kernels/measure/profile_writer.h"
#include "tests/calibrate/synthetic_profile.h"

#include "tests/catch.h"

using namespace fleetsim;
using kernels::event_line;

namespace {

void check_contains(const std::string& text, const std::string& part) {
  INFO(text << "must hold " << part);
  CHECK(text.find(part) != std::string::npos);
}

/// A folder with a script in the place of fleetsim-kernels, and the events it may print.
struct FakeKernels {
  ScratchFolder scratch;
  std::string program = scratch.path("fleetsim-kernels");
  std::string profile = scratch.path("profile");

  explicit FakeKernels(const std::string& script) {
    write_synthetic_profile(profile);
    using namespace kernels;
    const auto rows = synthetic_rows();
    std::string begin = event_line(DeviceEvent{synthetic_facts().device, profile}) + "\n";
    for (std::size_t i = 0; i < rows.size(); ++i) {
      begin += event_line(ProgressEvent{static_cast<std::int64_t>(i),
                                        static_cast<std::int64_t>(rows.size()), rows[i].point.op(),
                                        rows[i].point.text()}) +
               "\n" + event_line(RowEvent{rows[i]}) + "\n";
    }
    write_file(scratch.path("rows"), begin);
    write_file(scratch.path("done"), event_line(DoneEvent{std::ssize(rows), profile}) + "\n");
    write_file(scratch.path("budget"), event_line(StoppedEvent{"budget", 12}) + "\n");
    write_file(scratch.path("interrupted"), event_line(StoppedEvent{"interrupted", 5}) + "\n");
    write_file(scratch.path("skipped"),
               event_line(WarningEvent{"all_reduce: needs 2 GPUs, 1 is here"}) + "\n");
    write_file(scratch.path("failed"),
               event_line(FailedEvent{"gemm", "relative error 0.2, limit 0.003"}) + "\n");
    write_file(program, "#!/bin/sh\ncd \"$(dirname \"$0\")\"\n" + script);
    std::filesystem::permissions(program, std::filesystem::perms::owner_all);
  }
};

struct Heard {
  BenchReport report;
  std::vector<kernels::ProgressEvent> progress;
  std::string messages;
  int stopping = 0;
};

BenchOptions quick_gemm() {
  BenchOptions options;
  options.grid = kernels::GridSize::quick;
  options.only = "gemm";
  options.out = "here";
  return options;
}

Heard listen_to(const FakeKernels& fake, const std::atomic<int>& stops = std::atomic<int>(0)) {
  Heard heard;
  const BenchListener listener{
      [&](const kernels::ProgressEvent& event) { heard.progress.push_back(event); },
      [&](const std::string& line) { heard.messages += line + "\n"; }, [&] { ++heard.stopping; }};
  heard.report = run_bench(fake.program, quick_gemm(), listener, stops);
  return heard;
}

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace

TEST_CASE("the program gets the jobs and --jobs, and a whole run is told as whole", "[unit]") {
  const FakeKernels fake("cat > jobs; echo \"$@\" > arguments; cat rows skipped skipped done\n");
  const Heard heard = listen_to(fake);
  CHECK(text_of_file(fake.scratch.path("arguments")) == "--jobs\n");
  CHECK(text_of_file(fake.scratch.path("jobs")) == bench_jobs(quick_gemm()));
  std::vector<kernels::JobFault> faults;
  const kernels::Jobs jobs = kernels::parse_jobs(bench_jobs(quick_gemm()), faults);
  CHECK(faults.empty());
  CHECK(jobs.points == kernels::bench_grid(kernels::GridSize::quick, "gemm", 1));
  CHECK(jobs.header.out == "here");

  CHECK(heard.report.exit_code() == 0);
  CHECK(heard.report.rows() == 9);
  CHECK(heard.progress.size() == 9);
  CHECK(heard.progress[5].op == "gemm");
  CHECK(heard.report.warnings == std::vector<std::pair<std::string, std::int64_t>>{
                                     {"all_reduce: needs 2 GPUs, 1 is here", 2}});
  CHECK(heard.report.faults.empty());
  const std::string summary = bench_summary(heard.report);
  check_contains(summary, "Synthetic GPU, 132 SMs, 150 GB, driver 1.2, CUDA 13.0");
  check_contains(summary, "memory read 4295 GB/s, bf16 733 TFLOP/s, host to device 50 GB/s");
  check_contains(summary, " gemm                   166       1       0       0              0.001");
  check_contains(summary, " decode_attention         0       1       1       0");
  check_contains(summary, "all_reduce: needs 2 GPUs, 1 is here (2 times)");
  check_contains(summary, "profile   " + fake.profile + " (whole)");
}

TEST_CASE("a budget that was used up is no failure, and said", "[unit]") {
  const Heard heard = listen_to(FakeKernels("cat > jobs; cat rows budget done\n"));
  CHECK(heard.report.exit_code() == 0);
  check_contains(bench_summary(heard.report),
                 "(partial: the budget was used up, 12 points not reached)");
}

TEST_CASE("a program without a GPU ends with its words and 2", "[unit]") {
  const Heard heard = listen_to(FakeKernels("echo 'no CUDA device: none was found' >&2; exit 2\n"));
  CHECK(heard.report.exit_code() == 2);
  CHECK(heard.messages == "no CUDA device: none was found\n");
  CHECK(heard.report.rows() == 0);
}

TEST_CASE("a crash in the middle keeps what was written and exits 1", "[unit]") {
  for (const char* end : {"kill -SEGV $$", "kill -KILL $$", "exit 1", "exit 0"}) {
    CAPTURE(end);
    const Heard heard = listen_to(FakeKernels(std::string("head -c 100 > jobs; cat rows; ") + end));
    CHECK(heard.report.exit_code() == 1);
    CHECK(heard.report.rows() == 9);
    check_contains(bench_summary(heard.report), "/profile (partial: fleetsim-kernels ");
  }
  check_contains(bench_summary(listen_to(FakeKernels("cat rows; kill -SEGV $$\n")).report),
                 "(partial: fleetsim-kernels was ended by signal 11 (Segmentation fault) before "
                 "its end)");
}

TEST_CASE("a program that reads no job, or ends before reading, does no harm", "[unit]") {
  CHECK(listen_to(FakeKernels("cat rows done\n")).report.exit_code() == 0);
  CHECK(listen_to(FakeKernels("exec 0<&-; sleep 0.2; cat rows done\n")).report.exit_code() == 0);
  CHECK(listen_to(FakeKernels("exit 7\n")).report.exit_code() == 1);
}

TEST_CASE("failed checks are listed and exit 1", "[unit]") {
  const Heard heard = listen_to(FakeKernels("cat > jobs; cat rows failed failed done; exit 1\n"));
  CHECK(heard.report.exit_code() == 1);
  check_contains(bench_summary(heard.report), "  gemm: relative error 0.2, limit 0.003\n");
  // also when the program itself forgets to
  CHECK(listen_to(FakeKernels("cat rows failed done\n")).report.exit_code() == 1);
}

TEST_CASE("lines that are no events are shown, not swallowed", "[unit]") {
  const Heard heard =
      listen_to(FakeKernels("cat > jobs; cat rows; echo 'Segmentation soon'; echo '{\"event\":"
                            "\"new\"}'; cat done\n"));
  CHECK(heard.report.exit_code() == 1);
  check_contains(bench_summary(heard.report), "not JSON: Segmentation soon");
  check_contains(bench_summary(heard.report), "unknown event 'new'");
}

TEST_CASE("a profile that the loader refuses is a failure", "[unit]") {
  const Heard heard = listen_to(
      FakeKernels("cat > jobs; sed -i 's/60000,60000,60000/6000,6000,6000/' profile/gemm.csv; "
                  "cat rows done\n"));
  CHECK(heard.report.exit_code() == 1);
  check_contains(bench_summary(heard.report), "the profile is not sound");
  check_contains(bench_summary(heard.report), "gemm.csv: error: its sha256 is");
}

TEST_CASE("a run that measured nothing, or miscounts, is a failure", "[unit]") {
  const FakeKernels fake(
      "head -n 1 rows; printf '{\"event\":\"done\",\"rows\":0,\"out\":\"x\"}'\n");
  const BenchReport nothing = listen_to(fake).report;
  CHECK(nothing.exit_code() == 1);
  check_contains(bench_summary(nothing), "no point was measured");
  const BenchReport fewer = listen_to(FakeKernels("head -n 3 rows; cat done\n")).report;
  CHECK(fewer.exit_code() == 1);
  check_contains(bench_summary(fewer), "fleetsim-kernels wrote 9 rows and told of 1");
}

TEST_CASE("many events and much on stderr at once arrive whole", "[unit]") {
  const FakeKernels fake(
      "i=0; while [ $i -lt 300 ]; do cat skipped; echo \"line $i\" >&2; i=$((i+1)); done; "
      "cat rows done; printf 'no line end' >&2\n");
  const Heard heard = listen_to(fake);
  REQUIRE(heard.report.warnings.size() == 1);
  CHECK(heard.report.warnings[0].second == 300);
  check_contains(heard.messages, "line 299\nno line end\n");
}

TEST_CASE("asked to stop, the program is told once and given time to end its row", "[unit]") {
  const FakeKernels fake(
      "trap 'cat interrupted done; echo told >> signals; exit 130' INT\n"
      "cat > jobs; cat rows; echo ready >&2; while :; do sleep 0.05; done\n");
  std::atomic<int> stops = 0;
  Heard heard;
  const BenchListener listener{[](const kernels::ProgressEvent&) {},
                               [&](const std::string& line) {
                                 if (line == "ready") stops = 1;
                               },
                               [&] { ++heard.stopping; }};
  heard.report = run_bench(fake.program, quick_gemm(), listener, stops);
  CHECK(heard.stopping == 1);
  CHECK(text_of_file(fake.scratch.path("signals")) == "told\n");
  CHECK(heard.report.exit_code() == 130);
  check_contains(bench_summary(heard.report), "(partial: stopped by Ctrl-C, 5 points not reached)");
}

TEST_CASE("asked twice, a program that does not end is ended, with its children", "[unit]") {
  const FakeKernels fake(
      "trap '' INT\ncat > jobs; cat rows; echo ready >&2; sleep 600 & wait; sleep 600\n");
  std::atomic<int> stops = 0;
  const BenchListener listener{[](const kernels::ProgressEvent&) {},
                               [&](const std::string&) { stops = 2; }, [] {}};
  const auto begin = std::chrono::steady_clock::now();
  const BenchReport report = run_bench(fake.program, quick_gemm(), listener, stops);
  CHECK(seconds_since(begin) < 60);
  CHECK(report.end.killed_by_us);
  CHECK(report.exit_code() == 130);
  check_contains(bench_summary(report), "(partial: ended at once by a second Ctrl-C)");
}

TEST_CASE("a child that outlives the program and holds its pipes does not hold us", "[unit]") {
  const FakeKernels fake("cat rows done; sleep 5 &\n");
  const auto begin = std::chrono::steady_clock::now();
  CHECK(listen_to(fake).report.exit_code() == 0);
  CHECK(seconds_since(begin) < 4);
}

TEST_CASE("a program that cannot be started is the user's fault, with the system's reason",
          "[unit]") {
  const FakeKernels fake("");
  std::filesystem::permissions(fake.program, std::filesystem::perms::owner_read);
  if (geteuid() != 0)  // who may do everything may also run it
    CHECK_THROWS_AS(listen_to(fake), ConfigError);
  std::filesystem::remove(fake.program);
  CHECK_THROWS_AS(listen_to(fake), ConfigError);
}
