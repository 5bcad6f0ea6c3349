// Times from fitted families, and the fits that are linked into the program.

#include "hw_models/fitted_gpu.h"

#include <algorithm>
#include <mutex>

#include "embedded/fitted.h"
#include "hw_models/check.h"
#include "hw_models/fitted_file.h"

namespace fleetsim {

const char* name_of(Provenance provenance) {
  switch (provenance) {
    case Provenance::measured:
      return "measured";
    case Provenance::interpolated:
      return "interpolated";
    case Provenance::extrapolated:
      return "extrapolated";
    case Provenance::transferred:
      return "transferred";
    case Provenance::parametric:
      return "parametric";
    case Provenance::roofline:
      return "roofline";
  }
  CHECK(false, "provenance");
  return "";
}

double OperatorFamily::base_seconds(const OperatorWork& work) const {
  double busy = 0;
  if (flops_per_second > 0) busy = work.flops / flops_per_second;
  if (bytes_per_second > 0) busy = std::max(busy, work.bytes / bytes_per_second);
  return floor_seconds + busy;
}

OperatorTime OperatorFamily::time(const OperatorWork& work) const {
  const LogSurface::Value value = surface.at(work.at);
  Provenance provenance = Provenance::interpolated;
  if (value.place == LogSurface::Place::at_knot) provenance = Provenance::measured;
  if (value.place == LogSurface::Place::outside) provenance = Provenance::extrapolated;
  if (surface.axes().empty()) provenance = Provenance::parametric;
  if (!transferred_from.empty()) provenance = Provenance::transferred;
  double seconds = base_seconds(work) * value.factor;
  if (flop_limit > 0) seconds = std::max(seconds, work.flops / flop_limit);
  if (byte_limit > 0) seconds = std::max(seconds, work.bytes / byte_limit);
  return {{seconds}, provenance};
}

const OperatorFamily* FittedGpu::find(const std::string& family) const {
  const auto found = std::lower_bound(
      families.begin(), families.end(), family,
      [](const OperatorFamily& f, const std::string& name) { return f.name < name; });
  return found != families.end() && found->name == family ? &*found : nullptr;
}

namespace {

/// Every fit in the program, read when it is first asked for.
class BuiltInFits {
 public:
  BuiltInFits() : files_(embedded_fitted()), fits_(files_.size()), read_(files_.size()) {}

  const FittedGpu* find(const std::string& gpu) {
    for (std::size_t i = 0; i < files_.size(); ++i)
      if (files_[i].name == gpu + ".yaml") return &at(i);
    return nullptr;
  }
  const std::vector<FittedGpu>& all() {
    for (std::size_t i = 0; i < files_.size(); ++i) at(i);
    return fits_;
  }

 private:
  const FittedGpu& at(std::size_t index) {
    std::call_once(read_[index], [&] {
      const std::string name(files_[index].name);
      fits_[index] = read_fitted(files_[index].content, name);
      CHECK(fits_[index].gpu + ".yaml" == name, name);
    });
    return fits_[index];
  }

  std::vector<EmbeddedFile> files_;  // ascending in name
  std::vector<FittedGpu> fits_;
  std::vector<std::once_flag> read_;
};

BuiltInFits& built_in_fits() {
  static BuiltInFits fits;
  return fits;
}

}  // namespace

const std::vector<FittedGpu>& fitted_gpus() { return built_in_fits().all(); }

const FittedGpu* find_fitted(const std::string& gpu) { return built_in_fits().find(gpu); }

}  // namespace fleetsim
