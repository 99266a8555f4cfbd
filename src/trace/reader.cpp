// The trace format's grammar, on nlohmann/json. Inside this file what is wrong with a line is thrown, as it
// is found deep in nested calls; it leaves as a value.
#include "trace/reader.hpp"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <set>
#include <span>

namespace gordian::trace {
namespace {

using nlohmann::json;

struct Wrong {
  std::string message;
};

[[noreturn]] void malformed(const std::string& found, const std::string& expected) {
  throw Wrong{"found " + found + ", expected " + expected};
}

/// A value as it stands in the line, cut where it gets long.
std::string shown(const json& value) {
  constexpr std::size_t shown_bytes_max = 60;
  auto text = value.dump(-1, ' ', true, json::error_handler_t::replace);  // ASCII: may be cut anywhere
  if (text.size() > shown_bytes_max) text = text.substr(0, shown_bytes_max) + "…";
  return text;
}

struct Grammar {
  std::string_view op;
  std::span<const std::string_view> required;
  std::span<const std::string_view> optional;
};
constexpr std::string_view txn_keys[]{"txn"};
constexpr std::string_view site_keys[]{"site"};
constexpr std::string_view holders_keys[]{"resource", "txns"};
constexpr std::string_view mode_options[]{"detect", "policy", "coordinators"};
constexpr std::string_view begin_options[]{"start", "priority", "locks", "work", "restarts", "class", "label"};
constexpr std::string_view wait_options[]{"for", "behind", "site", "resource", "need", "kind", "mode"};
constexpr std::string_view unwait_options[]{"site", "resource"};
constexpr std::string_view expect_options[]{"victims", "deadlocked", "reorder", "incidents"};
constexpr std::array grammars{
    Grammar{"mode", {}, mode_options},
    Grammar{"begin", txn_keys, begin_options},
    Grammar{"wait", txn_keys, wait_options},
    Grammar{"holders", holders_keys, site_keys},
    Grammar{"unwait", txn_keys, unwait_options},
    Grammar{"end", txn_keys, {}},
    Grammar{"lost", site_keys, {}},
    Grammar{"detect", {}, {}},
    Grammar{"expect", {}, expect_options},
};

/// One line's object: typed access to its keys.
class Fields {
 public:
  explicit Fields(const json& object) : object_(object) {
    if (!object.is_object()) malformed(shown(object), "an object");
    if (!object.contains("op")) malformed("no \"op\"", "one of " + op_names());
    op_ = text_at("op");
    const auto* const grammar = std::ranges::find(grammars, std::string_view(op_), &Grammar::op);
    if (grammar == grammars.end()) malformed("unknown operation " + shown(object["op"]), "one of " + op_names());
    for (const auto key : grammar->required)
      if (!object.contains(key)) malformed("no \"" + std::string(key) + "\" in \"" + op_ + "\"", "it to be there");
    for (const auto& item : object.items()) check_known(*grammar, item.key());
  }

  [[nodiscard]] const std::string& op() const { return op_; }
  [[nodiscard]] bool has(const char* key) const { return object_.contains(key); }
  [[nodiscard]] const json& at(const char* key) const { return object_[key]; }

  [[nodiscard]] std::string text_at(const char* key) const {
    if (!at(key).is_string()) wrong(key, "a string");
    return at(key).get<std::string>();
  }
  [[nodiscard]] std::optional<std::string> text(const char* key) const {
    if (!has(key)) return std::nullopt;
    return text_at(key);
  }
  [[nodiscard]] std::optional<double> number(const char* key) const {
    if (!has(key)) return std::nullopt;
    if (!at(key).is_number()) wrong(key, "a number");
    return at(key).get<double>();
  }
  /// One of `choices`; the first if the key is missing.
  [[nodiscard]] std::size_t choice(const char* key, std::initializer_list<const char*> choices) const {
    if (!has(key)) return 0;
    std::string expected;
    for (const auto* const c : choices) expected.append(expected.empty() ? "\"" : " or \"").append(c).append("\"");
    if (!at(key).is_string()) wrong(key, expected);
    const auto found = std::ranges::find(choices, at(key).get<std::string>());
    if (found == choices.end()) wrong(key, expected);
    return static_cast<std::size_t>(found - choices.begin());
  }

  template <class Id>
  [[nodiscard]] Id id(const char* key) const {
    return parse_id<Id>(key, at(key));
  }
  [[nodiscard]] TxnId txn() const { return id<TxnId>("txn"); }
  [[nodiscard]] std::optional<SiteId> site() const {
    if (!has("site")) return std::nullopt;
    return id<SiteId>("site");
  }
  [[nodiscard]] std::optional<std::vector<TxnId>> txns(const char* key) const {
    if (!has(key)) return std::nullopt;
    if (!at(key).is_array()) wrong(key, "a list of transactions");
    std::vector<TxnId> ids;
    ids.reserve(at(key).size());
    for (const auto& item : at(key)) ids.push_back(parse_id<TxnId>(key, item));
    return ids;
  }

  [[noreturn]] void wrong(const char* key, const std::string& expected) const {
    malformed(pair(key), expected + " for \"" + key + "\" in \"" + op_ + "\"");
  }
  /// `"key": value`, for messages.
  [[nodiscard]] std::string pair(const char* key) const { return "\"" + std::string(key) + "\": " + shown(at(key)); }

 private:
  static std::string op_names() {
    std::string names;
    for (const auto& grammar : grammars) names.append(names.empty() ? "" : ", ").append(grammar.op);
    return names;
  }
  void check_known(const Grammar& grammar, const std::string& key) const {
    std::string known;
    for (const auto keys : {grammar.required, grammar.optional}) {
      for (const auto name : keys) {
        if (name == key) return;
        known.append(known.empty() ? "one of " : ", ").append(name);
      }
    }
    if (key == "op") return;
    malformed("unknown key " + shown(json(key)) + " in \"" + op_ + "\"", known.empty() ? "no further key" : known);
  }
  template <class Id>
  [[nodiscard]] Id parse_id(const char* key, const json& value) const {
    if (!value.is_string())
      malformed(shown(value) + " in \"" + std::string(key) + "\"", "a string of 1 to 128 bytes as id");
    auto id = Id::parse(value.get<std::string>());
    if (!id) {
      const auto bytes = value.get_ref<const std::string&>().size();
      malformed("an id of " + std::to_string(bytes) + " bytes in \"" + std::string(key) + "\"", "1 to 128 bytes");
    }
    return *std::move(id);
  }

  const json& object_;
  std::string op_;
};

Mode read_mode(const Fields& f) {
  Mode mode;
  mode.on_demand = f.choice("detect", {"continuous", "on_demand"}) == 1;
  if (const auto policy = f.text("policy")) {
    mode.policy = detect::parse_policy(*policy);
    if (!mode.policy) f.wrong("policy", "one of " + detect::policy_names());
  }
  if (f.has("coordinators")) {
    const auto& count = f.at("coordinators");
    if (!count.is_number_integer() || count < 1 || count > 64) f.wrong("coordinators", "an integer from 1 to 64");
    mode.coordinators = count.get<std::uint32_t>();
  }
  return mode;
}

Begin read_begin(const Fields& f) {
  Begin begin{.txn = f.txn(),
              .start = f.number("start"),
              .priority = f.number("priority"),
              .locks = f.number("locks"),
              .work = f.number("work"),
              .restarts = f.number("restarts"),
              .victim_class = {},
              .label = f.text("label")};
  if (f.has("class"))
    begin.victim_class = f.choice("class", {"normal", "never"}) == 1 ? TxnInfo::Class::never : TxnInfo::Class::normal;
  return begin;
}

/// How many of `blockers` must end: need_all, if all of them.
std::uint32_t read_need(const Fields& f, const TxnId& waiter, const std::vector<TxnId>& blockers) {
  if (!f.has("need")) return graph::need_all;
  const auto& need = f.at("need");
  std::set<TxnId> others(blockers.begin(), blockers.end());
  others.erase(waiter);
  if (!need.is_number_integer()) {
    if (need != "all" && need != "any") f.wrong("need", "\"all\", \"any\" or an integer");
    return need == "all" || others.size() < 2 ? graph::need_all : 1;
  }
  if (need < 1) f.wrong("need", "at least 1");
  if (f.has("for") && need > others.size())
    f.wrong("need", "at most " + std::to_string(others.size()) + ", the number of blockers,");
  return need == others.size() ? graph::need_all : need.get<std::uint32_t>();
}

BeginWait read_wait(const Fields& f) {
  BeginWait wait{.txn = f.txn(),
                 .blockers = f.txns("for").value_or(std::vector<TxnId>{}),
                 .behind = f.txns("behind").value_or(std::vector<TxnId>{}),
                 .site = f.site().value_or(SiteId("0")),
                 .resource = f.text("resource").value_or(""),
                 .kind = f.choice("kind", {"hard", "dotted"}) == 1 ? Kind::dotted : Kind::hard,
                 .for_holders = !f.has("for")};
  (void)f.text("mode");  // only for people who read the trace
  wait.need = read_need(f, wait.txn, wait.blockers);
  const bool says_all = !f.has("need") || f.at("need") == "all";
  if (!wait.behind.empty() && !says_all) malformed("\"behind\" with " + f.pair("need"), "\"need\": \"all\"");
  if (wait.for_holders && !says_all)
    malformed(f.pair("need") + " without \"for\"", "\"for\", of which so many are needed; all holders always are");
  if (wait.for_holders && wait.kind == Kind::dotted)
    malformed(f.pair("kind") + " without \"for\"", "\"for\", whose kind it is; holders are hard");
  return wait;
}

Expect read_expect(const Fields& f) {
  Expect expect{.victims = f.txns("victims"), .deadlocked = f.txns("deadlocked"), .reorder = {}, .incidents = {}};
  if (f.has("reorder")) {
    if (!f.at("reorder").is_boolean()) f.wrong("reorder", "true or false");
    expect.reorder = f.at("reorder").get<bool>();
  }
  if (f.has("incidents")) {
    if (!f.at("incidents").is_number_unsigned()) f.wrong("incidents", "a whole number");
    expect.incidents = f.at("incidents").get<std::uint64_t>();
  }
  return expect;
}

Operation read_operation(const Fields& f, bool first) {
  if (f.op() == "mode") {
    if (!first) malformed("\"mode\" after other operations", "it as the first operation");
    return read_mode(f);
  }
  if (f.op() == "begin") return read_begin(f);
  if (f.op() == "wait") return read_wait(f);
  if (f.op() == "unwait") return EndWait{f.txn(), f.site(), f.text("resource")};
  if (f.op() == "end") return EndTxn{f.txn()};
  if (f.op() == "lost") return LoseSite{f.id<SiteId>("site")};
  if (f.op() == "detect") return Detect{};
  if (f.op() == "expect") return read_expect(f);
  return Holders{*f.txns("txns"), f.site().value_or(SiteId("0")), f.text_at("resource")};
}

/// Refuses what JSON libraries let pass: keys given twice, and values nested so deep that no operation has them.
json parse_object(const std::string& text) {
  std::set<std::string> keys;
  const auto check = [&keys](int depth, json::parse_event_t event, json& parsed) {
    const bool opens = event == json::parse_event_t::object_start || event == json::parse_event_t::array_start;
    if (opens && depth > 1) malformed("a value nested deeper than a list", "an object of plain values and lists");
    if (event == json::parse_event_t::key && depth == 1 && !keys.insert(parsed.get<std::string>()).second)
      malformed("key " + shown(parsed) + " twice", "each key once");
    return true;
  };
  if (text.starts_with("\xEF\xBB\xBF")) malformed("a byte order mark", "a line that begins with { or #");
  try {
    return json::parse(text, check);
  } catch (const json::parse_error& error) {
    // "[json.exception.parse_error.101] parse error at line 1, column 5: what": the line is ours to name.
    const std::string_view what = error.what();
    const auto at = what.find(": ");
    malformed("no JSON at byte " + std::to_string(error.byte) + " (" +
                  std::string(at == std::string_view::npos ? what : what.substr(at + 2)) + ")",
              "one JSON object");
  } catch (const json::out_of_range&) {
    malformed("a number out of range", "one that fits a double");
  }
}

}  // namespace

Reader::LineRead Reader::read_line() {
  using Traits = std::istream::traits_type;
  text_.clear();
  auto* const buffer = in_.rdbuf();
  for (auto c = buffer->sbumpc(); c != '\n'; c = buffer->sbumpc()) {
    if (Traits::eq_int_type(c, Traits::eof())) return text_.empty() ? LineRead::end : LineRead::line;
    if (text_.size() == line_bytes_max) return LineRead::too_long;
    text_.push_back(Traits::to_char_type(c));
  }
  return LineRead::line;
}

tl::expected<std::optional<Line>, TraceError> Reader::next() {
  try {
    while (true) {
      const auto read = read_line();
      if (read == LineRead::end) return std::nullopt;
      ++number_;
      if (read == LineRead::too_long)
        malformed("a longer line", "at most " + std::to_string(line_bytes_max) + " bytes");
      if (text_.starts_with('#')) continue;
      if (text_.find_first_not_of(" \t\r") == std::string::npos)
        malformed("an empty line", "an operation, or a comment that begins with #");
      const auto object = parse_object(text_);
      Line line{number_, read_operation(Fields(object), first_operation_)};
      first_operation_ = false;
      return line;
    }
  } catch (const Wrong& wrong) {
    return tl::unexpected(TraceError{TraceError::Kind::malformed, file_, number_, wrong.message});
  } catch (const std::ios_base::failure&) {  // a directory, a broken disk
    return tl::unexpected(
        TraceError{TraceError::Kind::malformed, file_, number_ + 1, "found nothing that can be read, expected a file"});
  }
}

}  // namespace gordian::trace
