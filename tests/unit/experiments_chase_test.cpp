// Edge chasing in a model whose messages are slow.
#include <doctest/doctest.h>

#include "experiments/model.hpp"

using namespace gordian::experiments;

TEST_CASE("no deadlock stands for good, however late the order that was to break it comes") {
  Settings settings;
  settings.mpl = 20;
  settings.strategy = Strategy::edge_chasing;
  settings.sites = 4;
  settings.delay = 8;
  settings.jitter = 4;
  settings.duration = 6000;
  // With this seed an order once came to nothing for a cycle that one member owns alone; everything stood still from then on.
  const auto result = simulate(settings, 37);
  REQUIRE(result);
  CHECK(result->throughput() > 0.7);
}
