// The agent protocol: docs/protocol.md.
#include "wire/codec.hpp"

#include "wire/packing.hpp"

namespace gordian::wire {
namespace {

Request read_request(const msgpack::object& root, const Limits& limits) {
  const auto type = type_of(root);
  switch (type) {
    case type_code<Hello>: return read(root, Hello{SiteId("-"), 0, {}, 0, true, {}, {}, {}}, "Hello", limits);
    case type_code<Heartbeat>: return read(root, Heartbeat{}, "Heartbeat", limits);
    case type_code<Delta>: return read(root, Delta{}, "Delta", limits);
    case type_code<Snapshot>: return read(root, Snapshot{}, "Snapshot", limits);
    case type_code<Confirmed>: return read(root, Confirmed{}, "Confirmed", limits);
    case type_code<Aborted>: return read(root, Aborted{}, "Aborted", limits);
    case type_code<Goodbye>: return read(root, Goodbye{}, "Goodbye", limits);
    case type_code<Query>: return read(root, Query{}, "Query", limits);
    default:
      if (type >= type_code<PeerHello> && type <= type_code<Release>) return read_from_peer(root, limits);
      refuse(Error::Code::malformed, "message: type " + std::to_string(type) + " is none that a coordinator takes");
  }
}

Reply read_reply(const msgpack::object& root, const Limits& limits) {
  const auto type = type_of(root);
  switch (type) {
    case type_code<Welcome>: return read(root, Welcome{}, "Welcome", limits);
    case type_code<HeartbeatAck>: return read(root, HeartbeatAck{}, "HeartbeatAck", limits);
    case type_code<Resync>: return read(root, Resync{}, "Resync", limits);
    case type_code<Confirm>: return read(root, Confirm{}, "Confirm", limits);
    case type_code<Abort>:
      return read(root, Abort{0, 0, 0, {}, TxnId("-"), 0, Abort::Role::waiting, 0, 0, {}}, "Abort", limits);
    case type_code<Reorder>: return read(root, Reorder{0, 0, 0, {}, 0, TxnId("-"), 0, 0, {}}, "Reorder", limits);
    case type_code<Error>: return read(root, Error{}, "Error", limits);
    case type_code<Answer>: return read(root, Answer{}, "Answer", limits);
    default: refuse(Error::Code::malformed, "message: type " + std::to_string(type) + " is none that an agent takes");
  }
}

}  // namespace

std::string encode(const Request& message) {
  Writer writer;
  if (const auto* query = std::get_if<Query>(&message)) {
    writer.message(*query);
  } else if (const auto* peer = std::get_if<FromPeer>(&message)) {
    return encode(*peer);
  } else {
    std::visit([&](const auto& m) { writer.message(m); }, std::get<FromAgent>(message));
  }
  return writer.take();
}

std::string encode(const Reply& message) {
  Writer writer;
  if (const auto* answer = std::get_if<Answer>(&message)) {
    writer.message(*answer);
  } else {
    std::visit([&](const auto& m) { writer.message(m); }, std::get<ToAgent>(message));
  }
  return writer.take();
}

tl::expected<Request, Error> decode_request(std::string_view bytes, const Limits& limits) {
  return decode(bytes, limits, read_request);
}

tl::expected<Reply, Error> decode_reply(std::string_view bytes, const Limits& limits) {
  return decode(bytes, limits, read_reply);
}

std::size_t size_bound(const Change& change) {
  constexpr std::size_t per_field = 9;  // the longest number, or the header of a string
  if (const auto* wait = std::get_if<WaitChange>(&change)) {
    const auto& w = wait->wait;
    std::size_t bytes = 13 * per_field + w.waiter.view().size() + w.resource.size() + w.mode.size() + w.detail.size();
    for (const auto& b : w.blockers) bytes += per_field + b.txn.view().size();
    return bytes + per_field * w.groups.size();
  }
  if (const auto* group = std::get_if<GroupChange>(&change)) {
    std::size_t bytes = 6 * per_field + group->resource.size() + group->mode.size();
    for (const auto& member : group->members) bytes += per_field + member.view().size();
    return bytes;
  }
  if (const auto* join = std::get_if<JoinChange>(&change)) return 4 * per_field + join->txn.view().size();
  if (const auto* leave = std::get_if<LeaveChange>(&change)) return 4 * per_field + leave->txn.view().size();
  if (const auto* txn = std::get_if<TxnChange>(&change))
    return 10 * per_field + txn->txn.view().size() + txn->info.label.size();
  if (const auto* forget = std::get_if<ForgetTxnChange>(&change)) return 3 * per_field + forget->txn.view().size();
  return 3 * per_field;
}

}  // namespace gordian::wire
