// Writing and reading JSON documents, with errors that say where. For this room's .cpp files only.
#pragma once

#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "admin/json.hpp"
#include "text/text.hpp"

namespace gordian::admin {

using Json = nlohmann::ordered_json;  // keys in the order written, which is the order of docs/cli.md

inline std::string string(std::string_view bytes) { return text::utf8(bytes); }
template <class Tag>
std::string string(const Id<Tag>& id) {
  return text::utf8(id.view());
}
inline double number(double value) { return std::isfinite(value) ? value : 0; }

/// Where the text differs from what was expected.
struct Unexpected {
  std::string what;
};

constexpr const char* expectation(bool) { return "true or false"; }
constexpr const char* expectation(double) { return "a number"; }
constexpr const char* expectation(std::uint64_t) { return "a whole number, not negative"; }
constexpr const char* expectation(std::int64_t) { return "a whole number"; }
inline const char* expectation(const std::string&) { return "a string"; }

template <class T>
bool fits(const Json& json) {
  if constexpr (std::is_same_v<T, bool>) return json.is_boolean();
  if constexpr (std::is_same_v<T, double>) return json.is_number();
  if constexpr (std::is_same_v<T, std::uint64_t>) return json.is_number_unsigned();
  if constexpr (std::is_same_v<T, std::int64_t>) return json.is_number_integer();
  if constexpr (std::is_same_v<T, std::string>) return json.is_string();
}

template <class T>
T value(const Json& json, const std::string& where) {
  if (!fits<T>(json)) throw Unexpected{where + ": " + json.type_name() + " found, expected " + expectation(T{})};
  if constexpr (std::is_same_v<T, std::string>) {
    return text::bytes_of(json.get_ref<const std::string&>());
  } else {
    return json.get<T>();
  }
}

/// One object of the document, which knows its place in it for messages.
class Object {
 public:
  Object(const Json& json, std::string place) : json_(json), place_(std::move(place)) {
    if (!json.is_object()) throw Unexpected{place_ + ": " + json.type_name() + " found, expected an object"};
  }
  [[nodiscard]] bool has(const char* key) const { return json_.contains(key); }
  [[nodiscard]] const Json& at(const char* key) const {
    const auto found = json_.find(key);
    if (found == json_.end()) throw Unexpected{place(key) + ": missing"};
    return *found;
  }
  template <class T>
  [[nodiscard]] T get(const char* key) const {
    return value<T>(at(key), place(key));
  }
  template <class IdType>
  [[nodiscard]] IdType id(const char* key) const {
    auto parsed = IdType::parse(get<std::string>(key));
    if (!parsed) throw Unexpected{place(key) + ": " + parsed.error()};
    return *std::move(parsed);
  }
  /// The place in `names` (of an enumeration's values) of the name found.
  template <class Enum, std::size_t count>
  [[nodiscard]] Enum one_of(const char* key, const char* const (&names)[count]) const {
    const auto found = get<std::string>(key);
    for (std::size_t i = 0; i < count; ++i)
      if (found == names[i]) return static_cast<Enum>(i);
    throw Unexpected{place(key) + ": \"" + found + "\" is not known"};
  }
  template <class Each>
  void each(const char* key, Each each) const {
    const Json& list = at(key);
    if (!list.is_array()) throw Unexpected{place(key) + ": " + list.type_name() + " found, expected a list"};
    for (std::size_t i = 0; i < list.size(); ++i) each(list[i], place(key) + "[" + std::to_string(i) + "]");
  }
  [[nodiscard]] std::string place(const std::string& key) const { return place_.empty() ? key : place_ + "." + key; }

 private:
  const Json& json_;
  std::string place_;
};

inline TxnId txn_id(const Json& json, const std::string& place) {
  auto id = TxnId::parse(value<std::string>(json, place));
  if (!id) throw Unexpected{place + ": " + id.error()};
  return *std::move(id);
}

/// Parses the text and hands its outermost object to `read`; whatever is wrong becomes a sentence.
template <class Read>
auto parse(std::string_view json, Read read) -> Parsed<decltype(read(std::declval<const Object&>()))> {
  try {
    const Json document = Json::parse(json);
    return read(Object(document, ""));
  } catch (const Unexpected& wrong) {
    return tl::unexpected("JSON: " + wrong.what);
  } catch (const Json::parse_error& error) {
    return tl::unexpected("no JSON at byte " + std::to_string(error.byte));
  } catch (const Json::exception& error) {
    return tl::unexpected(std::string("JSON: ") + error.what());
  }
}

}  // namespace gordian::admin
