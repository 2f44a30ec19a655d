/* What the beating thread, the loop's thread and the reporting thread share.
 *
 * Rules: fields marked "thread" belong to the beating thread. What others read or write is one
 * aligned word each, atomic. Times are ns of the process's one clock.
 */
#ifndef DENOAGENTS_PULSE_STATE_H
#define DENOAGENTS_PULSE_STATE_H

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#include "libzmq.h"
#include "watch.h"

#define PULSE_MS 1000000LL
#define PULSE_STEP_NS (200 * PULSE_MS)          /* most that one round of the thread may count */
#define PULSE_BUSY_NS (25 * PULSE_MS)           /* between looks while a turn is running */
#define PULSE_IDLE_NS (50 * PULSE_MS)           /* and while none is */
#define PULSE_PATIENCE_NS (300 * PULSE_MS)      /* Python's time to take up a report */
#define PULSE_REPEAT_NS (1000 * PULSE_MS)       /* one report per actor and method in this time */
#define PULSE_PROBE_NS (500 * PULSE_MS)         /* a probe without result by then is over */
#define PULSE_STALE_NS (500 * PULSE_MS)         /* loop without a tick: flag BLOCKED */
#define PULSE_BEAT_SIZE 48
#define PULSE_ANSWER_SIZE 40
#define PULSE_EXIT_STATUS 70

enum { PULSE_BEAT_BLOCKED = 1, PULSE_BEAT_NO_LEASE = 2, PULSE_BEAT_LEAVING = 4 };
enum {                                          /* what tick() returns, or-ed */
    PULSE_ANSWERED = 1,                         /* the newest beats are being answered */
    PULSE_REFUSED = 2,                          /* nobody listens at the broker's port */
    PULSE_SILENT = 4,                           /* something listens, but does not answer */
    PULSE_UNKNOWN = 8,                          /* the broker does not know us: join again */
    PULSE_EVICTED = 16                          /* this incarnation is over */
};

typedef struct {
    uint64_t step;
    int64_t held_ns;
    uint8_t actor_size, method_size;
    char actor[WATCH_NAME];
    char method[WATCH_NAME];
} pulse_report_t;                               /* one write to the report pipe, below PIPE_BUF */

typedef struct {
    /* settings, constant while the thread runs */
    int64_t beat_ns, stop_after_ns, replace_after_ns, block_limit_ns, tick_ns, turn_limit_ns;
    int ends_process;
    uint64_t incarnation;
    char endpoint[256], host[200], port[8];
    int is_secured;                                 /* by CURVE, with these keys */
    char public_key[32], secret_key[32], server_key[32];
    watch_t *watch;
    struct denoagents_zmq zmq;
    void *given_context;
    uint16_t magic;
    uint8_t wire_version, beat_kind, answer_kind;
    /* shared with the loop's thread and the reporting thread, atomic */
    int64_t lease_until;
    int64_t ticked_ns;
    int64_t lag_ns;                             /* of the newest tick */
    int64_t worst_lag_ns;                       /* since the last beat */
    uint64_t ticks;
    uint64_t open_report;                       /* step whose report nobody has logged; 0 = none */
    uint64_t broker_incarnation;
    uint64_t beats, answers;
    uint32_t broker_version;
    int flags;
    int leaving;
    int stopping;
    int probes_refused;
    /* thread */
    pthread_t thread;
    int is_running;
    int wake_read, wake_write, report_write;
    void *context, *socket;
    int64_t started_ns, now_ns, round_ns;       /* this round's time, and what it counts */
    int64_t next_beat_ns, sent_ns, answered_ns, proof_ns, heard_ns, recreate_ns, recreate_wait_ns;
    int probe;
    int64_t probe_started_ns, next_probe_ns;
    struct sockaddr_storage address;
    socklen_t address_size;
    uint64_t seen_ticks;
    int64_t blocked_ns;
    uint64_t seen_steps[WATCH_DEPTH], told_steps[WATCH_DEPTH];
    int64_t held_ns[WATCH_DEPTH];
    pulse_report_t report;
    int64_t report_waited_ns, reported_ns;
    pulse_report_t last_report;
} pulse_t;

#define PULSE_GET(field) __atomic_load_n(&(field), __ATOMIC_ACQUIRE)
#define PULSE_SET(field, value) __atomic_store_n(&(field), (value), __ATOMIC_RELEASE)

static int64_t pulse_now(void) {
    struct timespec ts;
#if defined(CLOCK_BOOTTIME)
    clock_gettime(CLOCK_BOOTTIME, &ts);
#else
    clock_gettime(CLOCK_MONOTONIC, &ts);
#endif
    return (int64_t)ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

static void pulse_flag(pulse_t *p, int on, int off) {
    PULSE_SET(p->flags, (PULSE_GET(p->flags) & ~off) | on);
}

/* --- the loop's side: called by the thread that runs the loop --------------------------------- */

static int pulse_tick(pulse_t *p, int64_t now) {
    int64_t lag = now - p->ticked_ns - p->tick_ns;
    if (lag < 0 || !p->ticks) lag = 0;
    PULSE_SET(p->lag_ns, lag);
    if (lag > PULSE_GET(p->worst_lag_ns)) PULSE_SET(p->worst_lag_ns, lag);
    PULSE_SET(p->ticked_ns, now);
    PULSE_SET(p->ticks, p->ticks + 1);
    return PULSE_GET(p->flags);
}

/* True for the first who closes this report; the other side then stays quiet. */
static int pulse_close_report(pulse_t *p, uint64_t step) {
    return step && __atomic_compare_exchange_n(&p->open_report, &step, 0, 0, __ATOMIC_ACQ_REL,
                                               __ATOMIC_ACQUIRE);
}

#endif
