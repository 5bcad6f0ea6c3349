#pragma once
// The user's faults, collected with their place so that one run reports all of them (exit 2).

#include <stdexcept>
#include <string>
#include <vector>

namespace fleetsim {

/// Line and column, both from 1. Line 0 means the file (or command line) as a whole.
struct SourcePosition {
  int line = 0;
  int column = 0;
};

/// One fault: where it stands, what is wrong, and (when known) how to mend it.
struct Problem {
  std::string file;  // as the user named it; "--set a.b=c" for command-line overrides
  SourcePosition position;
  std::string message;  // one line, no trailing full stop
  /// `file:line:column: error: message`; line and column are left out when unknown.
  std::string text() const;
};

/// A growing list of problems. Readers add to it and go on; the caller decides when to stop.
class Problems {
 public:
  void add(std::string file, SourcePosition position, std::string message);
  bool empty() const { return list_.empty(); }
  std::size_t size() const { return list_.size(); }
  /// In file order: by file of first appearance, then line, then column, then order of discovery.
  std::vector<Problem> sorted() const;
  /// All texts, one a line, sorted.
  std::string text() const;
  /// Throws ConfigError when there is at least one problem.
  void throw_if_any() const;

 private:
  std::vector<Problem> list_;
};

/// Thrown once when input cannot be used; main() prints every problem and exits with 2.
class ConfigError : public std::runtime_error {
 public:
  explicit ConfigError(Problems problems)
      : std::runtime_error(problems.text()), problems_(std::move(problems)) {}
  const Problems& problems() const { return problems_; }

 private:
  Problems problems_;
};

/// The candidate nearest to `word` by edit distance when it is near enough to be meant, else "".
std::string nearest_word(const std::string& word, const std::vector<std::string>& candidates);
/// "unknown GPU 'h20'; did you mean 'h200'?; known are ..."
std::string unknown_name(const std::string& what, const std::string& word,
                         const std::vector<std::string>& known);

}  // namespace fleetsim
