#include "common.hpp"

#include <algorithm>
#include <iostream>

namespace gordian::bench {

double us_since(Clock::time_point start, Clock::time_point end) {
  return std::chrono::duration<double, std::micro>(end - start).count();
}

void fail(const std::string& what) { throw std::runtime_error(what); }

double percentile(std::vector<double> values, double p) {
  const auto at = values.begin() + static_cast<std::ptrdiff_t>(p / 100 * static_cast<double>(values.size() - 1) + 0.5);
  std::nth_element(values.begin(), at, values.end());
  return *at;
}

void run_echo(const std::string& endpoint) {
  zmq::context_t context;
  zmq::socket_t router(context, zmq::socket_type::router);
  router.bind(endpoint);
  std::cout << router.get(zmq::sockopt::last_endpoint) << std::endl;
  for (;;) {
    zmq::message_t id;
    zmq::message_t body;
    if (!router.recv(id) || !router.recv(body)) continue;
    router.send(id, zmq::send_flags::sndmore);
    router.send(body, zmq::send_flags::none);
  }
}

Dealer::Dealer(const std::string& endpoint) : socket_(context_, zmq::socket_type::dealer) {
  socket_.set(zmq::sockopt::linger, 0);
  socket_.set(zmq::sockopt::rcvtimeo, 10'000);
  socket_.connect(endpoint);
}

zmq::message_t Dealer::ask(const std::string& message) {
  zmq::message_t answer;
  socket_.send(zmq::buffer(message), zmq::send_flags::none);
  if (!socket_.recv(answer)) fail("no answer within 10 s");
  return answer;
}

}  // namespace gordian::bench
