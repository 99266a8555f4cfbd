// The messages between coordinators: docs/protocol.md, "Between coordinators".
#include "wire/codec.hpp"
#include "wire/packing.hpp"

namespace gordian::wire {
namespace {

template <class M>
PeerMessage read_message(const msgpack::object& root, M message, const char* name, const Limits& limits) {
  constexpr std::size_t envelope = 5;  // version, type, member, instance, map version
  Reader(limits, name).array(root, envelope, [&](auto&& f) { fields(message, f); });
  return message;
}

PeerMessage read_peer_message(const msgpack::object& root, const Limits& limits) {
  const TxnId unread("-");
  const auto type = type_of(root);
  switch (type) {
    case type_code<PeerHello>: return read_message(root, PeerHello{}, "PeerHello", limits);
    case type_code<Probe>: return read_message(root, Probe{0, false, unread, {}}, "Probe", limits);
    case type_code<Suspect>: return read_message(root, Suspect{}, "Suspect", limits);
    case type_code<Poke>: return read_message(root, Poke{unread}, "Poke", limits);
    case type_code<Gather>: return read_message(root, Gather{}, "Gather", limits);
    case type_code<Gathered>: return read_message(root, Gathered{}, "Gathered", limits);
    case type_code<Reserve>: return read_message(root, Reserve{}, "Reserve", limits);
    case type_code<Reserved>: return read_message(root, Reserved{}, "Reserved", limits);
    case type_code<FreeBranches>:
      return read_message(root, FreeBranches{0, unread, {}, {}, {}}, "FreeBranches", limits);
    case type_code<BranchesFree>: return read_message(root, BranchesFree{0, unread}, "BranchesFree", limits);
    case type_code<Release>: return read_message(root, Release{}, "Release", limits);
    default: refuse(Error::Code::malformed, "message: type " + std::to_string(type) + " is none between coordinators");
  }
}

}  // namespace

FromPeer read_from_peer(const msgpack::object& root, const Limits& limits) {
  FromPeer read{{}, 0, 0, {}};
  Reader(limits, "FromPeer").array(root, 2, [&](auto&& f) { envelope_fields(read, f); });
  read.message = read_peer_message(root, limits);
  return read;
}

std::string encode(const FromPeer& message) {
  Writer writer;
  std::visit([&](const auto& m) { writer.message(message, m); }, message.message);
  return writer.take();
}

}  // namespace gordian::wire
