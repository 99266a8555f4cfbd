#include "net/sockets.hpp"

#include <zmq.hpp>

namespace gordian::net {

struct Context {
  zmq::context_t zmq{1};
};

std::shared_ptr<Context> make_context() { return std::make_shared<Context>(); }

namespace {

// How long a closing socket tries to deliver what is queued.
constexpr int linger_ms = 200;
// A message over the limit gets an answer; one this many times over costs its sender the connection.
constexpr std::int64_t hard_limit_factor = 4;
constexpr int heartbeat_ms = 1000, heartbeat_timeout_ms = 3000;
constexpr int reconnect_ms = 50, reconnect_max_ms = 1000;

void set_common(zmq::socket_t& socket, int queue, std::int64_t message_bytes) {
  socket.set(zmq::sockopt::linger, linger_ms);
  socket.set(zmq::sockopt::sndhwm, queue);
  socket.set(zmq::sockopt::maxmsgsize, message_bytes);
  socket.set(zmq::sockopt::heartbeat_ivl, heartbeat_ms);
  socket.set(zmq::sockopt::heartbeat_timeout, heartbeat_timeout_ms);
}

/// The first frame of the message is read; takes the others away. True if there were any.
bool drop_further_frames(zmq::socket_t& socket, const zmq::message_t& first) {
  if (!first.more()) return false;
  zmq::message_t frame;
  do {
    if (!socket.recv(frame, zmq::recv_flags::dontwait)) break;
  } while (frame.more());
  return true;
}

Frame frame_of(zmq::socket_t& socket, const zmq::message_t& body) {
  if (drop_further_frames(socket, body)) return {{}, true};
  return {{static_cast<const char*>(body.data()), body.size()}, false};
}

}  // namespace

class DealerSocket::Impl {
 public:
  explicit Impl(const Options& options)
      : context(options.context ? options.context : make_context()), socket(context->zmq, zmq::socket_type::dealer) {
    set_common(socket, options.send_queue, static_cast<std::int64_t>(options.message_bytes));
    socket.set(zmq::sockopt::routing_id, options.routing_id);
    socket.set(zmq::sockopt::immediate, true);  // nothing is queued for a service that is not there
    socket.set(zmq::sockopt::reconnect_ivl, reconnect_ms);
    socket.set(zmq::sockopt::reconnect_ivl_max, reconnect_max_ms);
    socket.connect(options.endpoint);
  }
  std::shared_ptr<Context> context;
  zmq::socket_t socket;
};

tl::expected<DealerSocket, std::string> DealerSocket::connect(const Options& options) {
  try {
    return DealerSocket(std::make_unique<Impl>(options));
  } catch (const zmq::error_t& e) {
    return tl::unexpected("endpoint '" + options.endpoint + "': " + e.what() +
                          "; expected something like tcp://HOST:PORT or ipc:///PATH");
  }
}

bool DealerSocket::send(std::string_view bytes) {
  return impl_->socket.send(zmq::buffer(bytes), zmq::send_flags::dontwait).has_value();
}

bool DealerSocket::writable() const { return (impl_->socket.get(zmq::sockopt::events) & ZMQ_POLLOUT) != 0; }

bool DealerSocket::receive(const std::function<void(const Frame&)>& f) {
  zmq::message_t body;
  if (!impl_->socket.recv(body, zmq::recv_flags::dontwait)) return false;
  f(frame_of(impl_->socket, body));
  return true;
}

void* DealerSocket::handle() const { return impl_->socket.handle(); }
int DealerSocket::descriptor() const { return impl_->socket.get(zmq::sockopt::fd); }

DealerSocket::DealerSocket(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
DealerSocket::DealerSocket(DealerSocket&&) noexcept = default;
DealerSocket& DealerSocket::operator=(DealerSocket&&) noexcept = default;
DealerSocket::~DealerSocket() = default;

class RouterSocket::Impl {
 public:
  explicit Impl(const Options& options) : socket(context, zmq::socket_type::router) {
    set_common(socket, options.queue, static_cast<std::int64_t>(options.message_bytes) * hard_limit_factor);
    socket.set(zmq::sockopt::rcvhwm, options.queue);
    socket.set(zmq::sockopt::router_handover, true);
    socket.set(zmq::sockopt::router_mandatory, true);
    socket.bind(options.listen);
  }
  zmq::context_t context{1};
  zmq::socket_t socket;
};

tl::expected<RouterSocket, std::string> RouterSocket::bind(const Options& options, std::string_view example) {
  try {
    return RouterSocket(std::make_unique<Impl>(options));
  } catch (const zmq::error_t& e) {
    return tl::unexpected("can't listen on '" + options.listen + "': " + e.what() +
                          "; expected a free endpoint such as " + std::string(example) + " or ipc:///PATH");
  }
}

bool RouterSocket::send(const std::string& peer, std::string_view bytes) {
  try {
    if (!impl_->socket.send(zmq::buffer(peer), zmq::send_flags::dontwait | zmq::send_flags::sndmore)) return false;
    return impl_->socket.send(zmq::buffer(bytes), zmq::send_flags::dontwait).has_value();
  } catch (const zmq::error_t& e) {
    if (e.num() != EHOSTUNREACH) throw;
    return false;
  }
}

bool RouterSocket::receive(const std::function<void(const std::string& peer, const Frame&)>& f) {
  zmq::message_t id, body;
  if (!impl_->socket.recv(id, zmq::recv_flags::dontwait)) return false;
  if (!id.more() || !impl_->socket.recv(body)) return true;
  f(id.to_string(), frame_of(impl_->socket, body));
  return true;
}

std::string RouterSocket::endpoint() const { return impl_->socket.get(zmq::sockopt::last_endpoint); }
void* RouterSocket::handle() const { return impl_->socket.handle(); }

RouterSocket::RouterSocket(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
RouterSocket::RouterSocket(RouterSocket&&) noexcept = default;
RouterSocket& RouterSocket::operator=(RouterSocket&&) noexcept = default;
RouterSocket::~RouterSocket() = default;

}  // namespace gordian::net
