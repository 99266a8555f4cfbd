#include "net/query.hpp"

#include <zmq.hpp>

#include "net/clock.hpp"
#include "wire/codec.hpp"

namespace gordian::net {
namespace {

// An answer may hold the whole graph.
constexpr std::size_t answer_bytes = 256u << 20;

QueryError unreachable(const std::string& endpoint, std::chrono::milliseconds timeout, const Asked& asked) {
  return {QueryError::Code::unreachable, "no answer from the " + asked.service + " at " + endpoint + " within " +
                                             std::to_string(timeout.count()) + " ms: is " + asked.program +
                                             " running there? (" + asked.option + ")"};
}

}  // namespace

tl::expected<std::string, QueryError> query(const std::string& endpoint, std::string_view what,
                                            std::string_view argument, std::chrono::milliseconds timeout,
                                            const Asked& asked) {
  try {
    zmq::context_t context(1);
    zmq::socket_t socket(context, zmq::socket_type::dealer);
    socket.set(zmq::sockopt::linger, 0);
    socket.set(zmq::sockopt::maxmsgsize, static_cast<std::int64_t>(answer_bytes));
    socket.connect(endpoint);
    const auto bytes = wire::encode(wire::Request(wire::Query{1, std::string(what), std::string(argument)}));
    socket.send(zmq::buffer(bytes), zmq::send_flags::none);
    const auto deadline_us = steady_now_us() + std::chrono::microseconds(timeout).count();
    for (;;) {
      const auto left_us = deadline_us - steady_now_us();
      if (left_us <= 0) return tl::unexpected(unreachable(endpoint, timeout, asked));
      zmq::pollitem_t item{socket.handle(), 0, ZMQ_POLLIN, 0};
      if (zmq::poll(&item, 1, std::chrono::milliseconds((left_us + 999) / 1000)) == 0) continue;
      zmq::message_t message;
      if (!socket.recv(message, zmq::recv_flags::dontwait)) continue;
      wire::Limits limits;
      limits.message_bytes = answer_bytes;
      auto reply = wire::decode_reply({static_cast<const char*>(message.data()), message.size()}, limits);
      if (!reply)
        return tl::unexpected(QueryError{QueryError::Code::refused, "answer not understood: " + reply.error().text});
      if (const auto* error = std::get_if<wire::ToAgent>(&*reply); error != nullptr) {
        const auto* refusal = std::get_if<wire::Error>(error);
        return tl::unexpected(
            QueryError{QueryError::Code::refused, refusal != nullptr ? refusal->text : "unexpected answer"});
      }
      auto& answer = std::get<wire::Answer>(*reply);
      if (!answer.ok) return tl::unexpected(QueryError{QueryError::Code::refused, answer.body});
      return std::move(answer.body);
    }
  } catch (const zmq::error_t& e) {
    return tl::unexpected(QueryError{
        QueryError::Code::bad_endpoint,
        asked.service + " endpoint '" + endpoint + "': " + e.what() + "; expected something like tcp://HOST:PORT"});
  }
}

}  // namespace gordian::net
