// What must hold of every shard while nobody is in it; for tests.
#include "lock/table.hpp"

namespace gordian::lock {

/// Looks at one shard; `wrong` is the first contradiction.
class Checker {
 public:
  Checker(const Shard& shard, const ModeMatrix& modes) : shard_(shard), modes_(modes) {}

  std::string check() {
    std::size_t heads = 0;
    shard_.for_each_head([&](const Head& head) {
      ++heads;
      check_head(head);
    });
    expect(heads == shard_.live_ && heads == shard_.heads_.in_use(), "counts of heads differ");
    expect(shard_.outbox.empty() && !shard_.delivering, "events were left undelivered");
    expect(shard_.requests_.in_use() == requests_, "requests leaked");
    expect(shard_.deadlines.size() == deadlines_, "deadlines of requests that are gone");
    return wrong_;
  }

 private:
  void expect(bool right, const std::string& what) {
    if (!right && wrong_.empty()) wrong_ = what;
  }

  void check_head(const Head& head) {
    const std::string where = " at " + quoted(head.key());
    expect(shard_.find(head.tag, head.key()) == &head, "a head is not found by its name" + where);
    expect(head.holder != nullptr || head.contention != nullptr, "a head of nobody" + where);
    if (head.contention == nullptr) return;
    const Contention& contention = *head.contention;
    ModeCounts held;
    if (head.holder != nullptr) held.add(head.mode);
    for (const Request* hold = contention.holders.front; hold != nullptr; hold = hold->next) {
      held.add(hold->mode);
      expect(hold->count > 0 && hold->head == &head && hold->state == Request::State::holding,
             "a holder's record is wrong" + where);
      ++requests_;
    }
    expect(held.count == contention.held.count && held.present == contention.held.present,
           "counts of holders differ" + where);
    expect(held.present != 0, "nobody holds what others wait for" + where);
    check_exclusion(held, where);
    check_queue(head, where);
  }

  void check_exclusion(const ModeCounts& held, const std::string& where) {
    for (std::size_t i = 0; i < modes_.size(); ++i) {
      const Mode mode = static_cast<Mode>(i);
      if (held.count[i] == 0) continue;
      // Of an asymmetric matrix one direction is enough: the other one came first.
      for (std::size_t k = 0; k < modes_.size(); ++k) {
        const Mode other = static_cast<Mode>(k);
        const bool both = held.count[k] > (i == k ? 1U : 0U);
        expect(!both || !has(modes_.conflicts(mode), other) || !has(modes_.conflicts(other), mode),
               "conflicting modes are held together" + where);
      }
    }
  }

  void check_queue(const Head& head, const std::string& where) {
    const Contention& contention = *head.contention;
    std::uint32_t queued = 0;
    for (const Request* request = contention.converting.front; request != nullptr; request = request->next, ++queued) {
      expect(request->state == Request::State::converting && request->head == &head,
             "a conversion's record is wrong" + where);
      const Mode own = request->hold != nullptr ? request->hold->mode : head.mode;
      expect((modes_.conflicts(request->mode) & contention.held.without(own)) != 0,
             "a conversion waits for nobody" + where);
      count(*request);
    }
    for (std::size_t i = 0; i < max_modes; ++i) {
      const RequestList& list = contention.waiting[i];
      expect(list.empty() == !has(contention.waiting_modes, static_cast<Mode>(i)),
             "the set of waiting modes is wrong" + where);
      if (!list.empty()) expect(!shard_.has_turn(head, static_cast<Mode>(i)), "a waiter waits for nobody" + where);
      std::uint64_t last = 0;
      for (const Request* request = list.front; request != nullptr; request = request->next, ++queued) {
        expect(request->place > last && request->head == &head && request->state == Request::State::waiting,
               "a waiter's record is wrong" + where);
        last = request->place;
        count(*request);
      }
    }
    expect(queued == contention.queued, "the length of the queue is wrong" + where);
    expect(queued > 0 || !contention.holders.empty(), "a contention of nobody" + where);
  }

  void count(const Request& request) {
    ++requests_;
    if (request.deadline != never) ++deadlines_;
  }

  const Shard& shard_;
  const ModeMatrix& modes_;
  std::size_t requests_ = 0;
  std::size_t deadlines_ = 0;
  std::string wrong_;
};

std::string Table::check_invariants() const {
  for (std::size_t i = 0; i < shard_count_; ++i)
    if (auto wrong = Checker(shards_[i], rules_.modes).check(); !wrong.empty())
      return "shard " + std::to_string(i) + ": " + wrong;
  return {};
}

}  // namespace gordian::lock
