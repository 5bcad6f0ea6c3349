#pragma once
// A point of the benchmark grid: one operator at one shape, named by the axes of its family.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fleetsim::kernels {

/// One property that tells the points of a family apart.
struct Axis {
  enum class Kind { integer, word, lengths };
  std::string name;  // "query_heads"
  std::string unit;  // "heads"; of words: empty
  Kind kind = Kind::integer;
  std::int64_t least = 0, most = 0;  // of an integer, and of every length
  std::vector<std::string> words;    // what a word may be
};

class Point;

/// What is wrong with one axis of a point; an empty axis means the point as a whole.
struct PointFault {
  std::string axis;
  std::string message;  // one line, no trailing full stop
};

/// An operator family: one row of the table from which job lines, grid, CSV files and their reader
/// follow.
struct OperatorAxes {
  std::string op;     // "gemm"
  std::string file;   // "gemm.csv"
  std::string means;  // what one run of a point does
  std::vector<Axis> axes;
  /// What no axis says alone; called when every axis is sound.
  void (*rules)(const Point& point, std::vector<PointFault>& faults) = nullptr;
};

/// All families, in the order of their tables in a profile: ceilings first.
const std::vector<OperatorAxes>& operator_axes();
/// nullptr when there is no such operator.
const OperatorAxes* find_operator(std::string_view op);

/// Sequences of a ragged batch as text: runs of `count x tokens`, "1x32768,63x512".
/// Units: tokens. Valid: 1 to kSequencesMax sequences.
inline constexpr std::int64_t kSequencesMax = 65536;
std::string lengths_text(const std::vector<std::int64_t>& lengths);
/// nullopt when `text` is not of that form, or has no or too many sequences.
std::optional<std::vector<std::int64_t>> parse_lengths(std::string_view text);

/// A point that has passed its family's rules: every axis is there, once, in the family's order.
class Point {
 public:
  using Values = std::vector<std::pair<std::string, std::string>>;  // axis, text

  const std::string& op() const { return axes_->op; }
  const OperatorAxes& family() const { return *axes_; }
  const Values& values() const { return values_; }

  /// The value of an axis. Errors: CHECK that the family has it and that it is of that kind.
  std::int64_t integer(std::string_view axis) const;
  const std::string& word(std::string_view axis) const;
  std::vector<std::int64_t> lengths(std::string_view axis) const;

  /// "gemm dtype=bf16 m=1 n=4096 k=4096 algo=top", for people.
  std::string text() const;
  bool operator==(const Point& other) const {
    return axes_ == other.axes_ && values_ == other.values_;
  }

 private:
  friend std::optional<Point> make_point(std::string_view, const Values&, std::vector<PointFault>&);
  const std::string& value(std::string_view axis, Axis::Kind kind) const;
  const OperatorAxes* axes_ = nullptr;
  Values values_;
};

/// Makes a point out of texts in any order. Texts become canonical ("007" is 7, equal neighbours
/// among lengths join). Errors: every fault is added to `faults`: an unknown operator, an unknown,
/// missing or repeated axis, a bad value, a broken rule; nullopt when there is any.
std::optional<Point> make_point(std::string_view op, const Point::Values& values,
                                std::vector<PointFault>& faults);
/// The same for points that we write ourselves. Errors: CHECK that nothing is wrong with it.
Point sound_point(std::string_view op, const Point::Values& values);

}  // namespace fleetsim::kernels
