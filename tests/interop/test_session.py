"""The agent's rules, without a network: what docs/protocol.md says of numbers, since, epochs and conditional orders."""

import unittest

import gordian_agent as ga
from gordian_agent import Session, decode, encode

INCARNATION = 5


class SessionTest(unittest.TestCase):
    def setUp(self):
        self.orders = []
        self.session = Session("s", INCARNATION, self.abort)
        self.session.tick(0.0)
        self.receive(ga.WELCOME, 7, 1000, 5000)  # its answer is Snapshot 1

    def abort(self, order):
        self.orders.append(order)
        self.session.end_wait(order.sequence)
        return ga.DONE, ""

    def receive(self, *message, now=0.0):
        return [decode(frame) for frame in self.session.receive(encode(*message), now)]

    def tick(self, now=0.0):
        return [decode(frame) for frame in self.session.tick(now)]

    def confirm(self, sequence, blocker, since, incarnation=INCARNATION):
        """The denied edges of one that is asked for."""
        *_, (kind, (confirm, denied)) = self.receive(ga.CONFIRM, 7, incarnation, 1, [[sequence, blocker, since]])
        self.assertEqual((kind, confirm), (ga.CONFIRMED, 1))
        return denied

    def test_the_example_of_the_document(self):
        self.assertEqual(encode(ga.HEARTBEAT, 5, 300), bytes.fromhex("94 01 02 05 cd 01 2c"))

    def test_hello_every_quarter_of_a_second_until_welcome(self):
        session = Session("s", INCARNATION, self.abort)
        sent = [decode(frame)[0] for now in (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6) for frame in session.tick(now)]
        self.assertEqual(sent, [ga.HELLO] * 3)
        answer = session.receive(encode(ga.WELCOME, 7, 1000, 5000), 0.7)
        self.assertEqual([decode(frame) for frame in answer], [(ga.SNAPSHOT, [INCARNATION, 1, 0, True, []])])
        self.assertEqual(session.tick(0.8), [])

    def test_deltas_are_numbered_and_ends_come_before_new_waits(self):
        first = self.session.begin_wait(0.0, "T1", ["T2"])
        self.assertEqual(self.tick(), [(ga.DELTA, [INCARNATION, 2, [[0, first, "T1", ["T2"], "", "X", "", 0, [], []]]])])
        second = self.session.begin_wait(0.0, "T3", ["T1"])
        self.session.end_wait(first)
        [(kind, (_, number, changes))] = self.tick()
        self.assertEqual((kind, number, [change[:2] for change in changes]), (ga.DELTA, 3, [[1, first], [0, second]]))

    def test_a_group_is_told_of_while_a_wait_names_it(self):
        group = self.session.begin_group("r", "S")
        self.session.join_group(group, "T1")
        self.assertEqual(self.tick(), [])
        wait = self.session.begin_wait(0.0, "T2", [], groups=[group])
        [(_, (_, number, changes))] = self.tick()
        self.assertEqual((number, changes), (2, [[ga.GROUP, group, "r", "S", ["T1"]],
                                                 [ga.WAIT, wait, "T2", [], "", "X", "", 0, [], [], [group]]]))
        self.session.leave_group(group, "T1")
        self.session.join_group(group, "T3")
        self.assertEqual(self.tick()[0][1][2], [[ga.LEAVE, group, "T1"], [ga.JOIN, group, "T3"]])
        self.session.end_wait(wait)
        self.assertEqual(self.tick()[0][1][2], [[ga.END, wait], [ga.END_GROUP, group]])

    def test_an_edge_by_way_of_a_group_is_as_old_as_the_younger_of_wait_and_membership(self):
        group = self.session.begin_group()
        self.session.join_group(group, "T1")
        self.session.join_group(group, "T2")
        wait = self.session.begin_wait(0.0, "T2", [], groups=[group])
        self.tick()  # 2
        self.assertEqual(self.confirm(wait, "T1", 2), [])
        self.assertEqual(self.confirm(wait, "T1", 1), [[wait, "T1"]])
        self.assertEqual(self.confirm(wait, "T2", 2), [[wait, "T2"]])  # nobody waits for itself
        self.session.join_group(group, "T3")
        self.session.leave_group(group, "T1")
        self.session.join_group(group, "T1")
        self.assertEqual(self.confirm(wait, "T1", 2), [[wait, "T1"]])
        self.assertEqual(self.confirm(wait, "T1", 3), [])
        self.assertEqual(self.confirm(wait, "T3", 3), [])

    def test_a_wait_that_is_not_published_yet_is_not_mentioned(self):
        self.session = Session("s", INCARNATION, self.abort, publish_after=0.1)
        self.receive(ga.WELCOME, 7, 1000, 5000)
        brief = self.session.begin_wait(0.0, "T1", ["T2"])
        self.session.begin_wait(0.0, "T3", ["T2"])
        self.assertEqual(self.tick(0.05), [])
        self.session.end_wait(brief)
        [(_, (_, _, changes))] = self.tick(0.1)
        self.assertEqual([change[2] for change in changes], ["T3"])

    def test_an_edge_is_confirmed_from_its_own_number_on(self):
        wait = self.session.begin_wait(0.0, "T1", ["T2"])
        self.tick()  # Delta 2
        self.assertEqual(self.confirm(wait, "T2", 2), [])
        self.session.set_blockers(wait, ["T2", "T3"])
        self.tick()  # Delta 3
        self.assertEqual(self.confirm(wait, "T2", 2), [])
        self.assertEqual(self.confirm(wait, "T3", 2), [[wait, "T3"]])
        self.assertEqual(self.confirm(wait, "T3", 3), [])
        self.assertEqual(self.confirm(wait, "T4", 3), [[wait, "T4"]])
        self.assertEqual(self.confirm(wait, "T2", 3, incarnation=INCARNATION - 1), [[wait, "T2"]])

    def test_a_lock_taken_again_is_a_new_edge_and_the_change_is_sent_before_the_denial(self):
        wait = self.session.begin_wait(0.0, "T1", ["T2"])
        self.tick()
        self.session.set_blockers(wait, ["T2"], retaken=["T2"])
        delta, confirmed = self.receive(ga.CONFIRM, 7, INCARNATION, 1, [[wait, "T2", 2]])
        self.assertEqual((delta[0], delta[1][1]), (ga.DELTA, 3))
        self.assertEqual(confirmed, (ga.CONFIRMED, [1, [[wait, "T2"]]]))
        self.assertEqual(self.confirm(wait, "T2", 3), [])

    def test_an_abort_is_carried_out_once_and_the_end_is_sent_before_done(self):
        wait = self.session.begin_wait(0.0, "T1", ["T2"])
        self.tick()
        abort = (ga.ABORT, 7, INCARNATION, 1, "i1", "T1", wait, ga.WAITING, 0, 1000, "")
        delta, aborted = self.receive(*abort)
        self.assertEqual(delta, (ga.DELTA, [INCARNATION, 3, [[ga.END, wait]]]))
        self.assertEqual((aborted[0], aborted[1][:2]), (ga.ABORTED, [1, ga.DONE]))
        again = (ga.ABORT, 7, INCARNATION, 2, "i1", "T1", wait, ga.WAITING, 1, 1000, "")  # Aborted was lost
        self.assertEqual(self.receive(*again), [(ga.ABORTED, [2, ga.DONE, ""])])
        other = (ga.ABORT, 7, INCARNATION, 3, "i2", "T1", wait, ga.WAITING, 0, 1000, "")
        [(_, (_, outcome, _))] = self.receive(*other)
        self.assertEqual((outcome, len(self.orders)), (ga.STALE, 1))

    def test_a_soft_edge_is_confirmed_while_the_request_is_queued_ahead(self):
        wait = self.session.begin_wait(0.0, "T1", ["T2"], soft=["T3"])
        [(_, (_, _, [change]))] = self.tick()  # Delta 2
        self.assertEqual(change[8], ["T3"])
        self.assertEqual(self.confirm(wait, "T3", 2), [])
        self.session.set_blockers(wait, ["T2"])
        self.assertEqual(self.confirm(wait, "T3", 2), [[wait, "T3"]])

    def test_a_wait_for_some_of_several_is_confirmed_while_its_set_is_the_same(self):
        wait = self.session.begin_wait(0.0, "T1", ["T2", "T3"], need=1)
        [(_, (_, _, [change]))] = self.tick()  # Delta 2
        self.assertEqual(change[10:], [[], 1])
        self.assertEqual(self.confirm(wait, "T2", 2), [])
        self.session.set_blockers(wait, ["T2", "T3", "T4"], need=1)
        self.assertEqual(self.confirm(wait, "T2", 2), [[wait, "T2"]])
        self.assertEqual(self.confirm(wait, "T2", 3), [])
        self.session.set_blockers(wait, ["T2", "T3", "T4"], need=2)
        self.assertEqual(self.confirm(wait, "T2", 3), [[wait, "T2"]])

    def test_a_reorder_is_carried_out_once_and_refused_by_an_engine_that_has_none(self):
        wait = self.session.begin_wait(0.0, "T1", [], soft=["T2"])
        self.tick()
        reorder = lambda order, blocker="T2": (ga.REORDER, 7, INCARNATION, order, "i1", wait, blocker, 0, 1000, "")
        self.assertEqual(self.receive(*reorder(1)), [(ga.ABORTED, [1, ga.FAILED, "this engine does not reorder queues"])])
        [(_, answer)] = self.receive(*reorder(2, "T9"))
        self.assertEqual(answer[:2], [2, ga.STALE])
        asked = []

        def let_past(sequence, blocker):
            asked.append((sequence, blocker))
            self.session.end_wait(sequence)
            return ga.DONE, ""

        self.session._reorder = let_past
        delta, aborted = self.receive(*reorder(3))
        self.assertEqual(delta, (ga.DELTA, [INCARNATION, 3, [[ga.END, wait]]]))
        self.assertEqual(aborted, (ga.ABORTED, [3, ga.DONE, ""]))
        self.assertEqual(self.receive(*reorder(4)), [(ga.ABORTED, [4, ga.DONE, ""])])
        self.assertEqual(asked, [(wait, "T2")])

    def test_orders_of_an_old_epoch_or_for_another_incarnation_are_refused(self):
        wait = self.session.begin_wait(0.0, "T1", ["T2"])
        self.tick()
        for epoch, incarnation in ((6, INCARNATION), (7, INCARNATION - 1), (7, INCARNATION + 1)):
            [(_, answer)] = self.receive(ga.ABORT, epoch, incarnation, 1, "i1", "T1", wait, ga.WAITING, 0, 1000, "")
            self.assertEqual(answer[:2], [1, ga.REFUSED])
        for old in ((ga.CONFIRM, 6, INCARNATION, 1, []), (ga.RESYNC, 6, ""), (ga.WELCOME, 6, 1, 2)):
            self.assertEqual(self.receive(*old), [])
        self.assertEqual(self.orders, [])

    def test_what_could_not_be_sent_leads_to_a_snapshot_that_keeps_the_numbers_of_edges(self):
        wait = self.session.begin_wait(0.0, "T1", ["T2"])
        self.tick()  # Delta 2
        self.session.begin_wait(0.0, "T3", ["T2"])
        self.tick()  # Delta 3
        self.session.lost()
        [(kind, (_, number, part, last, changes))] = self.tick()
        self.assertEqual((kind, number, part, last, len(changes)), (ga.SNAPSHOT, 4, 0, True, 2))
        self.assertEqual(self.confirm(wait, "T2", 2), [])

    def test_a_larger_incarnation_is_taken_and_every_edge_begins_again(self):
        wait = self.session.begin_wait(0.0, "T1", ["T2"])
        self.tick()
        [(kind, (_, incarnation, *_))] = self.receive(ga.ERROR, ga.STALE_INCARNATION, "", 9)
        self.assertEqual((kind, incarnation), (ga.HELLO, 10))
        [(_, (_, number, *_))] = self.receive(ga.WELCOME, 7, 1000, 5000)
        self.assertEqual(number, 1)
        self.assertEqual(self.confirm(wait, "T2", 1, incarnation=10), [])

    def test_silence_for_a_lease_begins_again_with_hello(self):
        self.assertEqual([kind for kind, _ in self.tick(4.9)], [ga.HEARTBEAT])
        self.assertEqual([kind for kind, _ in self.tick(5.1)], [ga.HELLO])

    def test_a_large_snapshot_has_parts_with_one_number(self):
        for i in range(20_001):
            self.session.begin_wait(0.0, f"T{i}", ["B" * 100])
        parts = [fields for _, fields in self.tick()]
        self.assertGreater(len(parts), 1)
        self.assertEqual([part[1:4] for part in parts], [[2, i, i == len(parts) - 1] for i in range(len(parts))])
        self.assertEqual(sum(len(part[4]) for part in parts), 20_001)

    def test_ids_are_any_bytes(self):
        self.session.begin_wait(0.0, b"\xff\xfe\x00".decode(errors="surrogateescape"), ["ü"])
        [frame] = self.session.tick(0.0)
        self.assertIn(b"\xff\xfe\x00", frame)
        self.assertEqual(decode(frame)[1][2][0][2].encode(errors="surrogateescape"), b"\xff\xfe\x00")

    def test_unknown_elements_at_the_end_and_unreadable_frames_are_ignored(self):
        self.assertEqual(self.receive(ga.HEARTBEAT_ACK, 7, 1, "new", []), [])
        self.assertEqual(self.session.applied, 1)
        self.assertEqual(self.session.receive(b"\xc1", 0.0), [])
        self.assertEqual(self.session.receive(ga.msgpack.packb([2, 17, 9, 1, 1]), 0.0), [])


if __name__ == "__main__":
    unittest.main()
