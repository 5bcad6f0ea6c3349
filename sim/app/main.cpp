// The one CLI. Faults of the user's input end here with exit 2, ours with exit 1.

#include <unistd.h>

#include <cstdio>
#include <exception>
#include <string>

#include "hw_models/check.h"
#include "hw_models/problems.h"
#include "sim/app/command_line.h"
#include "sim/app/terminal_color.h"

namespace {

constexpr int kExitInternal = 1;
constexpr int kExitBadInput = 2;

void print_problems(const fleetsim::Problems& problems) {
  const bool color = fleetsim::color_wanted(STDERR_FILENO);
  for (const fleetsim::Problem& problem : problems.sorted()) {
    std::string text = problem.text();
    const std::size_t at = text.find(": error: ");
    if (color && at != std::string::npos) text.replace(at, 9, ": \033[1;31merror:\033[0m ");
    std::fprintf(stderr, "%s\n", text.c_str());
  }
}

/// An argument as a shell takes it.
std::string shell_word(const std::string& word) {
  constexpr const char* kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._/=,:+-";
  if (!word.empty() && word.find_first_not_of(kPlain) == std::string::npos) return word;
  std::string quoted = "'";
  for (const char c : word) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

int report_internal_error(const char* what, int argc, char** argv) {
  std::fprintf(
      stderr,
      "internal error: %s\nThis is a fault of fleetsim, not of the input. It is reproduced by:\n ",
      what);
  for (int i = 0; i < argc; ++i) std::fprintf(stderr, " %s", shell_word(argv[i]).c_str());
  std::fprintf(stderr, "\n");
  return kExitInternal;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return fleetsim::run_command_line(argc, argv);
  } catch (const fleetsim::ConfigError& error) {
    print_problems(error.problems());
    return kExitBadInput;
  } catch (const std::exception& error) {
    return report_internal_error(error.what(), argc, argv);
  }
}
