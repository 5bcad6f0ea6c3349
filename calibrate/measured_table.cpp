#include "calibrate/measured_table.h"

#include "hw_models/check.h"

namespace fleetsim {

const char* name_of(RowFlag flag) {
  switch (flag) {
    case RowFlag::none:
      return "kept";
    case RowFlag::under_floor:
      return "under_floor";
    case RowFlag::launch_bound:
      return "launch_bound";
    case RowFlag::warm_l2:
      return "warm_l2";
    case RowFlag::repeated:
      return "repeated";
    case RowFlag::not_modelled:
      return "not_modelled";
  }
  CHECK(false, "a flag without a name");
}

}  // namespace fleetsim
