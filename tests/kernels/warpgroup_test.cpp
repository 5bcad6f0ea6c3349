// The words of a warpgroup: tensor copies and matrix instructions are what their sources define,
// and their misuse is found.

#include "kernels/device/warpgroup.h"

#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels/device/device_memory.h"
#include "kernels/device/memory_access.h"
#include "kernels/device/tensor_map.h"
#include "kernels/reference/random_inputs.h"

#include "tests/catch.h"

using namespace fleetsim::kernels;

namespace {

constexpr int kPanelBytes = 64 * kPanelRowBytes;

enum class Fault { none, no_fence, no_wait, early_overwrite };

/// C (64 x kN) = A B in one block of 128 threads. A: 64 rows of K = 128 bytes. B k-major: kN rows
/// of K; n-major: K rows of kN.
template <class Element, int kN, Major kMajorB, bool kRegisters>
void product_kernel(TensorMap map_a, TensorMap map_b, float* c, Fault planted) {
  constexpr int kSteps = kPanelRowBytes / 32;
  constexpr int kPanelsB = kN / 64;
  unsigned char* shared = dynamic_shared_memory();
  auto* barrier = reinterpret_cast<Mbarrier*>(shared + (1 + kPanelsB) * kPanelBytes);
  unsigned char* b = shared + kPanelBytes;
  const int thread = static_cast<int>(threadIdx.x);
  if (thread == 0) {
    barrier_init(barrier, 1);
    fence_barrier_init();
  }
  sync_block();
  if (thread == 0) {
    barrier_arrive_expecting(barrier, (1 + kPanelsB) * kPanelBytes);
    copy_tensor_to_shared(shared, map_a, {0, 0}, barrier);
    for (int panel = 0; panel < kPanelsB; ++panel) {
      const int column = kMajorB == Major::k ? 0 : 64 * panel;
      const int row = kMajorB == Major::k ? 64 * panel : 0;
      copy_tensor_to_shared(b + panel * kPanelBytes, map_b, {column, row}, barrier);
    }
  }
  barrier_wait(barrier, 0);
  float sums[kN / 2];
  for (float& sum : sums) sum = 0.5F;  // overwritten by the first step
  const SharedOperand left = shared_operand(shared), right = shared_operand(b, kPanelBytes);
  if (planted != Fault::no_fence) warpgroup_fence();
  for (int step = 0; step < kSteps; ++step) {
    const int further = kMajorB == Major::k ? 32 * step : 16 * kPanelRowBytes * step;
    if constexpr (kRegisters) {
      std::uint32_t a[4];
      for (int part = 0; part < 4; ++part) {
        const int row = thread / 32 * 16 + thread % 32 / 4 + part % 2 * 8;
        a[part] = *reinterpret_cast<const std::uint32_t*>(
            shared + panel_offset(row, 2 * step + part / 2) + thread % 4 * 4);
      }
      warpgroup_multiply<Element, kN, kMajorB>(sums, a, right + further, step > 0);
    } else {
      warpgroup_multiply<Element, kN, kMajorB>(sums, left + 32 * step, right + further, step > 0);
    }
  }
  warpgroup_commit();
  if (planted == Fault::early_overwrite) store_16(b + 16 * thread, uint4{0, 0, 0, 0});
  if (planted != Fault::no_wait) warpgroup_wait<0>();
  keep_behind(sums);
  for (int i = 0; i < kN / 2; ++i) {
    const int row = thread / 32 * 16 + thread % 32 / 4 + i / 2 % 2 * 8;
    c[row * kN + i / 4 * 8 + thread % 4 * 2 + i % 2] = sums[i];
  }
  if (planted == Fault::no_wait) warpgroup_wait<0>();
}

Bf16 element(float value, Bf16) { return to_bf16(value); }
E4m3 element(float value, E4m3) { return to_e4m3(value); }

template <class Element>
std::vector<Element> draw(RandomInputs& random, std::size_t count) {
  std::vector<Element> values(count);
  for (Element& value : values)
    value = element(static_cast<float>(random.below(64)) / 16 - 2, Element{});
  return values;
}

TensorMap map_of(const void* base, int element_bytes, int columns, int rows) {
  TensorShape shape;
  shape.base = base;
  shape.element_bytes = element_bytes;
  shape.rank = 2;
  shape.sizes[0] = columns;
  shape.sizes[1] = rows;
  shape.strides[1] = std::int64_t{columns} * element_bytes;
  shape.box[0] = kPanelRowBytes / element_bytes;
  shape.box[1] = 64;
  return make_tensor_map(shape);
}

/// Largest difference from the product in double.
template <class Element, int kN, Major kMajorB, bool kRegisters>
double product_error(std::uint64_t seed, Fault planted = Fault::none) {
  constexpr int kK = kPanelRowBytes / static_cast<int>(sizeof(Element));
  static_assert(kMajorB == Major::k || kK == 64);
  RandomInputs random(seed, "warpgroup");
  const auto a = draw<Element>(random, 64 * kK);
  const auto b = draw<Element>(random, std::size_t{kN} * kK);
  const DeviceBuffer<Element> device_a(a), device_b(b);
  const DeviceBuffer<float> c(64 * kN);
  const bool k_major = kMajorB == Major::k;
  emulation::set_schedule_seed(seed);
  LaunchShape shape;
  shape.grid = dim3{1, 1, 1};
  shape.block = dim3{128, 1, 1};
  shape.shared_bytes = (1 + kN / 64) * kPanelBytes + 16;
  launch(product_kernel<Element, kN, kMajorB, kRegisters>, shape,
         map_of(device_a.data(), sizeof(Element), kK, 64),
         map_of(device_b.data(), sizeof(Element), k_major ? kK : kN, k_major ? kN : kK), c.data(),
         planted);
  const std::vector<float> out = c.values();
  double worst = 0;
  for (int row = 0; row < 64; ++row)
    for (int n = 0; n < kN; ++n) {
      double sum = 0;
      for (int k = 0; k < kK; ++k)
        sum += static_cast<double>(to_float(a[static_cast<std::size_t>(row * kK + k)])) *
               to_float(b[static_cast<std::size_t>(k_major ? n * kK + k : k * kN + n)]);
      const double difference = std::fabs(out[static_cast<std::size_t>(row * kN + n)] - sum);
      worst = std::isfinite(difference) ? std::max(worst, difference) : 1e30;
    }
  return worst;
}

}  // namespace

TEST_CASE("a warpgroup multiplies what tensor copies brought", "[kernels][warpgroup]") {
  for (const std::uint64_t seed : {1, 2, 3, 4}) {
    CHECK(product_error<Bf16, 64, Major::k, false>(seed) < 1e-3);
    CHECK(product_error<Bf16, 128, Major::k, true>(seed) < 1e-3);
    CHECK(product_error<Bf16, 256, Major::n, false>(seed) < 1e-3);
    CHECK(product_error<Bf16, 128, Major::n, true>(seed) < 1e-3);
    CHECK(product_error<E4m3, 128, Major::k, false>(seed) < 1e-3);
    CHECK(product_error<E4m3, 64, Major::k, true>(seed) < 1e-3);
  }
}

TEST_CASE("reading sums before the wait, or overwriting operands, shows for some order",
          "[kernels][warpgroup]") {
  for (const Fault planted : {Fault::no_wait, Fault::early_overwrite}) {
    double worst = 0;
    for (const std::uint64_t seed : {1, 2, 3, 4, 5, 6})
      worst = std::max(worst, product_error<Bf16, 64, Major::k, false>(seed, planted));
    CHECK(worst > 0.1);
  }
}

TEST_CASE("a group of multiplications without a fence is a fault", "[kernels][warpgroup]") {
  CHECK_THROWS_AS((product_error<Bf16, 64, Major::k, false>(1, Fault::no_fence)),
                  emulation::KernelFault);
}

TEST_CASE("boxes beyond a tensor are filled with zeros", "[kernels][warpgroup]") {
  constexpr int kColumns = 40, kRows = 5;  // of a box of 64 x 16 that begins at (32, 2)
  std::vector<Bf16> values(kColumns * kRows);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = to_bf16(static_cast<float>(i + 1));
  const DeviceBuffer<Bf16> tensor(values), out(64 * 16);
  TensorShape tensor_shape;
  tensor_shape.base = tensor.data();
  tensor_shape.rank = 2;
  tensor_shape.sizes[0] = kColumns;
  tensor_shape.sizes[1] = kRows;
  tensor_shape.strides[1] = kColumns * 2;
  tensor_shape.box[0] = 64;
  tensor_shape.box[1] = 16;
  LaunchShape shape;
  shape.grid = dim3{1, 1, 1};
  shape.block = dim3{32, 1, 1};
  shape.shared_bytes = 16 * kPanelRowBytes + 16;
  launch(
      +[](TensorMap map, Bf16* to) {
        unsigned char* shared = dynamic_shared_memory();
        auto* barrier = reinterpret_cast<Mbarrier*>(shared + 16 * kPanelRowBytes);
        if (threadIdx.x == 0) {
          barrier_init(barrier, 1);
          fence_barrier_init();
          barrier_arrive_expecting(barrier, 16 * kPanelRowBytes);
          copy_tensor_to_shared(shared, map, {32, 2}, barrier);
        }
        sync_warp();
        barrier_wait(barrier, 0);
        for (int i = static_cast<int>(threadIdx.x); i < 128; i += 32)
          store_16(to + i * 8,
                   *reinterpret_cast<const uint4*>(shared + panel_offset(i / 8, i % 8)));
      },
      shape, make_tensor_map(tensor_shape), out.data());
  const std::vector<Bf16> box = out.values();
  for (int row = 0; row < 16; ++row)
    for (int column = 0; column < 64; ++column) {
      const bool inside = row + 2 < kRows && column + 32 < kColumns;
      const float expected = inside ? static_cast<float>((row + 2) * kColumns + column + 33) : 0;
      REQUIRE(to_float(box[static_cast<std::size_t>(row * 64 + column)]) == expected);
    }
}
