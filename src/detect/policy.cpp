// The policies' names, and the order of transaction ids that decides ties.
#include <algorithm>
#include <array>

#include "detect/victims.hpp"

namespace gordian::detect {
namespace {

struct NamedPolicy {
  Policy policy;
  std::string_view name;
};
constexpr std::array named_policies{
    NamedPolicy{Policy::youngest, "youngest"},
    NamedPolicy{Policy::oldest, "oldest"},
    NamedPolicy{Policy::fewest_locks, "fewest_locks"},
    NamedPolicy{Policy::least_work, "least_work"},
    NamedPolicy{Policy::lowest_priority, "lowest_priority"},
    NamedPolicy{Policy::requester, "requester"},
    NamedPolicy{Policy::weighted, "weighted"},
};

bool is_decimal(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

std::string_view name(Policy policy) {
  for (const auto& named : named_policies)
    if (named.policy == policy) return named.name;
  return "?";
}

std::optional<Policy> parse_policy(std::string_view name) {
  for (const auto& named : named_policies)
    if (named.name == name) return named.policy;
  return std::nullopt;
}

std::string policy_names() {
  std::string names;
  for (const auto& named : named_policies) names.append(names.empty() ? "" : ", ").append(named.name);
  return names;
}

bool id_less(const TxnId& a, const TxnId& b) {
  const bool a_decimal = is_decimal(a.view());
  const bool b_decimal = is_decimal(b.view());
  if (a_decimal != b_decimal) return a_decimal;
  if (!a_decimal) return a < b;
  const auto digits = [](std::string_view text) {
    text.remove_prefix(std::min(text.find_first_not_of('0'), text.size()));
    return text;
  };
  const auto a_digits = digits(a.view());
  const auto b_digits = digits(b.view());
  if (a_digits.size() != b_digits.size()) return a_digits.size() < b_digits.size();
  return a_digits != b_digits ? a_digits < b_digits : a < b;  // "1" and "01" are two transactions
}

}  // namespace gordian::detect
