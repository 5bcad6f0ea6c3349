// `fleetsim calibrate bench` as a user starts it: exit codes, messages, a terminal, Ctrl-C. The
// fleetsim-kernels behind it is a shell script.

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "calibrate/bench.h"
#include "calibrate/child_process.h"
#include "calibrate/profile.h"
#include "hw_models/problems.h"
#include "kernels/measure/job_lines.h"
#include "tests/calibrate/shell_line.h"
#include "tests/calibrate/synthetic_profile.h"

#include "tests/catch.h"

using namespace fleetsim;

namespace {

/// Events of the synthetic profile at DIR/profile, in files that scripts print.
void prepare_events(const ScratchFolder& scratch) {
  using namespace kernels;
  write_synthetic_profile(scratch.path("profile"));
  std::string rows =
      event_line(DeviceEvent{synthetic_facts().device, scratch.path("profile")}) + "\n";
  std::string progress;
  std::int64_t done = 0;
  for (const MeasuredRow& row : synthetic_rows()) {
    rows += event_line(RowEvent{row}) + "\n";
    progress += event_line(ProgressEvent{++done, 9, row.point.op(), row.point.text()}) + "\n";
  }
  write_file(scratch.path("rows"), rows);
  write_file(scratch.path("progress"), progress);
  write_file(scratch.path("done"), event_line(DoneEvent{9, scratch.path("profile")}) + "\n");
  write_file(scratch.path("interrupted"), event_line(StoppedEvent{"interrupted", 3}) + "\n");
}

}  // namespace

TEST_CASE("without fleetsim-kernels the command says why, what to do, and exits 2", "[unit]") {
  const ScratchFolder scratch;
  // a second name of the program in a folder without fleetsim-kernels
  const Ended ended = shell(scratch,
                            "(ln \"$FLEETSIM\" \"$DIR/fleetsim\" || cp \"$FLEETSIM\" "
                            "\"$DIR/fleetsim\") 2>/dev/null; \"$DIR/fleetsim\" calibrate bench");
  CHECK(ended.exit_code == 2);
  CHECK(ended.out.empty());
  check_contains(ended.err, "fleetsim-kernels: error: not there: it was not built");
  check_contains(ended.err, "cmake --preset gpu");
  check_contains(ended.err, "$FLEETSIM_KERNELS");
  check_contains(ended.err, "fleetsim calibrate bench --points > points.jsonl");
}

TEST_CASE("fleetsim-kernels is found beside fleetsim", "[unit]") {
  const ScratchFolder scratch;
  const Ended ended = shell(scratch,
                            "(ln \"$FLEETSIM\" \"$DIR/fleetsim\" || cp \"$FLEETSIM\" "
                            "\"$DIR/fleetsim\") 2>/dev/null; cp \"$KERNELS\" "
                            "\"$DIR/fleetsim-kernels\"; \"$DIR/fleetsim\" calibrate bench --quick",
                            "echo 'no CUDA device' >&2; exit 2");
  CHECK(ended.exit_code == 2);
  CHECK(ended.err == "no CUDA device\n");
  CHECK(ended.out.empty());
}

TEST_CASE("a named program that is none is refused by name", "[unit]") {
  const ScratchFolder scratch;
  const Ended ended =
      shell(scratch, "FLEETSIM_KERNELS=/nowhere/at/all \"$FLEETSIM\" calibrate bench");
  CHECK(ended.exit_code == 2);
  CHECK(ended.err == "FLEETSIM_KERNELS: error: '/nowhere/at/all' is no program that can be run\n");
}

TEST_CASE("--points prints the job lines that a run would hand over", "[unit]") {
  const ScratchFolder scratch;
  const Ended ended = shell(scratch,
                            "\"$FLEETSIM\" calibrate bench --quick --only swap --out d --budget "
                            "90s --seed 5 --force --points");
  CHECK(ended.exit_code == 0);
  CHECK(ended.out == bench_jobs({kernels::GridSize::quick, "swap", "d", 90, 5, true}));
  const Ended full = shell(scratch, "\"$FLEETSIM\" calibrate bench --points");
  CHECK(full.out == bench_jobs({}));
  const Ended broken = shell(scratch, "\"$FLEETSIM\" calibrate bench --points > /dev/full");
  CHECK(broken.exit_code == 2);
  check_contains(broken.err, "the points could not be written to their end");
}

TEST_CASE("options out of form are refused before anything starts", "[unit]") {
  const ScratchFolder scratch;
  const auto refused = [&](const std::string& options) {
    const Ended ended =
        shell(scratch, "FLEETSIM_KERNELS=$KERNELS \"$FLEETSIM\" calibrate bench " + options,
              "touch started");
    CHECK(ended.exit_code == 2);
    CHECK_FALSE(std::filesystem::exists(scratch.path("started")));
    return ended.err;
  };
  check_contains(refused("--only gem"), "unknown operator 'gem'; did you mean 'gemm'?; known are");
  for (const char* budget : {"480", "0s", "0.5s", "-1s", "2d", "fast", "nan"})
    check_contains(refused(std::string("--budget=") + budget),
                   std::string("--budget: error: '") + budget + "' is no device time");
  check_contains(refused("--quick --full"), "excludes");
  check_contains(refused("--seed=-1"), "--seed");
  check_contains(refused("extra"), "extra");
  CHECK(shell(scratch, "\"$FLEETSIM\" calibrate").exit_code == 2);
  CHECK(shell(scratch, "\"$FLEETSIM\" calibrate fit").exit_code == 2);
}

TEST_CASE("--help shows an example and every option", "[unit]") {
  const ScratchFolder scratch;
  const Ended ended = shell(scratch, "\"$FLEETSIM\" calibrate bench --help");
  CHECK(ended.exit_code == 0);
  for (const char* part : {"Example:\n  fleetsim calibrate bench --quick", "--only", "--out",
                           "--budget", "--seed", "--force", "--points", "--full"})
    check_contains(ended.out, part);
}

TEST_CASE("a whole run ends with a table, the profile's place and 0; no bar without a terminal",
          "[unit]") {
  const ScratchFolder scratch;
  prepare_events(scratch);
  const Ended ended =
      shell(scratch, "FLEETSIM_KERNELS=$KERNELS \"$FLEETSIM\" calibrate bench --quick",
            "cat > jobs; cat progress rows done");
  CHECK(ended.exit_code == 0);
  CHECK(ended.err.empty());
  check_contains(ended.out, "device    Synthetic GPU");
  check_contains(ended.out, " gemm                   166       1       0       0");
  check_contains(ended.out, "profile   " + scratch.path("profile") + " (whole)\n");
}

TEST_CASE("a crash in the middle exits 1 and says where the rows are", "[unit]") {
  const ScratchFolder scratch;
  prepare_events(scratch);
  const Ended ended = shell(scratch, "FLEETSIM_KERNELS=$KERNELS \"$FLEETSIM\" calibrate bench",
                            "cat > jobs; cat progress rows; kill -ABRT $$");
  CHECK(ended.exit_code == 1);
  check_contains(ended.out, scratch.path("profile") +
                                " (partial: fleetsim-kernels was ended by signal 6 (Aborted) "
                                "before its end)");
}

TEST_CASE("Ctrl-C ends the run behind its row: partial, 130", "[unit]") {
  const ScratchFolder scratch;
  prepare_events(scratch);
  // the shell waits until the script is at work, then interrupts fleetsim alone
  const Ended ended =
      shell(scratch,
            "FLEETSIM_KERNELS=$KERNELS; export FLEETSIM_KERNELS; exec 3>&1\n"
            "sh -c 'trap - INT; exec \"$0\" calibrate bench' \"$FLEETSIM\" & pid=$!\n"
            "while [ ! -e \"$DIR/ready\" ]; do sleep 0.05; done; kill -TERM $pid; wait $pid",
            "trap 'cat interrupted done; exit 130' INT\n"
            "cat > jobs; cat rows; touch ready; while :; do sleep 0.05; done");
  CHECK(ended.exit_code == 130);
  check_contains(ended.err, "stopping behind the point in hand; Ctrl-C again ends it at once");
  check_contains(ended.out, "(partial: stopped by Ctrl-C, 3 points not reached)");
}

TEST_CASE("on a terminal there is a bar with rate and time left, and Ctrl-C at its keys works",
          "[unit]") {
  const ScratchFolder scratch;
  prepare_events(scratch);
  write_file(scratch.path("kernels.sh"),
             "#!/bin/sh\ncd \"$(dirname \"$0\")\"\n"
             "trap 'echo told >> told; cat interrupted done; exit 130' INT\n"
             "cat > jobs; cat rows\nhead -n 3 progress\nsleep 0.3\nsed -n 4p progress\n"
             "while :; do sleep 0.05; done\n");
  std::filesystem::permissions(scratch.path("kernels.sh"), std::filesystem::perms::owner_all);

  const int terminal = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  REQUIRE(terminal >= 0);
  REQUIRE(grantpt(terminal) == 0);
  REQUIRE(unlockpt(terminal) == 0);
  const std::string name = ptsname(terminal);
  const std::string program = FLEETSIM_PROGRAM, kernels = scratch.path("kernels.sh");
  const pid_t pid = fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {  // only calls that are safe between fork and exec
    setsid();
    const int end = open(name.c_str(), O_RDWR);
    ioctl(end, TIOCSCTTY, 0);
    for (const int fd : {0, 1, 2}) dup2(end, fd);
    setenv("FLEETSIM_KERNELS", kernels.c_str(), 1);
    execl(program.c_str(), program.c_str(), "calibrate", "bench", "--quick", nullptr);
    _exit(126);
  }
  std::string seen;
  bool pressed = false;
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (std::chrono::steady_clock::now() < deadline) {
    pollfd ready{terminal, POLLIN, 0};
    if (poll(&ready, 1, 100) <= 0) continue;
    std::array<char, 4096> part;
    const ssize_t bytes = read(terminal, part.data(), part.size());
    if (bytes <= 0) break;  // the other end is closed
    seen.append(part.data(), static_cast<std::size_t>(bytes));
    if (!pressed && seen.find("4 of 9") != std::string::npos) {
      pressed = true;
      REQUIRE(write(terminal, "\x03", 1) == 1);
    }
  }
  int status = 0;
  kill(pid, SIGKILL);  // does nothing to one that has ended
  REQUIRE(waitpid(pid, &status, 0) == pid);
  close(terminal);
  INFO(seen);
  CHECK(pressed);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 130);
  check_contains(seen, "█");
  check_contains(seen, " points/s  ");
  check_contains(seen, " left  ");
  check_contains(seen, "stopping behind the point in hand");
  check_contains(seen, "(partial: stopped by Ctrl-C, 3 points not reached)");
  CHECK(text_of_file(scratch.path("told")) == "told\n");  // once, although it shares the terminal
}
