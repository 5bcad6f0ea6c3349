#include "sim/app/progress_bar.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "sim/report/decimal_text.h"

namespace fleetsim {
namespace {

constexpr std::chrono::milliseconds kPause{100};  // between two drawings
constexpr int kCells = 24;

std::string bar(double share) {
  const int full = std::clamp(static_cast<int>(share * kCells), 0, kCells);
  std::string text;
  for (int i = 0; i < kCells; ++i) text += i < full ? "█" : "░";
  return text;
}

}  // namespace

ProgressBar::ProgressBar()
    : on_(isatty(STDERR_FILENO) != 0), started_(std::chrono::steady_clock::now()) {}

ProgressBar::~ProgressBar() { clear(); }

void ProgressBar::run_at(SimTime now, SimTime end, std::int64_t arrived) {
  if (!on_) return;
  const std::scoped_lock lock(mutex_);
  const auto clock = std::chrono::steady_clock::now();
  if (clock - shown_ < kPause) return;
  shown_ = clock;
  const double elapsed = std::chrono::duration<double>(clock - started_).count();
  const std::string rate =
      elapsed > 0 ? count_text(static_cast<std::int64_t>(static_cast<double>(arrived) / elapsed))
                  : "0";
  if (end == kNever || end <= 0) {
    show(fmt::format("{} requests, {}/s, at {} of simulated time", count_text(arrived), rate,
                     duration_text(to_seconds(now).value)));
    return;
  }
  const double share = std::min(1.0, static_cast<double>(now) / static_cast<double>(end));
  const std::string left = share > 0.01 ? duration_text(elapsed * (1 - share) / share, 2) : "…";
  show(fmt::format("{} {:3.0f} %  {} requests/s  {} left", bar(share), share * 100, rate, left));
}

void ProgressBar::further_run_done(const std::string& what) {
  if (!on_) return;
  const std::scoped_lock lock(mutex_);
  ++further_;
  show(fmt::format("further runs for {}: {} done", what, further_));
}

void ProgressBar::points_at(std::int64_t done, std::int64_t of, const std::string& what) {
  constexpr std::size_t kWhatMax = 60;  // so that the line fits most terminals
  if (!on_ || of <= 0) return;
  const std::scoped_lock lock(mutex_);
  const auto clock = std::chrono::steady_clock::now();
  if (clock - shown_ < kPause) return;
  shown_ = clock;
  const double elapsed = std::chrono::duration<double>(clock - started_).count();
  const double share = std::clamp(static_cast<double>(done) / static_cast<double>(of), 0.0, 1.0);
  const std::string rate = elapsed > 0 ? number_text(static_cast<double>(done) / elapsed, 2) : "0";
  const std::string left = share > 0.01 ? duration_text(elapsed * (1 - share) / share, 2) : "…";
  show(fmt::format("{} {} of {}  {} points/s  {} left  {}", bar(share), done, of, rate, left,
                   what.substr(0, kWhatMax)));
}

void ProgressBar::clear() {
  if (!on_) return;
  const std::scoped_lock lock(mutex_);
  show("");
}

void ProgressBar::show(const std::string& line) {
  std::fprintf(stderr, "\r\033[K%s", line.c_str());
  std::fflush(stderr);
}

}  // namespace fleetsim
