// The lock protocol: docs/lock-protocol.md.
#include "wire/codec.hpp"
#include "wire/packing.hpp"

namespace gordian::wire {
namespace {

LockServerInput read_lock_request(const msgpack::object& root, const Limits& limits) {
  const auto type = type_of(root);
  switch (type) {
    case type_code<OpenSession>: return read(root, OpenSession{}, "OpenSession", limits);
    case type_code<Renew>: return read(root, Renew{}, "Renew", limits);
    case type_code<CloseSession>: return read(root, CloseSession{}, "CloseSession", limits);
    case type_code<Requests>: return read(root, Requests{}, "Requests", limits);
    case type_code<Query>: return read(root, Query{}, "Query", limits);
    default:
      refuse(Error::Code::malformed, "message: type " + std::to_string(type) + " is none that a lock agent takes");
  }
}

LockClientInput read_lock_reply(const msgpack::object& root, const Limits& limits) {
  const auto type = type_of(root);
  switch (type) {
    case type_code<SessionOpened>: return read(root, SessionOpened{}, "SessionOpened", limits);
    case type_code<Renewed>: return read(root, Renewed{}, "Renewed", limits);
    case type_code<SessionEnded>: return read(root, SessionEnded{}, "SessionEnded", limits);
    case type_code<Replies>: return read(root, Replies{}, "Replies", limits);
    case type_code<TxnAborted>: return read(root, TxnAborted{0, TxnId("-"), {}, {}, {}}, "TxnAborted", limits);
    case type_code<Error>: return read(root, Error{}, "Error", limits);
    case type_code<Answer>: return read(root, Answer{}, "Answer", limits);
    default:
      refuse(Error::Code::malformed, "message: type " + std::to_string(type) + " is none that a lock client takes");
  }
}

}  // namespace

std::string encode(const FromLockClient& message) {
  Writer writer;
  std::visit([&](const auto& m) { writer.message(m); }, message);
  return writer.take();
}

std::string encode(const LockClientInput& message) {
  Writer writer;
  if (const auto* answer = std::get_if<Answer>(&message)) {
    writer.message(*answer);
  } else {
    std::visit([&](const auto& m) { writer.message(m); }, std::get<ToLockClient>(message));
  }
  return writer.take();
}

tl::expected<LockServerInput, Error> decode_lock_request(std::string_view bytes, const Limits& limits) {
  return decode(bytes, limits, read_lock_request);
}

tl::expected<LockClientInput, Error> decode_lock_reply(std::string_view bytes, const Limits& limits) {
  return decode(bytes, limits, read_lock_reply);
}

}  // namespace gordian::wire
