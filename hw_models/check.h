#pragma once
// CHECK: an invariant of ours that stays on in release builds. A failure is our bug, never the
// user's: it throws InternalError, which main() reports with the command that reproduces it (exit
// 1).

#include <stdexcept>
#include <string>

namespace fleetsim {

/// A broken invariant of the program itself. `what()` says which, where, and the values involved.
class InternalError : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

[[noreturn]] inline void fail_check(const char* condition, const char* file, int line,
                                    const std::string& detail) {
  throw InternalError(std::string(file) + ":" + std::to_string(line) + ": CHECK(" + condition +
                      ") failed" + (detail.empty() ? "" : ": " + detail));
}

}  // namespace fleetsim

/// CHECK(condition) or CHECK(condition, detail_string); the detail is evaluated only on failure.
#define CHECK(condition, ...)                                                           \
  do {                                                                                  \
    if (!(condition)) [[unlikely]]                                                      \
      ::fleetsim::fail_check(#condition, __FILE__, __LINE__, std::string(__VA_ARGS__)); \
  } while (false)
