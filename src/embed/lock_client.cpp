// The lock client's public face over its host.
#include <algorithm>
#include <gordian/lock_client.hpp>

#include "embed/client_host.hpp"

namespace gordian {
namespace {

using Scheme = wire::LockRequest::Scheme;
using Core = lease::ClientCore;
using Void = tl::expected<void, LockError>;
using Many = tl::expected<std::vector<Grant>, LockError>;

Void nothing_of(const Many& result) {
  if (!result) return tl::unexpected(result.error());
  return {};
}
tl::expected<Grant, LockError> one_of(Many result) {
  if (!result) return tl::unexpected(std::move(result.error()));
  return std::move(result->back());
}

}  // namespace

// --- Transactions ---

class LockTransaction::Impl {
 public:
  Impl(std::shared_ptr<ClientHost> on_host, lease::TxnKey with_key, TxnId with_id, double started)
      : host(std::move(on_host)), key(with_key), id(std::move(with_id)), start(started) {}
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() { host->drop(key); }

  Many lock(std::span<const LockItem> items, Scheme scheme, std::size_t need, const AcquireOptions& options) {
    return host->call([&](Core& core, Micros now) { return core.lock(key, items, {scheme, need, options}, now); });
  }

  const std::shared_ptr<ClientHost> host;
  const lease::TxnKey key;
  const TxnId id;
  const double start;
};

LockTransaction::LockTransaction(std::shared_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
LockTransaction::LockTransaction(LockTransaction&&) noexcept = default;
LockTransaction& LockTransaction::operator=(LockTransaction&&) noexcept = default;
LockTransaction::~LockTransaction() = default;

tl::expected<Grant, LockError> LockTransaction::lock(std::string_view name, Mode mode, const AcquireOptions& options) {
  const LockItem item{name, mode};
  return one_of(impl_->lock({&item, 1}, Scheme::all, 1, options));
}
Many LockTransaction::lock_path(std::string_view path, Mode mode, const AcquireOptions& options) {
  const LockItem item{path, mode};
  return impl_->lock({&item, 1}, Scheme::path, 1, options);
}
Many LockTransaction::lock_all(std::span<const LockItem> items, const AcquireOptions& options) {
  return impl_->lock(items, Scheme::all, 1, options);
}
Many LockTransaction::lock_some(std::span<const LockItem> items, std::size_t need, const AcquireOptions& options) {
  return impl_->lock(items, Scheme::some, need, options);
}

Void LockTransaction::unlock(const Grant& grant) {
  return nothing_of(impl_->host->call([&](Core& core, Micros now) { return core.unlock(impl_->key, grant, now); }));
}
Void LockTransaction::downgrade(const Grant& grant, Mode mode) {
  return nothing_of(
      impl_->host->call([&](Core& core, Micros now) { return core.downgrade(impl_->key, grant, mode, now); }));
}

RequestTicket LockTransaction::lock_async(std::string_view name, Mode mode, const AcquireOptions& options, Done done) {
  const LockItem item{name, mode};
  const auto call = impl_->host->call_async(
      [&](Core& core, Micros now) {
        return core.lock(impl_->key, {&item, 1}, {Scheme::all, 1, options}, now);
      },
      [done = std::move(done)](Many result) { done(one_of(std::move(result))); });
  return static_cast<RequestTicket>(call);
}
void LockTransaction::unlock_async(const Grant& grant, Ended done) {
  impl_->host->call_async([&](Core& core, Micros now) { return core.unlock(impl_->key, grant, now); },
                          [done = std::move(done)](const Many& result) { done(nothing_of(result)); });
}

void LockTransaction::cancel(RequestTicket ticket) {
  impl_->host->tell([&](Core& core, Micros now) { core.cancel(static_cast<lease::CallKey>(ticket), now); });
}
void LockTransaction::cancel() {
  impl_->host->tell([&](Core& core, Micros now) { core.cancel_all(impl_->key, now); });
}
Void LockTransaction::end() {
  return nothing_of(impl_->host->call([&](Core& core, Micros now) { return core.end(impl_->key, now); }));
}

const TxnId& LockTransaction::id() const { return impl_->id; }
double LockTransaction::start() const { return impl_->start; }
std::optional<LockError> LockTransaction::error() const {
  return impl_->host->look([&](const Core& core, Micros) { return core.error(impl_->key); });
}
std::vector<Grant> LockTransaction::held() const {
  return impl_->host->look([&](const Core& core, Micros) { return core.held(impl_->key); });
}

// --- Sessions ---

class LockSession::Impl {
 public:
  Impl(std::shared_ptr<ClientHost> on_host, lease::SessionKey with_key) : host(std::move(on_host)), key(with_key) {}
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() { host->drop(key); }

  const std::shared_ptr<ClientHost> host;
  const lease::SessionKey key;
};

LockSession::LockSession(std::shared_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
LockSession::LockSession(LockSession&&) noexcept = default;
LockSession& LockSession::operator=(LockSession&&) noexcept = default;
LockSession::~LockSession() = default;

tl::expected<LockTransaction, LockError> LockSession::begin(ClientTxnOptions options) {
  if (!options.start) options.start = static_cast<double>(net::unix_now_us());
  const double start = *options.start;
  const auto key = impl_->host->begin(impl_->key, std::move(options));
  if (!key) return tl::unexpected(key.error());
  auto id = impl_->host->look([&](const Core& core, Micros) { return core.id(*key); });
  return LockTransaction(std::make_shared<LockTransaction::Impl>(impl_->host, *key, std::move(id), start));
}

std::chrono::microseconds LockSession::remaining() const {
  return std::chrono::microseconds(
      impl_->host->look([&](const Core& core, Micros now) { return core.remaining_us(impl_->key, now); }));
}
std::optional<LockError> LockSession::lost() const {
  return impl_->host->look([&](const Core& core, Micros) { return core.lost(impl_->key); });
}
Void LockSession::close() {
  return nothing_of(impl_->host->call([&](Core& core, Micros now) { return core.close(impl_->key, now); }));
}

// --- The client ---

class LockClient::Impl {
 public:
  explicit Impl(std::shared_ptr<ClientHost> on_host, std::vector<AgentAddress> at)
      : host(std::move(on_host)), agents(std::move(at)) {}
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() { host->stop(); }

  const std::shared_ptr<ClientHost> host;
  const std::vector<AgentAddress> agents;
};

tl::expected<LockClient, LockError> LockClient::start(LockClientOptions options) {
  auto host = ClientHost::start(options);
  if (!host) return tl::unexpected(host.error());
  return LockClient(std::make_shared<Impl>(std::move(*host), std::move(options.agents)));
}

LockClient::LockClient(std::shared_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
LockClient::LockClient(LockClient&&) noexcept = default;
LockClient& LockClient::operator=(LockClient&&) noexcept = default;
LockClient::~LockClient() = default;

tl::expected<LockSession, LockError> LockClient::open(SessionOptions options) {
  const auto key = impl_->host->open(std::move(options));
  if (!key) return tl::unexpected(key.error());
  return LockSession(std::make_shared<LockSession::Impl>(impl_->host, *key));
}

const SiteId& LockClient::site_of(std::string_view name) const {
  return impl_->agents[rendezvous(impl_->agents, name)].site;
}
LockClientStatus LockClient::status() const {
  return impl_->host->look([](const Core& core, Micros) { return core.status(); });
}

}  // namespace gordian
