#pragma once
// A scenario's pools made concrete: GPU, model, memory plan, engine rules and step times per pool.

#include <memory>
#include <vector>

#include "hw_models/kv_memory.h"
#include "hw_models/power.h"
#include "hw_models/step_time.h"
#include "sim/engine/engine_rules.h"
#include "sim/scenario/scenario.h"

namespace fleetsim {

struct PoolDeployment {
  std::string name;
  const GpuSpec* gpu = nullptr;
  ModelSpec model;
  EngineRules rules;  // every setting resolved for the engine version
  MemoryPlan memory;
  std::shared_ptr<const StepTime> step_time;
  std::int64_t replicas = 1;
  std::int64_t gpus_per_replica = 1;
  std::int64_t expert_parallel = 1;
  FlopsPerSecond gemm_peak;       // of one GPU at the precision that its GEMMs run in
  std::optional<PowerLaw> power;  // of one GPU; absent where the cost model has no hardware
  double usd_per_gpu_hour = 0;
  bool priced = false;
  std::vector<std::string> notes;  // assumptions a reader must know
};

struct Deployment {
  std::vector<PoolDeployment> pools;
};

/// What a deployment is for. Pipeline stages can be taken apart, but not simulated yet: a stage has
/// a price, the micro-batches that keep all stages busy come with the engines.
enum class DeployFor { simulation, breakdown };

/// Resolves every pool. Faults (does not fit, unsupported combination) go to `problems` with the
/// place of the key that causes them; the result is usable only when there are none.
/// With pipeline parallelism a pool's model is its largest stage (pipeline_stage).
Deployment deploy(const Scenario& scenario, Problems& problems,
                  DeployFor purpose = DeployFor::simulation);

}  // namespace fleetsim
