// Which global transaction a session or a prepared transaction belongs to.
//
// The application says so: in application_name ("gtx:<id>", SET LOCAL works) and in the gid of PREPARE TRANSACTION.
// Whoever says nothing gets an id of its own, made of the site, the process and the start of the transaction, so that
// no id is ever used for two transactions.
#pragma once

#include <gordian/ids.hpp>
#include <regex>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

#include "postgres/branch.hpp"

namespace gordian::postgres {

/// An ECMAScript regular expression with exactly one group: the id. The error is a sentence.
[[nodiscard]] tl::expected<std::regex, std::string> parse_id_pattern(const std::string& pattern);

/// Constant after construction; may be used from any thread.
class Identity {
 public:
  /// Both patterns as parse_id_pattern gives them.
  Identity(SiteId site, std::regex application_pattern, std::regex gid_pattern);

  /// The transaction that `branch`, whose session has this application_name, belongs to.
  [[nodiscard]] TxnId of_session(const Branch& branch, std::string_view application_name) const;
  /// The same for a prepared transaction.
  [[nodiscard]] TxnId of_prepared(const Branch& branch) const;

 private:
  SiteId site_;
  std::regex application_pattern_;
  std::regex gid_pattern_;
};

/// An id from any text that is not empty: one that is too long is cut, and ends with a hash of all of it.
[[nodiscard]] TxnId fitting_id(std::string_view text);

}  // namespace gordian::postgres
