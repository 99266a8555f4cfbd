// Errors of the lock client, and what a reply's status means as one. Included by the lease room only.
#pragma once

#include <gordian/lock_table.hpp>

#include "wire/lock_messages.hpp"

namespace gordian::lease {

inline LockError make_error(LockError::Code code, std::string message) { return {code, std::move(message), {}}; }

/// Not of `done` and `waiting`.
inline LockError::Code code_of(wire::LockStatus status) {
  using Code = LockError::Code;
  switch (status) {
    case wire::LockStatus::deadlock: return Code::deadlock;
    case wire::LockStatus::timeout: return Code::timeout;
    case wire::LockStatus::cancelled: return Code::cancelled;
    case wire::LockStatus::lease_lost: return Code::lease_lost;
    case wire::LockStatus::refused: return Code::refused;
    case wire::LockStatus::wounded: return Code::wounded;
    case wire::LockStatus::out_of_order: return Code::out_of_order;
    case wire::LockStatus::limit: return Code::limit;
    case wire::LockStatus::not_held: return Code::not_held;
    case wire::LockStatus::forced: return Code::forced;
    case wire::LockStatus::invalid:
    case wire::LockStatus::done:
    case wire::LockStatus::waiting: break;
  }
  return Code::invalid;
}

/// After these the whole transaction is over at the agent.
inline bool ends_transaction(LockError::Code code) {
  using Code = LockError::Code;
  return code == Code::deadlock || code == Code::lease_lost || code == Code::wounded || code == Code::forced;
}

inline LockError error_of(const wire::LockReply& reply) { return {code_of(reply.status), reply.text, reply.incident}; }

}  // namespace gordian::lease
