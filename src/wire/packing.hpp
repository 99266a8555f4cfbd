// Messages as msgpack: one writer and one reader for everything that fields.hpp and lock_fields.hpp describe. For this room's
// .cpp files only. Errors of reading travel as exceptions inside them, and become values in decode().
#pragma once

#include <cmath>
#include <msgpack.hpp>
#include <string>
#include <tl/expected.hpp>
#include <utility>

#include "wire/fields.hpp"
#include "wire/lock_fields.hpp"
#include "wire/peer_fields.hpp"

namespace gordian::wire {

/// Does M have fields that are left out unless they say something? (Asked out here: clang 14 cannot do so inside a lambda.)
template <class M>
inline constexpr bool appends = requires(const M& m) {
  has_appended(m);
};

class Writer {
 public:
  template <class M>
  void message(const M& m) {
    write<M>([&](auto&& f) {
      fields(m, f);
      if constexpr (appends<M>) {
        if (has_appended(m)) appended_fields(m, f);
      }
    });
  }
  template <class M>
  void message(const FromPeer& envelope, const M& m) {
    write<M>([&](auto&& f) { envelope_fields(envelope, f), fields(m, f); });
  }
  [[nodiscard]] std::string take() const { return {buffer_.data(), buffer_.size()}; }

 private:
  template <class M>
  void write(auto each) {
    std::uint32_t count = 0;
    each([&](const char*, const auto&) { ++count; });
    packer_.pack_array(2 + count);
    packer_.pack(version);
    packer_.pack(type_code<M>);
    each([&](const char*, const auto& value) { put(value); });
  }
  void put(std::uint64_t value) { packer_.pack(value); }
  void put(std::uint32_t value) { packer_.pack(value); }
  void put(bool value) { packer_.pack(value); }
  void put(double value) { packer_.pack(value); }
  void put(const std::optional<double>& value) {
    if (value) {
      packer_.pack(*value);
    } else {
      packer_.pack_nil();
    }
  }
  void put(const std::string& value) { packer_.pack(value); }
  template <class Tag>
  void put(const Id<Tag>& value) {
    packer_.pack(value.str());
  }
  template <class E>
  requires std::is_enum_v<E>
  void put(E value) { packer_.pack(static_cast<std::uint64_t>(value)); }
  template <class T>
  void put(const std::vector<T>& values) {
    packer_.pack_array(static_cast<std::uint32_t>(values.size()));
    for (const auto& value : values) put(value);
  }
  void put(const EdgeRef& value) { tuple(value); }
  void put(const ConfirmEdge& value) { tuple(value); }
  void put(const std::optional<std::uint64_t>& value) {
    if (value) {
      packer_.pack(*value);
    } else {
      packer_.pack_nil();
    }
  }
  template <Tuple T>
  void put(const T& value) {
    tuple(value);
  }
  void put(const LockServiceRequest& request) {
    std::visit(
        [this]<class R>(const R& r) {
          std::uint32_t count = 1;
          fields(r, [&](const char*, const auto&) { ++count; });
          packer_.pack_array(count);
          packer_.pack(request_code<R>);
          fields(r, [&](const char*, const auto& field) { put(field); });
        },
        request);
  }
  template <class T>
  void tuple(const T& value) {
    std::uint32_t count = 0;
    fields(value, [&](const char*, const auto&) { ++count; });
    packer_.pack_array(count);
    fields(value, [&](const char*, const auto& field) { put(field); });
  }
  void put(const Change& change) {
    std::visit([this](const auto& c) { put_change(c); }, change);
  }
  template <class C>
  void put_change(const C& change) {
    std::uint32_t count = 1;
    fields(change, [&](const char*, const auto&) { ++count; });
    if constexpr (HasAppended<C>) count += static_cast<std::uint32_t>(appended_count(change));
    packer_.pack_array(count);
    packer_.pack(change_code<C>);
    fields(change, [&](const char*, const auto& field) { put(field); });
    if constexpr (HasAppended<C>) put_appended(change);
  }
  template <class C>
  void put_appended(const C& change) {
    auto left = appended_count(change);
    if (left > 0)
      appended_fields(change, [&](const char*, const auto& field) {
        put(field);
        return --left > 0;
      });
  }
  void put_change(const WaitChange& change) {
    BlockerLists lists;
    for (const auto& b : change.wait.blockers) {
      (b.kind == Kind::hard ? lists.hard : b.kind == Kind::soft ? lists.soft : lists.dotted).push_back(b.txn);
    }
    const auto age_us = static_cast<std::uint64_t>(std::max<std::int64_t>(0, change.wait.age.count()));
    std::uint32_t count = 1 + static_cast<std::uint32_t>(appended_count(change));
    fields(change, lists, age_us, [&](const char*, const auto&) { ++count; });
    packer_.pack_array(count);
    packer_.pack(change_code<WaitChange>);
    fields(change, lists, age_us, [&](const char*, const auto& field) { put(field); });
    put_appended(change);
  }

  msgpack::sbuffer buffer_;
  msgpack::packer<msgpack::sbuffer> packer_{buffer_};
};

struct Refused {
  Error error;
};
[[noreturn]] inline void refuse(Error::Code code, std::string text) { throw Refused{{code, std::move(text)}}; }

class Reader {
 public:
  Reader(const Limits& limits, std::string where) : limits_(limits), where_(std::move(where)) {}

  /// Reads `fields` of `value` from the elements of an array, from `first` on. More elements than fields are allowed.
  template <class Visit>
  void array(const msgpack::object& object, std::size_t first, Visit&& visit) {
    if (object.type != msgpack::type::ARRAY) wrong(object, "an array");
    std::size_t i = first;
    visit([&](const char* name, auto& value) {
      if (i >= object.via.array.size)
        refuse(Error::Code::malformed,
               where_ + ": field '" + name + "' is missing (element " + std::to_string(i) + ")");
      const auto length = where_.size();
      where_.append(".").append(name);
      get(object.via.array.ptr[i++], value);
      where_.resize(length);
    });
  }
  /// Reads appended fields as far as the array has them, from element `first` on.
  template <class C>
  void appended(const msgpack::object& object, std::size_t first, C& change) {
    if (object.via.array.size <= first) return;
    appended_fields(change, [&](const char* name, auto& value) {
      const auto length = where_.size();
      where_.append(".").append(name);
      get(object.via.array.ptr[first++], value);
      where_.resize(length);
      return first < object.via.array.size;
    });
  }

 private:
  static const char* type_name(msgpack::type::object_type type) {
    switch (type) {
      case msgpack::type::NIL: return "nil";
      case msgpack::type::BOOLEAN: return "a boolean";
      case msgpack::type::POSITIVE_INTEGER: return "an integer";
      case msgpack::type::NEGATIVE_INTEGER: return "a negative integer";
      case msgpack::type::FLOAT32:
      case msgpack::type::FLOAT64: return "a float";
      case msgpack::type::STR: return "a string";
      case msgpack::type::BIN: return "bytes";
      case msgpack::type::ARRAY: return "an array";
      case msgpack::type::MAP: return "a map";
      case msgpack::type::EXT: return "an extension";
    }
    return "something else";
  }
  [[noreturn]] void wrong(const msgpack::object& found, const char* expected) const {
    refuse(Error::Code::malformed, where_ + ": found " + type_name(found.type) + ", expected " + expected);
  }
  std::string_view text(const msgpack::object& o) const {
    if (o.type == msgpack::type::STR) return {o.via.str.ptr, o.via.str.size};
    if (o.type == msgpack::type::BIN) return {o.via.bin.ptr, o.via.bin.size};
    wrong(o, "a string");
  }

  void get(const msgpack::object& o, std::uint64_t& value) const {
    if (o.type != msgpack::type::POSITIVE_INTEGER) wrong(o, "an unsigned integer");
    value = o.via.u64;
  }
  void get(const msgpack::object& o, std::uint32_t& value) const {
    std::uint64_t number = 0;
    get(o, number);
    constexpr std::uint64_t most = ~std::uint32_t{0};
    if (number > most)
      refuse(Error::Code::malformed,
             where_ + ": found " + std::to_string(number) + ", expected at most " + std::to_string(most));
    value = static_cast<std::uint32_t>(number);
  }
  void get(const msgpack::object& o, bool& value) const {
    if (o.type != msgpack::type::BOOLEAN) wrong(o, "a boolean");
    value = o.via.boolean;
  }
  void get(const msgpack::object& o, double& value) const {
    switch (o.type) {
      case msgpack::type::FLOAT32:
      case msgpack::type::FLOAT64: value = o.via.f64; break;
      case msgpack::type::POSITIVE_INTEGER: value = static_cast<double>(o.via.u64); break;
      case msgpack::type::NEGATIVE_INTEGER: value = static_cast<double>(o.via.i64); break;
      default: wrong(o, "a number");
    }
    if (!std::isfinite(value)) refuse(Error::Code::malformed, where_ + ": is not a finite number");
  }
  void get(const msgpack::object& o, std::optional<double>& value) const {
    if (o.type == msgpack::type::NIL) {
      value.reset();
    } else {
      get(o, value.emplace());
    }
  }
  void get(const msgpack::object& o, std::string& value) const {
    const auto found = text(o);
    // The answer to a query is as large as a message may be; every other text is for people, and short.
    const auto limit = where_ == "Answer.body" ? limits_.message_bytes : limits_.text_bytes;
    if (found.size() > limit)
      refuse(Error::Code::too_large, where_ + ": " + std::to_string(found.size()) + " bytes, at most " +
                                         std::to_string(limit) + " are allowed");
    value = found;
  }
  template <class Tag>
  void get(const msgpack::object& o, Id<Tag>& value) const {
    auto id = Id<Tag>::parse(text(o));
    if (!id) refuse(Error::Code::malformed, where_ + ": " + id.error());
    value = std::move(*id);
  }
  template <class E>
  requires std::is_enum_v<E>
  void get(const msgpack::object& o, E& value) const {
    std::uint64_t number = 0;
    get(o, number);
    if (number > enum_max<E>)
      refuse(Error::Code::malformed,
             where_ + ": found " + std::to_string(number) + ", expected at most " + std::to_string(enum_max<E>));
    value = static_cast<E>(number);
  }
  void list(const msgpack::object& o, std::size_t limit, auto&& each) const {
    if (o.type != msgpack::type::ARRAY) wrong(o, "an array");
    if (o.via.array.size > limit)
      refuse(Error::Code::too_large, where_ + ": " + std::to_string(o.via.array.size) + " elements, at most " +
                                         std::to_string(limit) + " are allowed");
    for (std::uint32_t i = 0; i < o.via.array.size; ++i) each(o.via.array.ptr[i]);
  }
  void get(const msgpack::object& o, std::vector<TxnId>& values) {
    list(o, limits_.blockers_per_wait, [&](const msgpack::object& element) {
      auto id = TxnId::parse(text(element));
      if (!id) refuse(Error::Code::malformed, where_ + ": " + id.error());
      values.push_back(std::move(*id));
    });
  }
  void get(const msgpack::object& o, std::vector<SiteId>& values) {
    list(o, message_elements(), [&](const msgpack::object& element) {
      values.emplace_back("-");
      get(element, values.back());
    });
  }
  void get(const msgpack::object& o, std::vector<GroupHandle>& values) {
    list(o, limits_.groups_per_wait, [&](const msgpack::object& element) { get(element, values.emplace_back()); });
  }
  void get(const msgpack::object& o, std::vector<EdgeRef>& values) {
    list(o, message_elements(), [&](const msgpack::object& element) {
      EdgeRef edge{0, TxnId("-")};
      array(element, 0, [&](auto&& f) { fields(edge, f); });
      values.push_back(std::move(edge));
    });
  }
  void get(const msgpack::object& o, std::vector<ConfirmEdge>& values) {
    list(o, message_elements(), [&](const msgpack::object& element) {
      ConfirmEdge edge{0, TxnId("-"), 0};
      array(element, 0, [&](auto&& f) { fields(edge, f); });
      values.push_back(std::move(edge));
    });
  }
  void get(const msgpack::object& o, std::vector<Change>& values) {
    std::size_t index = 0;
    if (o.type == msgpack::type::ARRAY)
      values.reserve(std::min<std::size_t>(o.via.array.size, limits_.changes_per_message));
    list(o, limits_.changes_per_message, [&](const msgpack::object& element) {
      const auto length = where_.size();
      where_ += "[" + std::to_string(index++) + "]";
      values.push_back(change(element));
      where_.resize(length);
    });
  }
  Change change(const msgpack::object& o) {
    if (o.type != msgpack::type::ARRAY || o.via.array.size == 0)
      wrong(o, "a change: an array that begins with its code");
    std::uint64_t code = 0;
    get(o.via.array.ptr[0], code);
    const auto read = [&](auto value) -> Change {
      array(o, 1, [&](auto&& f) { fields(value, f); });
      return value;
    };
    switch (code) {
      case change_code<WaitChange>: return wait_change(o);
      case change_code<EndWaitChange>: return read(EndWaitChange{0});
      case change_code<TxnChange>: return read(TxnChange{TxnId("-"), {}});
      case change_code<ForgetTxnChange>: return read(ForgetTxnChange{TxnId("-")});
      case change_code<GroupChange>: return group_change(o);
      case change_code<JoinChange>: return read(JoinChange{{}, TxnId("-")});
      case change_code<LeaveChange>: return read(LeaveChange{{}, TxnId("-")});
      case change_code<EndGroupChange>: return read(EndGroupChange{});
      default: refuse(Error::Code::malformed, where_ + ": found code " + std::to_string(code) + ", expected 0 to 7");
    }
  }

  // The lock service's.
  void get(const msgpack::object& o, std::optional<std::uint64_t>& value) const {
    if (o.type == msgpack::type::NIL) {
      value.reset();
    } else {
      get(o, value.emplace());
    }
  }
  template <Tuple T>
  void get(const msgpack::object& o, std::vector<T>& values) {
    list(o, list_max<T>, [&](const msgpack::object& element) {
      values.push_back(unread<T>());
      array(element, 0, [&](auto&& f) { fields(values.back(), f); });
    });
  }
  void get(const msgpack::object& o, std::vector<std::uint64_t>& values) const {
    list(o, LockWireLimits{}.sessions_per_renew,
         [&](const msgpack::object& element) { get(element, values.emplace_back()); });
  }
  void get(const msgpack::object& o, std::vector<LockServiceRequest>& values) {
    list(o, LockWireLimits{}.requests_per_message,
         [&](const msgpack::object& element) { values.push_back(lock_service_request(element)); });
  }
  LockServiceRequest lock_service_request(const msgpack::object& o) {
    if (o.type != msgpack::type::ARRAY || o.via.array.size == 0)
      wrong(o, "a request: an array that begins with its code");
    std::uint64_t code = 0;
    get(o.via.array.ptr[0], code);
    const auto read = [&]<class R>(R value) -> LockServiceRequest {
      array(o, 1, [&](auto&& f) { fields(value, f); });
      return value;
    };
    const TxnId unread("-");
    switch (code) {
      case request_code<LockRequest>: return read(LockRequest{{}, unread, {}, {}, {}, 1, {}});
      case request_code<UnlockRequest>: return read(UnlockRequest{{}, unread, {}, {}, false});
      case request_code<DowngradeRequest>: return read(DowngradeRequest{{}, unread, {}, {}});
      case request_code<EndRequest>: return read(EndRequest{{}, unread});
      case request_code<CancelRequest>: return read(CancelRequest{});
      case request_code<BeginRequest>: return read(BeginRequest{{}, unread, {}, 0, 0, {}, {}});
      case request_code<ReclaimRequest>: return read(ReclaimRequest{{}, unread, {}, {}});
      default: refuse(Error::Code::malformed, where_ + ": found code " + std::to_string(code) + ", expected 0 to 6");
    }
  }

  Change wait_change(const msgpack::object& o) {
    WaitChange change{0, Wait{TxnId("-"), {}, {}, {}, {}, {}}};
    BlockerLists lists;
    std::uint64_t age_us = 0;
    std::uint32_t known = 1;
    array(o, 1, [&](auto&& f) { fields(change, lists, age_us, f); });
    fields(change, lists, age_us, [&](const char*, const auto&) { ++known; });
    appended(o, known, change);
    check_need(change.wait, lists);
    auto& blockers = change.wait.blockers;
    if (lists.hard.size() + lists.soft.size() + lists.dotted.size() > limits_.blockers_per_wait)
      refuse(Error::Code::too_large, where_ + ": more than " + std::to_string(limits_.blockers_per_wait) + " blockers");
    const auto append = [&](std::vector<TxnId>& from, Kind kind) {
      for (auto& txn : from) blockers.push_back({std::move(txn), kind});
    };
    append(lists.hard, Kind::hard), append(lists.soft, Kind::soft), append(lists.dotted, Kind::dotted);
    change.wait.age = std::chrono::microseconds(static_cast<std::int64_t>(std::min(age_us, std::uint64_t{1} << 60)));
    return change;
  }
  Change group_change(const msgpack::object& o) {
    GroupChange change{};
    std::size_t known = 1;
    array(o, 1, [&](auto&& f) { fields(change, f); });
    fields(change, [&](const char*, const auto&) { ++known; });
    appended(o, known, change);
    if (change.kind == Kind::dotted)
      refuse(Error::Code::malformed, where_ + ".kind: a group is hard (0) or soft (1), never dotted (2)");
    return change;
  }
  void check_need(const Wait& wait, const BlockerLists& lists) const {
    if (wait.need == 0) return;
    const auto wrong = [&](const std::string& what) { refuse(Error::Code::malformed, where_ + ".need: " + what); };
    const auto named = lists.hard.size() + lists.soft.size() + lists.dotted.size();
    if (!wait.groups.empty() || !lists.soft.empty())
      wrong(std::to_string(wait.need) + ", but only a wait for all (0) names groups or soft blockers");
    if (wait.need > named)
      wrong(std::to_string(wait.need) + " of " + std::to_string(named) + " blockers can't be needed");
  }
  /// How many edges fit into a message at all.
  [[nodiscard]] std::size_t message_elements() const { return limits_.message_bytes / 4; }

  const Limits& limits_;
  std::string where_;
};

template <class M>
M read(const msgpack::object& root, M message, const char* name, const Limits& limits) {
  Reader reader(limits, name);
  reader.array(root, 2, [&](auto&& f) { fields(message, f); });
  if constexpr (requires { appended_fields(message, [](const char*, auto&) {}); }) {
    std::size_t known = 2;
    fields(message, [&](const char*, const auto&) { ++known; });
    if (root.via.array.size > known) reader.array(root, known, [&](auto&& f) { appended_fields(message, f); });
  }
  return message;
}

[[nodiscard]] FromPeer read_from_peer(const msgpack::object& root, const Limits& limits);

/// The message as msgpack objects; strings still point into `bytes`.
inline msgpack::object_handle unpack(std::string_view bytes, const Limits& limits) {
  if (bytes.size() > limits.message_bytes)
    refuse(Error::Code::too_large, "message of " + std::to_string(bytes.size()) + " bytes, at most " +
                                       std::to_string(limits.message_bytes) + " are allowed");
  // An array can't have more elements than the message has bytes: `dd ff ff ff ff` must not ask for 96 GB.
  const msgpack::unpack_limit bound(bytes.size(), 0, bytes.size(), bytes.size(), 0, 8);
  std::size_t offset = 0;
  try {
    auto handle = msgpack::unpack(
        bytes.data(), bytes.size(), offset, [](msgpack::type::object_type, std::size_t, void*) { return true; },
        nullptr, bound);
    if (offset != bytes.size())
      refuse(Error::Code::malformed, "message: " + std::to_string(bytes.size() - offset) + " bytes after its end");
    return handle;
  } catch (const msgpack::unpack_error& e) {
    refuse(Error::Code::malformed, std::string("message: not msgpack within the limits (") + e.what() + ")");
  }
}

/// Checks the frame and returns the message's type code.
inline std::uint64_t type_of(const msgpack::object& root) {
  if (root.type != msgpack::type::ARRAY || root.via.array.size < 2 ||
      root.via.array.ptr[0].type != msgpack::type::POSITIVE_INTEGER)
    refuse(Error::Code::malformed, "message: expected an array [version, type, …]");
  if (root.via.array.ptr[0].via.u64 != version)
    refuse(Error::Code::wrong_version, "protocol version " + std::to_string(root.via.array.ptr[0].via.u64) +
                                           ", this side speaks version " + std::to_string(version));
  if (root.via.array.ptr[1].type != msgpack::type::POSITIVE_INTEGER)
    refuse(Error::Code::malformed, "message: expected a type code as second element");
  return root.via.array.ptr[1].via.u64;
}

template <class Read>
auto decode(std::string_view bytes, const Limits& limits, Read read)
    -> tl::expected<decltype(read({}, limits)), Error> {
  try {
    const auto handle = unpack(bytes, limits);
    return read(handle.get(), limits);
  } catch (const Refused& refused) {
    return tl::unexpected(refused.error);
  } catch (const std::exception& e) {  // msgpack's own exceptions, bad_alloc
    return tl::unexpected(Error{Error::Code::malformed, std::string("message: ") + e.what()});
  }
}

}  // namespace gordian::wire
