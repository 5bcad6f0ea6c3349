#pragma once
// summary.json: the one machine-readable answer of a run (schema "fleetsim.summary/1", product.md).

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "sim/metrics/summary.h"

namespace fleetsim {

/// Whose answer it is.
struct RunIdentity {
  std::string name;
  std::uint64_t seed = 1;
  std::string sha256;   // of the resolved scenario
  std::string version;  // of fleetsim
};

/// The version of this build, from the build system.
const char* fleetsim_version();

/// The summary in the contract's key order. Seconds, bytes, USD. A section that does not apply is
/// absent; an SLO percentile that misses reach has no number and is null.
/// `wall` absent: without the fields that differ from run to run.
nlohmann::ordered_json summary_json(const Summary& summary, const RunIdentity& identity,
                                    const std::optional<WallSection>& wall);

/// The JSON text of a document as the files hold it: two spaces, a final line end.
std::string json_text(const nlohmann::ordered_json& document);

nlohmann::ordered_json latency_json(const LatencySummary& latency);
/// By name: ttft, tpot, itl, e2e, queue; those that are absent are left out.
nlohmann::ordered_json latency_section_json(const LatencySection& latency);
/// {limits: [...]} of one SLO as summary.json holds it.
nlohmann::ordered_json slo_json(const SloSection& slo);

}  // namespace fleetsim
