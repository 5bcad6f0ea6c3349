#pragma once
// Events of a run as lines for people: rows and warnings to read, progress on one line of a
// terminal.

#include "kernels/measure/job_lines.h"

namespace fleetsim::kernels {

/// "12.3 us", "1.50 ms": three digits, units that people read.
std::string duration_text(std::int64_t nanoseconds);

/// One line without its end; empty for progress, which has its own.
std::string event_text(const Event& event);

/// "[ 12/400] gemm dtype=bf16 ...", cut to `columns`.
std::string progress_text(const ProgressEvent& progress, std::size_t columns);

}  // namespace fleetsim::kernels
