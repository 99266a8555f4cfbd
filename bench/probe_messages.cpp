// How many probes a deadlock costs between coordinators, by the length of the ring, each transaction at a coordinator of its own: the
// last wait alone starts; all start at once; all start at once and probes pass smaller ids only. Next to what theory says.
// Counts, no times: the real EdgeChaser, messages delivered at once.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <random>

#include "trace/shared_graph.hpp"
#include "program.hpp"

namespace gordian::bench {
namespace {

struct Ring {
  Ring(std::size_t n, bool filter, std::mt19937& random) : shared(n, {.filter = filter}) {
    wire::MemberMap map;
    for (std::size_t i = 0; i < n; ++i) map.members.push_back({"c" + std::to_string(i), {}});
    std::vector<std::optional<TxnId>> owned(n);  // one for each coordinator
    for (std::size_t id = 0, found = 0; found < n; ++id) {
      const TxnId txn(std::to_string(id));
      auto& place = owned[wire::owner(map, txn)];
      if (!place) place = txn, ++found;
    }
    std::shuffle(owned.begin(), owned.end(), random);
    for (std::size_t i = 0; i < n; ++i) {
      const std::vector<Blocker> blocker{{*owned[(i + 1) % n]}};
      if (!shared.begin_wait({0, i + 1}, *owned[i], blocker, {}, graph::need_all)) throw std::runtime_error("limit");
    }
    last = *owned.back();
  }
  trace::SharedGraph shared;
  TxnId last{"-"};
};

int run(int argc, char** argv) {
  CLI::App app{"Probes per deadlock by the length of the ring"};
  int rings = 200;
  app.add_option("--rings", rings, "random rings of each length")->check(CLI::Range(1, 100'000));
  if (const auto code = parsed(app, argc, argv)) return *code;
  std::mt19937 random(1);
  std::cout << "length last_starts all_start n^2 filtered n*H(n)-(n-1) n*H(n)\n";
  for (const std::size_t n : {2, 4, 8, 16, 32, 48, 64}) {
    double last = 0, all = 0, filtered = 0, harmonic = 0;
    for (int i = 0; i < rings; ++i) {
      Ring closing(n, false, random), plain(n, false, random), smaller(n, true, random);
      if (!closing.shared.search({0, n}, closing.last) || plain.shared.full_pass().size() != 1 ||
          smaller.shared.full_pass().size() != 1)
        throw std::runtime_error("a ring was not found");
      last += static_cast<double>(closing.shared.probes()) / rings;
      all += static_cast<double>(plain.shared.probes()) / rings;
      filtered += static_cast<double>(smaller.shared.probes()) / rings;
    }
    for (std::size_t k = 1; k <= n; ++k) harmonic += 1.0 / static_cast<double>(k);
    const auto size = static_cast<double>(n);
    std::cout << n << " " << last << " " << all << " " << size * size << " " << filtered << " "
              << size * harmonic - (size - 1) << " " << size * harmonic << std::endl;
  }
  return 0;
}

}  // namespace
}  // namespace gordian::bench

int main(int argc, char** argv) {
  return gordian::bench::run_program("probe_messages", gordian::bench::run, argc, argv);
}
