#include "kernels/program/bench.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <ctime>
#include <memory>

#include "kernels/measure/machine_facts.h"
#include "kernels/measure/measure_on_gpu.h"
#include "kernels/program/event_text.h"

namespace fleetsim::kernels {
namespace {

volatile std::sig_atomic_t interrupted = 0;
timespec first_signal{};

/// One Ctrl-C may arrive twice: from the terminal and from who started us. A later one means it.
extern "C" void note_signal(int) {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  if (interrupted == 0) first_signal = now;
  if (now.tv_sec - first_signal.tv_sec >= 2) _exit(130);
  interrupted = 1;
}

void listen_for_signals() {
  struct sigaction action {};
  action.sa_handler = note_signal;
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  std::signal(SIGPIPE, SIG_IGN);  // a reader who is gone is seen when we write
}

/// Passes events on, each as soon as it happens.
class Teller {
 public:
  explicit Teller(Audience audience)
      : audience_(audience),
        terminal_(audience == Audience::people && isatty(STDERR_FILENO) != 0) {}

  void operator()(const Event& event) {
    if (audience_ == Audience::program) {
      line(event_line(event));
      return;
    }
    if (const auto* progress = std::get_if<ProgressEvent>(&event)) {
      show(*progress);
      return;
    }
    clear();
    line(event_text(event));
  }

 private:
  void line(const std::string& text) {
    const bool written =
        std::fprintf(stdout, "%s\n", text.c_str()) >= 0 && std::fflush(stdout) == 0;
    if (!written && interrupted == 0)
      interrupted = 1;  // nobody listens any more: end as if asked to
  }

  void show(const ProgressEvent& progress) {
    if (!terminal_) return;
    winsize size{};
    const bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1;
    std::fprintf(stderr, "\r\x1b[K%s",
                 progress_text(progress, known ? size.ws_col - 1U : 79U).c_str());
    std::fflush(stderr);
  }

  void clear() const {
    if (terminal_) std::fputs("\r\x1b[K", stderr);
  }

  Audience audience_;
  bool terminal_;
};

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

Measure measure_of(MeasureOnGpu& gpu, const GpuClocks& clocks) {
  Measure measure;
  measure.point = [&gpu](const Point& point) { return gpu.point(point); };
  measure.canary = [&gpu] { return gpu.canary(); };
  measure.clocks = [&clocks] { return clocks.read(); };
  measure.estimated_seconds = [](const Point& point) { return estimated_seconds(point); };
  measure.seconds = seconds_now;
  measure.interrupted = [] { return interrupted != 0; };
  return measure;
}

RunEnd run_into(ProfileWriter& writer, const Jobs& jobs, const GpuClocks& clocks,
                const std::function<void(const Event&)>& tell) {
  if (!clocks.missing().empty()) {
    const std::string text = "clocks, power and temperature cannot be read: " + clocks.missing();
    tell(WarningEvent{text});
    writer.add_warning(text);
  }
  RunRules rules;
  rules.budget_s = static_cast<double>(jobs.header.budget_s);
  const double begin = seconds_now();
  MeasureOnGpu gpu(jobs.header.seed, clocks);
  if (rules.budget_s > 0)  // making ready is device time, too
    rules.budget_s = std::max(1e-9, rules.budget_s - (seconds_now() - begin));
  return run_points(jobs.points, measure_of(gpu, clocks), rules, writer, tell);
}

}  // namespace

int run_bench(const Jobs& jobs, Audience audience) {
  listen_for_signals();
  const GpuClocks clocks(pci_bus_id());
  RunFacts facts = run_facts(clocks);
  facts.seed = jobs.header.seed;
  facts.budget_s = jobs.header.budget_s;
  const std::string out = jobs.header.out.empty()
                              ? default_profile_folder(facts.device.name, facts.started_utc)
                              : jobs.header.out;
  std::unique_ptr<ProfileWriter> writer;
  try {
    writer = std::make_unique<ProfileWriter>(out, facts, jobs.header.force);
  } catch (const ProfileFault& fault) {
    std::fprintf(stderr, "fleetsim-kernels: %s\n", fault.what());
    return 2;
  }
  Teller teller(audience);
  const std::function<void(const Event&)> tell = [&](const Event& event) { teller(event); };
  tell(DeviceEvent{facts.device, out});
  return run_into(*writer, jobs, clocks, tell).exit_code();
}

}  // namespace fleetsim::kernels
