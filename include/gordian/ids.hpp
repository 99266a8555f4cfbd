// The names of things: transactions, sites and episodes of waiting. Strong types, so that one is never passed for another.
//
// An id is an opaque, immutable byte string of 1 to `max_bytes` bytes. Gordian compares ids and shows them; it never
// looks inside. Value types: copying is as cheap as copying a short std::string; safe to use from any thread.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>

namespace gordian {

/// An opaque id of 1 to `max_bytes` bytes; `Tag` keeps the kinds apart and names them in messages.
template <class Tag>
class Id {
 public:
  static constexpr std::size_t max_bytes = 128;

  /// For text from inside the program. Throws std::invalid_argument if `text` is empty or longer than `max_bytes`.
  explicit Id(std::string text) : text_(std::move(text)) {
    if (const auto wrong = complaint(text_); !wrong.empty()) throw std::invalid_argument(wrong);
  }
  explicit Id(std::string_view text) : Id(std::string(text)) {}
  explicit Id(const char* text) : Id(std::string(text)) {}

  /// For text from outside. The error is a sentence that says what is wrong with it.
  static tl::expected<Id, std::string> parse(std::string_view text) {
    if (auto wrong = complaint(text); !wrong.empty()) return tl::unexpected(std::move(wrong));
    return Id(std::string(text));
  }

  [[nodiscard]] const std::string& str() const noexcept { return text_; }
  [[nodiscard]] std::string_view view() const noexcept { return text_; }

  friend bool operator==(const Id&, const Id&) = default;
  friend std::strong_ordering operator<=>(const Id& a, const Id& b) noexcept { return a.text_.compare(b.text_) <=> 0; }

 private:
  static std::string complaint(std::string_view text) {
    if (text.empty()) return std::string(Tag::name) + " id is empty, expected 1 to 128 bytes";
    if (text.size() > max_bytes)
      return std::string(Tag::name) + " id has " + std::to_string(text.size()) + " bytes, expected 1 to 128";
    return {};
  }

  std::string text_;
};

struct TxnTag {
  static constexpr const char* name = "transaction";
};
struct SiteTag {
  static constexpr const char* name = "site";
};

/// The global unit of work that holds and waits for locks.
using TxnId = Id<TxnTag>;
/// A place where locks live; one agent speaks for one site.
using SiteId = Id<SiteTag>;

/// Names one *episode* of waiting; never used again. `incarnation` is the agent's start number, `sequence` its own count.
struct WaitId {
  SiteId site;
  std::uint64_t incarnation;
  std::uint64_t sequence;

  friend bool operator==(const WaitId&, const WaitId&) = default;
  friend std::strong_ordering operator<=>(const WaitId&, const WaitId&) = default;
};

/// "site/incarnation/sequence", for logs and messages.
inline std::string to_string(const WaitId& id) {
  return id.site.str() + "/" + std::to_string(id.incarnation) + "/" + std::to_string(id.sequence);
}

}  // namespace gordian

template <class Tag>
struct std::hash<gordian::Id<Tag>> {
  std::size_t operator()(const gordian::Id<Tag>& id) const noexcept { return std::hash<std::string_view>{}(id.view()); }
};
template <>
struct std::hash<gordian::WaitId> {
  std::size_t operator()(const gordian::WaitId& id) const noexcept {
    const auto mix = [](std::size_t h, std::uint64_t v) { return (h ^ v) * 0x9e3779b97f4a7c15ULL; };
    return mix(mix(std::hash<gordian::SiteId>{}(id.site), id.incarnation), id.sequence);
  }
};
