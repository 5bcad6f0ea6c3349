// `fleetsim calibrate replay` and `validate` as a user starts them: exit codes, messages, files.
// The fleetsim-kernels behind them is a shell script.

#include <filesystem>

#include "calibrate/profile.h"
#include "kernels/measure/job_lines.h"
#include "tests/calibrate/planted_gpu.h"
#include "tests/calibrate/replay_log.h"
#include "tests/calibrate/shell_line.h"

#include "tests/catch.h"

using namespace fleetsim;

namespace {

/// Events of a replay that is measured already, at DIR/`folder`, in a file that a script prints.
void prepare_replay_events(const ScratchFolder& scratch, const std::string& folder) {
  using namespace kernels;
  Problems problems;
  const auto profile = load_profile(scratch.path(folder), {}, problems);
  REQUIRE(profile.has_value());
  std::string events = event_line(DeviceEvent{profile->facts.device, scratch.path(folder)}) + "\n";
  for (const MeasuredRow& row : profile->rows) events += event_line(RowEvent{row}) + "\n";
  events +=
      event_line(DoneEvent{static_cast<std::int64_t>(profile->rows.size()), scratch.path(folder)}) +
      "\n";
  write_file(scratch.path("events"), events);
}

}  // namespace

TEST_CASE("without fleetsim-kernels a replay says why, what to do, and exits 2", "[replay]") {
  const ScratchFolder scratch;
  write_file(scratch.path("log"), replay_log("llama-3.1-8b", 1));
  const Ended ended =
      shell(scratch,
            "(ln \"$FLEETSIM\" \"$DIR/fleetsim\" || cp \"$FLEETSIM\" \"$DIR/fleetsim\") "
            "2>/dev/null; cd \"$DIR\"; ./fleetsim calibrate replay log");
  CHECK(ended.exit_code == 2);
  check_contains(ended.err, "fleetsim-kernels: error: not there: it was not built");
  check_contains(ended.err, "fleetsim calibrate replay log --points > points.jsonl");
  const Ended no_gpu =
      shell(scratch, "FLEETSIM_KERNELS=$KERNELS \"$FLEETSIM\" calibrate replay \"$DIR/log\"",
            "echo 'no CUDA device' >&2; exit 2");
  CHECK(no_gpu.exit_code == 2);
  CHECK(no_gpu.err == "no CUDA device\n");
}

TEST_CASE("--points prints jobs that fleetsim-kernels reads, the same each time", "[replay]") {
  const ScratchFolder scratch;
  write_file(scratch.path("log"), replay_log("llama-3.1-8b", 1));
  const std::string line =
      "\"$FLEETSIM\" calibrate replay \"$DIR/log\" --points --out d --budget 90s --parts 1";
  const Ended ended = shell(scratch, line);
  CHECK(ended.exit_code == 0);
  std::vector<kernels::JobFault> faults;
  const kernels::Jobs jobs = kernels::parse_jobs(ended.out, faults);
  CHECK(faults.empty());
  CHECK(jobs.header.out == "d");
  CHECK(jobs.header.budget_s == 90);
  CHECK(jobs.points.size() > 30);
  check_contains(ended.err, "are replayed on llama-3.1-8b");
  CHECK(shell(scratch, line).out == ended.out);
}

TEST_CASE("a replay that was measured is compared, written and stored", "[replay]") {
  const ScratchFolder scratch;
  write_file(scratch.path("log"), replay_log("llama-3.1-8b", 1));
  write_planted_replay(scratch.path("out"), {}, planted_compositions(), {});
  prepare_replay_events(scratch, "out");
  const Ended ended = shell(scratch,
                            "cd \"$DIR\"; FLEETSIM_KERNELS=$KERNELS \"$FLEETSIM\" calibrate replay "
                            "log --gpu h200 --out \"$DIR/out\"",
                            "cat > jobs; cat events");
  INFO(ended.err);
  CHECK(ended.exit_code == 0);
  check_contains(ended.out, "16 replayed iterations on h200-sxm: median error");
  check_contains(ended.out, " iteration ");
  check_contains(ended.out, "a fit of an engine's kernels (the catalogue)");
  for (const char* file : {"out/replay.json", "out/replay.html"})
    CHECK(std::filesystem::exists(scratch.path(file)));
  check_contains(text_of_file(scratch.path("jobs")), "\"op\":\"iteration\"");
  // and again from what is stored, without a GPU
  const Ended again =
      shell(scratch, "\"$FLEETSIM\" calibrate replay --measured \"$DIR/out\" --gpu h200");
  CHECK(again.exit_code == 0);
  CHECK(ended.out.find(again.out) != std::string::npos);
  const Ended gated =
      shell(scratch, "\"$FLEETSIM\" calibrate replay --measured \"$DIR/out\" --gates");
  const bool passes = gated.out.find("within the gates") != std::string::npos;
  CHECK(gated.exit_code == (passes ? 0 : 1));
  CHECK_FALSE(passes);  // planted times are not those of an engine's kernels
}

TEST_CASE("bad input of a replay is refused with its place", "[replay]") {
  const ScratchFolder scratch;
  write_file(scratch.path("log"), replay_log("llama-3.1-8b", 1));
  write_file(scratch.path("empty"), "");
  write_planted_replay(scratch.path("out"), {}, {batch_of(1, 10)}, {});
  const auto refused = [&](const std::string& options) {
    const Ended ended = shell(scratch,
                              "cd \"$DIR\"; FLEETSIM_KERNELS=$KERNELS \"$FLEETSIM\" calibrate "
                              "replay " +
                                  options,
                              "touch started");
    CHECK(ended.exit_code == 2);
    CHECK_FALSE(std::filesystem::exists(scratch.path("started")));
    return ended.err;
  };
  check_contains(refused("nowhere"), "nowhere: error: cannot be opened");
  check_contains(refused("."), "error: cannot be read: Is a directory");
  check_contains(refused("empty"), "empty:1:1: error: file is empty");
  check_contains(refused("events.sh"), "cannot be opened");
  check_contains(refused(""), "ITERATIONS.jsonl, or --measured is required");
  check_contains(refused("log --stack llama"), "unknown stack 'llama'");
  check_contains(refused("log --gpu h20"), "unknown GPU 'h20'");
  check_contains(refused("log --count 0"), "--count");
  check_contains(refused("log --budget 5"), "--budget: error: '5' is no device time");
  check_contains(refused("log --measured out"), "excludes");
  check_contains(refused("log --out log"), "the output folder is a file");
  check_contains(refused("log --profile nowhere"), "nowhere");
  check_contains(refused("log --fit log"), "is no file that `fleetsim calibrate fit --out` wrote");
  check_contains(refused("--measured nowhere"), "nowhere/manifest.yaml: error: cannot be read");
  check_contains(refused("--measured out --gpu b200"),
                 "was measured on h200-sxm; the catalogue is of b200-sxm");
}

TEST_CASE("validate scores kept-out points of a profile and the replay beside it", "[replay]") {
  const ScratchFolder scratch;
  write_planted_profile(scratch.path("profile"));
  write_planted_replay(scratch.path("profile/replay"), {}, planted_compositions(), {});
  const Ended ended = shell(scratch, "cd \"$DIR\"; \"$FLEETSIM\" calibrate validate profile");
  CHECK(ended.exit_code == 0);
  check_contains(ended.out, "h200-sxm: rows predicted by fits that have not seen their site");
  check_contains(ended.out, "gemm/bf16");
  check_contains(ended.out, "- Replay profile/replay: 16 replayed iterations on h200-sxm");
  const Ended json =
      shell(scratch, "cd \"$DIR\"; \"$FLEETSIM\" calibrate validate profile --gpu h200 --json");
  CHECK(json.exit_code == 0);
  check_contains(json.out, "\"schema\": \"fleetsim.kept_out/1\"");
  const Ended other =
      shell(scratch, "cd \"$DIR\"; \"$FLEETSIM\" calibrate validate profile --gpu h100");
  CHECK(other.exit_code == 2);
  check_contains(other.err, "holds rows of h200-sxm, not of h100-sxm");
  for (const char* bad : {"nowhere", "kernels.sh", "profile --gpu h20", ""}) {
    CAPTURE(bad);
    CHECK(shell(scratch, std::string("cd \"$DIR\"; \"$FLEETSIM\" calibrate validate ") + bad)
              .exit_code == 2);
  }
  for (const char* command : {"replay", "validate"})
    check_contains(
        shell(scratch, std::string("\"$FLEETSIM\" calibrate ") + command + " --help").out,
        std::string("Example:\n  fleetsim "));
}
