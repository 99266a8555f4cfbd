/* Probe, confirmation and conditional abort between coordinators, as docs/algorithm.md numbers the rules.
 *
 * Every transaction k has a site of its own (agent k) and a coordinator of its own (owner k): as distributed as can be.
 * A cycle's leader is the owner of its victim. README.md says what is abstracted, what is checked, and how to run it.
 *
 *   MEMBERS     transactions: 2 or 3, in a ring
 *   OVERLAP     3 of them: 2 waits for 0 and for 1, so the ring of three and the ring 1-2 share an edge
 *   CHANGES     how often each agent's waits change by themselves; CHANGES_OF_0: of agent 0's
 *   CASES       cases per leader
 *   NO_MISS     each message comes once, in any order; probes may be lost LOSSES times; at rest nothing may be deadlocked.
 *               Without it: whatever was sent may come late, twice or never, and probes are as old as they like
 * Broken on purpose: NO_WAIT_ID_CHECK, NO_CONFIRMATION, UNCONDITIONAL_ABORT, NO_RESERVATION, ABORT_FORGETS_BREAKS,
 * ASKED_BEFORE_RESERVED, RELEASES_ARE_FORGOTTEN, NO_REPROBING. And NEVER_ABORTS, NOTHING_IS_RESOLVED: they must fail, or the
 * properties say nothing. */
#ifndef MEMBERS
#define MEMBERS 2
#endif
#ifndef CHANGES
#define CHANGES 2
#endif
#ifndef CHANGES_OF_0
#define CHANGES_OF_0 CHANGES
#endif
#ifndef CASES
#define CASES 2
#endif
#ifndef LOSSES
#define LOSSES 1
#endif

/* The cycles: who waits for whom on cycle c, and its victim, a pure function of the members. */
#ifdef OVERLAP
#define CYCLES 2
#define ON(c, k) ((c) == 0 || (k) != 0)
#define NEXT(c, k) (((k) + 1) % 3 + ((c) == 1 && (k) == 2))
#define VICTIM(c) (2 * (c))
#define WANTED_BLOCKERS(k) (((2 << (k)) & 7) | 3 * ((k) == 2))
#define ALL_ON(c) (7 - (c))
#else
#define CYCLES 1
#define ON(c, k) true
#define NEXT(c, k) (((k) + 1) % MEMBERS)
#define VICTIM(c) 0
#define WANTED_BLOCKERS(k) (1 << (((k) + 1) % MEMBERS))
#define ALL_ON(c) ((1 << MEMBERS) - 1)
#endif
#define BIT(set, i) (((set) >> (i)) & 1)
#define ALL_CASES (CYCLES * CASES)
#define CYCLE_OF(x) ((x) / CASES)

/* ---- The truth: what agent k's waits were at each of its reports, the newest at now[k]. Report = wait id, blockers. ---- */
#if CHANGES_OF_0 > CHANGES
#define REPORTS (2 * CHANGES_OF_0 + 1) /* a change may be followed by an abort */
#else
#define REPORTS (2 * CHANGES + 1)
#endif
byte report[MEMBERS * REPORTS]; /* wait id << 3 | set of blockers; wait id 0: it waits for nobody */
byte now[MEMBERS];
byte changes[MEMBERS];
byte episodes[MEMBERS]; /* the last wait id; none is used again */
#define WAIT(k, n) (report[(k) * REPORTS + (n)] >> 3)
#define EDGE(k, n, b) BIT(report[(k) * REPORTS + (n)], b)
#define WAITS(k) (WAIT(k, now[k]) != 0)

/* ---- What the owners know: agent k's report known[k], some time later; reservations. ---- */
byte known[MEMBERS];
byte reserved[MEMBERS]; /* 0: free; else the case + 1 */
byte closed[MEMBERS * CYCLES]; /* cases of leader c below this number are over, as far as owner k knows */

/* ---- What the leaders know, and the messages of their cases. Case x is number x % CASES of leader x / CASES. ---- */
mtype = { idle, asking, aborting };
mtype phase[CYCLES] = idle;
byte cases[CYCLES]; /* the number of the case that is open, or comes next */
byte since[ALL_CASES * MEMBERS]; /* of each edge: the report it was taken from, as the probe carried it */
byte reserve_sent[ALL_CASES], ask_sent[ALL_CASES], yes[ALL_CASES], no[ALL_CASES], release_sent[ALL_CASES]; /* sets of k */
bit abort_sent[ALL_CASES], abort_answered[ALL_CASES];
#ifdef ASKED_BEFORE_RESERVED
byte granted[ALL_CASES];
#define GRANTED(c) (granted[OPEN(c)] == ALL_ON(c))
#else
#define GRANTED(c) true
#endif
#define OPEN(c) ((c) * CASES + cases[c])
#define SINCE(x, k) since[(x) * MEMBERS + (k)]
#ifdef NO_MISS
#define DELIVERED(set, k) set = set & ~(1 << (k))
#else
#define DELIVERED(set, k) skip /* it may come again */
#endif

/* ---- For the properties only ---- */
bit real[ALL_CASES]; /* at T0 all its edges existed, of the waits that the path names */
byte aborted_waits[MEMBERS]; /* set of wait ids */

hidden byte i, j;
hidden byte ok;

/* ok: from report n until now wait and edge stood without a break. */
inline unbroken(k, n, b) {
  i = n; ok = EDGE(k, n, b);
  do
  :: ok && i < now[k] -> i++; ok = (WAIT(k, i) == WAIT(k, n) && EDGE(k, i, b))
  :: else -> break
  od
}

/* ================================ Agents ================================ */

inline next_report(k, wait, blockers) {
  now[k] = now[k] + 1;
  report[(k) * REPORTS + now[k]] = ((wait) << 3) | (blockers);
}

bool calm = false; /* nothing changes by itself any more */

/* By itself: time-outs, user aborts, grants. The same transaction may wait again, under another wait id. */
#define MAY_CHANGE(k) (changes[k] < ((k) == 0 -> CHANGES_OF_0 : CHANGES) && !calm)
inline begin_wait(k) {
  d_step { MAY_CHANGE(k) && !WAITS(k) ->
    changes[k]++; episodes[k]++; next_report(k, episodes[k], WANTED_BLOCKERS(k)) }
}
inline end_wait(k) {
  d_step { MAY_CHANGE(k) && WAITS(k) -> changes[k]++; next_report(k, 0, 0) }
}
/* A blocker ends: a stranger gets the lock, the same wait goes on. It may get the blocker back: the edge has had a break. */
inline lose_blocker(k, b) {
  d_step { MAY_CHANGE(k) && EDGE(k, now[k], b) ->
    changes[k]++; next_report(k, WAIT(k, now[k] - 1), report[(k) * REPORTS + now[k] - 1] & 7 & ~(1 << (b))) }
}
inline regain_blockers(k) {
  d_step { MAY_CHANGE(k) && WAITS(k) && (report[(k) * REPORTS + now[k]] & 7) != WANTED_BLOCKERS(k) ->
    changes[k]++; next_report(k, WAIT(k, now[k] - 1), WANTED_BLOCKERS(k)) }
}

/* Rule: "yes" means that the edge has stood since report SINCE, which was before T0. */
inline confirm(k, x) {
  d_step { BIT(ask_sent[x], k) ->
    DELIVERED(ask_sent[x], k);
#ifdef NO_WAIT_ID_CHECK
    ok = EDGE(k, now[k], NEXT(CYCLE_OF(x), k));
#else
    unbroken(k, SINCE(x, k), NEXT(CYCLE_OF(x), k));
#endif
    if
    :: ok -> yes[x] = yes[x] | (1 << k)
    :: else -> no[x] = no[x] | (1 << k)
    fi; ok = 0; i = 0 }
}

inline check_properties(k, x) {
  assert(real[x]); /* no phantom */
  assert(WAIT(k, now[k]) == WAIT(k, SINCE(x, k)) && EDGE(k, now[k], NEXT(CYCLE_OF(x), k))); /* the confirmed wait */
  j = 0; /* nobody else of this cycle, in the waits that made it, was aborted for a deadlock */
  do
  :: j < MEMBERS ->
    assert(j == k || !ON(CYCLE_OF(x), j) || !BIT(aborted_waits[j], WAIT(j, SINCE(x, j))));
    j++
  :: else -> break
  od; j = 0
}

/* Rule: carried out only while the edge stands, of this very wait, without a break since. */
inline abort_victim(k, x) {
  d_step { abort_sent[x] && k == VICTIM(CYCLE_OF(x)) ->
    #ifdef NO_MISS
    abort_sent[x] = 0;
#endif
#if defined(UNCONDITIONAL_ABORT)
    ok = WAITS(k);
#elif defined(ABORT_FORGETS_BREAKS)
    ok = (WAIT(k, now[k]) == WAIT(k, SINCE(x, k)) && EDGE(k, now[k], NEXT(CYCLE_OF(x), k)));
#else
    unbroken(k, SINCE(x, k), NEXT(CYCLE_OF(x), k));
#endif
    if
    :: ok ->
#ifdef NEVER_ABORTS
      assert(false);
#endif
      check_properties(k, x);
      aborted_waits[k] = aborted_waits[k] | (1 << WAIT(k, now[k]));
      next_report(k, 0, 0)
    :: else -> skip
    fi; ok = 0; i = 0;
    abort_answered[x] = 1 }
}

/* ================================ Owners ================================ */

#ifdef NO_MISS
/* A probe of initiator i along cycle c: at whom it arrives next, and the report of each edge on its path. */
#define PROBES (CYCLES * MEMBERS)
#define NOWHERE 0
#define AT_LEADER 9
byte at[PROBES]; /* NOWHERE, owner + 1, AT_LEADER */
byte path[PROBES * MEMBERS];
bit to_probe[PROBES];
byte losses;
bool probed = false; /* all waits were probed since anything changed or was lost */
#define PROBE(c, k) ((c) * MEMBERS + (k))
#define PATH(p, k) path[(p) * MEMBERS + (k)]
#define UNSETTLED probed = false
#else
#define UNSETTLED skip
#endif

/* Reports have numbers; whoever misses one gets a snapshot: so the next one is never an older one. */
inline take_report(k) {
  d_step { known[k] < now[k] -> known[k] = known[k] + 1;
#ifdef NO_MISS
    UNSETTLED;
    i = 0;
    do
    :: i < CYCLES -> to_probe[PROBE(i, k)] = (ON(i, k) && EDGE(k, known[k], NEXT(i, k))); i++
    :: else -> break
    od; i = 0
#endif
  }
}

/* Rule: one case at a time has the transaction. Cases of a leader are numbered: what comes after its release is refused. */
inline reserve(k, x) {
  d_step { BIT(reserve_sent[x], k) ->
    DELIVERED(reserve_sent[x], k);
    if
#ifdef NO_RESERVATION
    :: true -> ask_sent[x] = ask_sent[x] | (1 << k)
#else
#ifndef RELEASES_ARE_FORGOTTEN
    :: x % CASES < closed[k * CYCLES + CYCLE_OF(x)] -> skip
#endif
    :: else ->
      closed[k * CYCLES + CYCLE_OF(x)] = x % CASES; /* the leader's older ones are over */
      if
      :: reserved[k] == 0 || CYCLE_OF(reserved[k] - 1) == CYCLE_OF(x) ->
        reserved[k] = x + 1;
#ifdef ASKED_BEFORE_RESERVED
        granted[x] = granted[x] | (1 << k)
#else
        ask_sent[x] = ask_sent[x] | (1 << k)
#endif
      :: else -> no[x] = no[x] | (1 << k) /* busy */
      fi
#endif
    fi }
}

inline release(k, x) {
  d_step { BIT(release_sent[x], k) ->
    DELIVERED(release_sent[x], k);
    if
    :: x % CASES >= closed[k * CYCLES + CYCLE_OF(x)] -> closed[k * CYCLES + CYCLE_OF(x)] = x % CASES + 1
    :: else -> skip
    fi;
    if
    :: reserved[k] == x + 1 -> reserved[k] = 0
    :: else -> skip
    fi }
}

#ifdef NO_MISS
inline initiate(k, c) {
  d_step { ON(c, k) && to_probe[PROBE(c, k)] ->
    to_probe[PROBE(c, k)] = 0;
    PATH(PROBE(c, k), k) = known[k];
    at[PROBE(c, k)] = NEXT(c, k) + 1 }
}

inline forget_probe(p) {
  at[p] = NOWHERE;
  j = 0;
  do
  :: j < MEMBERS -> PATH(p, j) = 0; j++
  :: else -> break
  od; j = 0
}

/* Rule: extend the path over my transaction's wait and send it on; back at the initiator, where its wait is current, it
 * is a suspect and goes to the leader. */
inline forward(k, p) {
  d_step { at[p] == k + 1 ->
    if
    :: p % MEMBERS == k && WAIT(k, known[k]) == WAIT(k, PATH(p, k)) -> at[p] = AT_LEADER
    :: p % MEMBERS != k && EDGE(k, known[k], NEXT(p / MEMBERS, k)) ->
      PATH(p, k) = known[k];
      at[p] = NEXT(p / MEMBERS, k) + 1
    :: else -> forget_probe(p)
    fi }
}

inline lose_probe(p) {
  d_step { at[p] != NOWHERE && losses < LOSSES -> losses++; forget_probe(p); UNSETTLED }
}

/* Quiet: nothing is on its way, no case is open. Waits that stay are probed again only after a long time. */
inline look_for_quiet() {
  i = 0; ok = true;
  do
  :: i < PROBES -> ok = ok && at[i] == NOWHERE && !to_probe[i]; i++
  :: else -> break
  od;
  i = 0;
  do
  :: i < ALL_CASES -> ok = ok && !reserve_sent[i] && !ask_sent[i] && !release_sent[i] && !abort_sent[i]; i++
  :: else -> break
  od;
  i = 0;
  do
  :: i < CYCLES -> ok = ok && phase[i] == idle; i++
  :: else -> break
  od;
  i = 0;
  do
  :: i < MEMBERS -> ok = ok && known[i] == now[i]; i++
  :: else -> break
  od
}

#ifndef NO_REPROBING
/* Rule: every wait that stays is probed again. */
active proctype clock() {
end:
  do
  :: d_step { !probed ->
       look_for_quiet();
       if
       :: ok ->
         probed = true;
         i = 0;
         do
         :: i < PROBES ->
           to_probe[i] = (ON(i / MEMBERS, i % MEMBERS) &&
                          EDGE(i % MEMBERS, known[i % MEMBERS], NEXT(i / MEMBERS, i % MEMBERS)));
           i++
         :: else -> break
         od
       :: else -> skip
       fi; i = 0; ok = 0 }
  od
}
#endif
#endif

/* ================================ Leaders ================================ */

/* Rule: T0 is now, after all reports that the path names, before all questions. */
inline open_case(c) {
  real[OPEN(c)] = 1;
  j = 0;
  do
  :: j < MEMBERS ->
    if
    :: ON(c, j) && !(EDGE(j, now[j], NEXT(c, j)) && WAIT(j, now[j]) == WAIT(j, SINCE(OPEN(c), j))) -> real[OPEN(c)] = 0
    :: else -> skip
    fi; j++
  :: else -> break
  od; j = 0;
#ifdef NO_CONFIRMATION
  abort_sent[OPEN(c)] = 1;
  phase[c] = aborting
#else
  reserve_sent[OPEN(c)] = ALL_ON(c);
#ifdef ASKED_BEFORE_RESERVED
  ask_sent[OPEN(c)] = ALL_ON(c);
#endif
  phase[c] = asking
#endif
}

inline close_case(c) {
  release_sent[OPEN(c)] = ALL_ON(c);
  cases[c] = cases[c] + 1;
  phase[c] = idle
}

/* Rule: a suspect with a member that is reserved here is dropped; so is one that comes while a case is open. */
#define WILLING(c) (phase[c] == idle && reserved[VICTIM(c)] == 0)

#ifdef NO_MISS
inline take_suspect(c, p) {
  d_step { at[p] == AT_LEADER && p / MEMBERS == c ->
    if
    :: WILLING(c) ->
      assert(cases[c] < CASES); /* or nothing is proved: raise CASES */
      j = 0;
      do
      :: j < MEMBERS -> SINCE(OPEN(c), j) = PATH(p, j); j++
      :: else -> break
      od;
      open_case(c)
    :: else -> skip
    fi;
    forget_probe(p) }
}
#else
/* Any path that probes could have collected at any time, lost or repeated as they may be: of each member some report that
 * its owner has had, with the edge. One of them is the initiator, whose wait is current as far as its owner knows. */
#define SHOWS(c, k, n) (n < REPORTS && n <= known[k] && EDGE(k, n, NEXT(c, k)))
#define REPORTED(c, k) (!ON(c, k) || SHOWS(c, k, 1) || SHOWS(c, k, 2) || SHOWS(c, k, 3) || SHOWS(c, k, 4) || \
                        SHOWS(c, k, 5) || SHOWS(c, k, 6))
#define CURRENT(c, k) (ON(c, k) && WAIT(k, known[k]) == WAIT(k, SINCE(OPEN(c), k)))
inline some_report(c, k) {
  if
  :: !ON(c, k) -> skip
  :: ON(c, k) && SHOWS(c, k, 1) -> SINCE(OPEN(c), k) = 1
  :: ON(c, k) && SHOWS(c, k, 2) -> SINCE(OPEN(c), k) = 2
  :: ON(c, k) && SHOWS(c, k, 3) -> SINCE(OPEN(c), k) = 3
  :: ON(c, k) && SHOWS(c, k, 4) -> SINCE(OPEN(c), k) = 4
  :: ON(c, k) && SHOWS(c, k, 5) -> SINCE(OPEN(c), k) = 5
  :: ON(c, k) && SHOWS(c, k, 6) -> SINCE(OPEN(c), k) = 6
  fi
}
#if MEMBERS == 3
#define THE_THIRD(what) && what
#define OR_THE_THIRD(what) || what
#else
#define THE_THIRD(what)
#define OR_THE_THIRD(what)
#endif
inline take_suspect(c) {
  atomic { WILLING(c) && cases[c] < CASES && REPORTED(c, 0) && REPORTED(c, 1) THE_THIRD(REPORTED(c, 2)) ->
    some_report(c, 0);
    some_report(c, 1);
#if MEMBERS == 3
    some_report(c, 2);
#endif
    if
    :: CURRENT(c, 0) || CURRENT(c, 1) OR_THE_THIRD(CURRENT(c, 2)) -> d_step { open_case(c) }
    :: else -> d_step { SINCE(OPEN(c), 0) = 0; SINCE(OPEN(c), 1) = 0;
#if MEMBERS == 3
                        SINCE(OPEN(c), 2) = 0
#endif
                      }
    fi }
}
#endif

/* Rule: any no, or patience at an end: the case is dropped. All yes: condemned; its end waits for the agent's answer. */
inline drop_case(c) {
#ifdef NO_MISS
  d_step { phase[c] == asking && no[OPEN(c)] ->
#ifdef OVERLAP
    UNSETTLED; /* busy; a lone cycle has no such excuse */
#endif
#else
  d_step { phase[c] == asking ->
#endif
    close_case(c) }
}
inline condemn(c) {
  d_step { phase[c] == asking && yes[OPEN(c)] == ALL_ON(c) && GRANTED(c) -> abort_sent[OPEN(c)] = 1; phase[c] = aborting }
}
inline finish(c) {
  d_step { phase[c] == aborting && abort_answered[OPEN(c)] -> close_case(c) }
}

/* ================================ The processes ================================ */

proctype agent(byte k) {
end:
  do
  :: begin_wait(k)
  :: end_wait(k)
  :: lose_blocker(k, 0)
  :: lose_blocker(k, 1)
  :: lose_blocker(k, 2)
  :: regain_blockers(k)
  od
}

proctype owner(byte k) {
end:
  do
  :: take_report(k)
#ifdef NO_MISS
  :: initiate(k, 0)
#ifdef OVERLAP
  :: initiate(k, 1)
#endif
#endif
  od
}

/* What comes to member k's owner and agent in case x. */
proctype member_in_case(byte k; byte x) {
end:
  do
  :: reserve(k, x)
  :: release(k, x)
  :: confirm(k, x)
  :: abort_victim(k, x)
  od
}

proctype leader(byte c) {
end:
  do
#ifndef NO_MISS
  :: take_suspect(c)
#endif
  :: drop_case(c)
  :: condemn(c)
  :: finish(c)
  od
}

#ifdef NO_MISS
proctype probe(byte p) {
end:
  do
  :: forward(0, p)
  :: forward(1, p)
#if MEMBERS == 3
  :: forward(2, p)
#endif
  :: take_suspect(p / MEMBERS, p)
  :: lose_probe(p)
  od
}

/* At rest, when all patience is used up, nobody is deadlocked. */
#define DEADLOCKED(c) (EDGES_STAND(c, 0) && EDGES_STAND(c, 1) && EDGES_STAND(c, 2))
#define EDGES_STAND(c, k) (k >= MEMBERS || !ON(c, k) || EDGE(k % MEMBERS, now[k % MEMBERS], NEXT(c, k)))
proctype observer() {
  do
  :: d_step { !calm -> calm = true }
  :: timeout ->
#ifdef NOTHING_IS_RESOLVED
    assert(!aborted_waits[0]);
#endif
    assert(!DEADLOCKED(0));
#ifdef OVERLAP
    assert(!DEADLOCKED(1));
#endif
    break
  od
}
#endif

init {
  atomic {
    byte n = 0, m = 0;
    do
    :: n < MEMBERS -> run agent(n); run owner(n); n++
    :: else -> break
    od; n = 0;
    do
    :: n < CYCLES -> run leader(n); n++
    :: else -> break
    od; n = 0;
    do
    :: n < ALL_CASES && m < MEMBERS ->
      if
      :: ON(CYCLE_OF(n), m) -> run member_in_case(m, n)
      :: else -> skip
      fi; m++
    :: n < ALL_CASES && m == MEMBERS -> m = 0; n++
    :: else -> break
    od; n = 0; m = 0;
#ifdef NO_MISS
    do
    :: n < PROBES -> run probe(n); n++
    :: else -> break
    od; n = 0;
    run observer()
#endif
  }
}
