#pragma once
// The one door to Catch2: version 2 (Debian 12) and version 3 (Ubuntu 24.04) keep their headers in
// different places.
#undef CHECK  // ours (hw_models/check.h), when a header before this one brought it: tests mean
              // Catch2's
#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
using Catch::Approx;
#else
#include <catch2/catch.hpp>
#endif
