/* The beating thread: heartbeats, the lease, and the watch over the running turn, without the GIL.
 *
 * Rules: this thread alone touches its socket, its probe and the fields marked "thread". What other threads
 * read or write is one aligned word each, atomic. Times are ns of the process's one clock. Time counts
 * against a turn or the loop only as far as this thread ran, in steps of at most PULSE_STEP_NS, so
 * that a process that was frozen and wakes is not taken for one that blocks.
 * Layouts: denoagents/cluster/beat.py.
 */
#ifndef DENOAGENTS_PULSE_H
#define DENOAGENTS_PULSE_H

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
#define PULSE_PROBE_NS (500 * PULSE_MS)         /* a probe that connects to nobody for this long is over */
#define PULSE_STALE_NS (500 * PULSE_MS)         /* loop without a tick: flag BLOCKED */
#define PULSE_BEAT_SIZE 48
#define PULSE_ANSWER_SIZE 40
#define PULSE_EXIT_STATUS 70

enum { PULSE_BEAT_BLOCKED = 1, PULSE_BEAT_NO_LEASE = 2, PULSE_BEAT_LEAVING = 4 };
enum {                                          /* what tick() returns, or-ed */
    PULSE_ANSWERED = 1,                         /* the newest beats are being answered */
    PULSE_REFUSED = 2,                          /* nobody listens at the broker's port */
    PULSE_SILENT = 4,                           /* something listens, but does not answer */
    PULSE_UNKNOWN = 8,                          /* the broker does not know this incarnation: join again */
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
    uint64_t open_report;                       /* step whose report nobody has taken; 0 = none */
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

/* True for the first who takes this report; the other side then stays quiet. */
static int pulse_claim(pulse_t *p, uint64_t step) {
    return step && __atomic_compare_exchange_n(&p->open_report, &step, 0, 0, __ATOMIC_ACQ_REL,
                                               __ATOMIC_ACQUIRE);
}

/* --- lines to stderr, when Python cannot write them ------------------------------------------- */

static size_t pulse_quote(char *out, const char *text, size_t size) {
    size_t i, n = 0;
    /* A name cut within a UTF-8 sequence loses its rest. */
    if (size == WATCH_NAME) {
        size_t start = size;
        while (start && (text[start - 1] & 0xC0) == 0x80) start--;
        if (start && (unsigned char)text[start - 1] >= 0xC0) {
            unsigned char lead = (unsigned char)text[start - 1];
            size_t need = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
            if (size - (start - 1) < need) size = start - 1;
        }
    }
    for (i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '"' || c == '\\') { out[n++] = '\\'; out[n++] = (char)c; }
        else if (c < 0x20 || c == 0x7F) n += (size_t)sprintf(out + n, "\\u%04x", c);
        else out[n++] = (char)c;
    }
    out[n] = 0;
    return n;
}

static void pulse_write_line(const char *event, const char *level, const pulse_report_t *report,
                             const char *more) {
    char actor[6 * WATCH_NAME + 1], method[6 * WATCH_NAME + 1], stamp[40], line[2048];
    struct timespec ts;
    struct tm utc;
    int size;
    ssize_t ignored;
    pulse_quote(actor, report->actor, report->actor_size);
    pulse_quote(method, report->method, report->method_size);
    clock_gettime(CLOCK_REALTIME, &ts);                 /* for people, not for deadlines */
    gmtime_r(&ts.tv_sec, &utc);
    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &utc);
    size = snprintf(line, sizeof line,
                    "{\"event\": \"%s\", \"actor\": \"%s\", \"method\": \"%s\", \"held_ms\": %lld, %s"
                    "\"pid\": %ld, \"level\": \"%s\", \"timestamp\": \"%s.%06ldZ\"}\n",
                    event, actor, method, (long long)(report->held_ns / PULSE_MS), more, (long)getpid(),
                    level, stamp, ts.tv_nsec / 1000);
    if (size > (int)sizeof line) size = (int)sizeof line;
    ignored = write(2, line, (size_t)size);
    (void)ignored;
}

/* --- the watch over the running turn ---------------------------------------------------------- */

static void pulse_fill(pulse_report_t *report, const watch_frame_t *frame, int64_t held_ns) {
    report->step = frame->step;
    report->held_ns = held_ns;
    report->actor_size = frame->actor_size;
    report->method_size = frame->method_size;
    memcpy(report->actor, frame->actor, WATCH_NAME);
    memcpy(report->method, frame->method, WATCH_NAME);
}

static int pulse_is_repeat(pulse_t *p, const pulse_report_t *report) {
    const pulse_report_t *last = &p->last_report;
    return p->reported_ns && p->now_ns - p->reported_ns < PULSE_REPEAT_NS
        && last->actor_size == report->actor_size && last->method_size == report->method_size
        && !memcmp(last->actor, report->actor, report->actor_size)
        && !memcmp(last->method, report->method, report->method_size);
}

static void pulse_tell_held(pulse_t *p) {
    if (pulse_claim(p, p->report.step))
        pulse_write_line("turn_holds_the_loop", "warning", &p->report,
                         "\"stack\": \"not available: the turn holds the GIL\", ");
}

static void pulse_open_report(pulse_t *p, const watch_frame_t *frame, int64_t held_ns) {
    pulse_report_t report;
    ssize_t ignored;
    memset(&report, 0, sizeof report);
    pulse_fill(&report, frame, held_ns);
    if (pulse_is_repeat(p, &report)) return;
    if (PULSE_GET(p->open_report)) pulse_tell_held(p);  /* the former one, whose time is over */
    p->report = p->last_report = report;
    p->reported_ns = p->now_ns;
    p->report_waited_ns = 0;
    PULSE_SET(p->open_report, report.step);
    ignored = write(p->report_write, &report, sizeof report);   /* a full pipe: we write the line */
    (void)ignored;
}

/* Counts what the running turns hold; returns the number of kept frames. */
static int pulse_look(pulse_t *p, watch_frame_t *frames) {
    int i, depth = watch_depth(p->watch) ? watch_read(p->watch, frames) : 0;
    if (depth < 0) return -1;
    for (i = 0; i < depth; i++) {
        int64_t held = p->now_ns - frames[i].since_ns;
        if (frames[i].step == p->seen_steps[i]) p->held_ns[i] += p->round_ns;
        else {
            p->seen_steps[i] = frames[i].step;
            p->held_ns[i] = held < 0 ? 0 : held < p->round_ns ? held : p->round_ns;
        }
    }
    for (i = depth - 1; i >= 0; i--) {
        if (p->held_ns[i] <= p->turn_limit_ns) continue;
        if (p->told_steps[i] != frames[i].step) {
            int outer;
            for (outer = 0; outer <= i; outer++) p->told_steps[outer] = frames[outer].step;
            pulse_open_report(p, &frames[i], p->held_ns[i]);
        }
        break;
    }
    return depth;
}

static void pulse_watch_turn(pulse_t *p) {
    watch_frame_t frames[WATCH_DEPTH];
    int depth = pulse_look(p, frames);
    uint64_t open = PULSE_GET(p->open_report);
    if (!open || open != p->report.step) return;
    p->report_waited_ns += p->round_ns;
    if (p->report_waited_ns < PULSE_PATIENCE_NS) return;
    for (; depth > 0; depth--)
        if (frames[depth - 1].step == open) p->report.held_ns = p->held_ns[depth - 1];
    pulse_tell_held(p);
}

/* The loop has not ticked for block_limit: say who holds it, and end. */
static void pulse_end_process(pulse_t *p) {
    watch_frame_t frames[WATCH_DEPTH];
    pulse_report_t report;
    int depth = watch_read(p->watch, frames);
    memset(&report, 0, sizeof report);
    if (depth > 0) pulse_fill(&report, &frames[depth - 1], 0);
    report.held_ns = p->blocked_ns;
    pulse_write_line("loop_blocked_process_ends", "critical", &report, "\"exit_status\": 70, ");
    _exit(PULSE_EXIT_STATUS);
}

static void pulse_watch_loop(pulse_t *p) {
    uint64_t ticks = PULSE_GET(p->ticks);
    if (ticks != p->seen_ticks) {
        p->seen_ticks = ticks;
        p->blocked_ns = 0;
        return;
    }
    p->blocked_ns += p->round_ns;
    if (p->blocked_ns > p->block_limit_ns && p->ends_process) pulse_end_process(p);
}

/* --- the lease -------------------------------------------------------------------------------- */

/* `proof_ns`: a time at which the broker certainly had not replaced us, or could not. */
static void pulse_renew(pulse_t *p, int64_t proof_ns) {
    if (PULSE_GET(p->flags) & PULSE_EVICTED) return;
    if (p->blocked_ns > p->block_limit_ns) return;
    if (proof_ns > p->proof_ns) p->proof_ns = proof_ns;
    if (proof_ns + p->stop_after_ns > PULSE_GET(p->lease_until))
        PULSE_SET(p->lease_until, proof_ns + p->stop_after_ns);
}

/* Nobody listens. That proves we live on only if no broker had the time to replace us since the last
 * proof; otherwise one may have done so and died, and only an answer of its successor can tell. */
static void pulse_refused(pulse_t *p) {
    pulse_flag(p, PULSE_REFUSED, PULSE_SILENT | PULSE_ANSWERED);
    PULSE_SET(p->probes_refused, p->probes_refused + 1);
    if (pulse_now() - p->proof_ns < p->replace_after_ns) pulse_renew(p, p->probe_started_ns);
}

static uint64_t pulse_little(const unsigned char *at, int size) {
    uint64_t value = 0;
    while (size--) value = value << 8 | at[size];
    return value;
}

static void pulse_put(unsigned char *at, uint64_t value, int size) {
    int i;
    for (i = 0; i < size; i++) at[i] = (unsigned char)(value >> (8 * i));
}

static void pulse_answer(pulse_t *p, const unsigned char *packet) {
    int64_t sent_ns = (int64_t)pulse_little(packet + 16, 8);
    if (pulse_little(packet, 2) != p->magic || packet[2] != p->wire_version || packet[3] != p->answer_kind
        || pulse_little(packet + 8, 8) != p->incarnation) return;
    if (sent_ns < p->started_ns || sent_ns > p->sent_ns) return;      /* not one of ours */
    PULSE_SET(p->answers, p->answers + 1);
    PULSE_SET(p->broker_incarnation, pulse_little(packet + 24, 8));
    PULSE_SET(p->broker_version, (uint32_t)pulse_little(packet + 32, 4));
    p->answered_ns = p->now_ns;
    p->recreate_wait_ns = 0;
    if (packet[4] == 2) {
        pulse_flag(p, PULSE_EVICTED | PULSE_ANSWERED, PULSE_REFUSED | PULSE_SILENT | PULSE_UNKNOWN);
        PULSE_SET(p->lease_until, 0);
    } else if (packet[4] == 1) {
        pulse_flag(p, PULSE_UNKNOWN | PULSE_ANSWERED, PULSE_REFUSED | PULSE_SILENT);
    } else if (packet[4] == 0) {
        pulse_flag(p, PULSE_ANSWERED, PULSE_REFUSED | PULSE_SILENT | PULSE_UNKNOWN);
        pulse_renew(p, sent_ns);
    }
}

/* --- the socket ------------------------------------------------------------------------------- */

static void pulse_set_option(pulse_t *p, int option, int value) {
    p->zmq.setsockopt(p->socket, option, &value, sizeof value);
}

static void pulse_connect(pulse_t *p) {
    int64_t limit = 4096;
    p->socket = p->zmq.socket(p->context, DENOAGENTS_ZMQ_DEALER);
    if (!p->socket) return;                             /* no descriptors left: the next round tries again */
    pulse_set_option(p, DENOAGENTS_ZMQ_LINGER, 0);
    pulse_set_option(p, DENOAGENTS_ZMQ_SNDHWM, 4);
    pulse_set_option(p, DENOAGENTS_ZMQ_RCVHWM, 64);
    pulse_set_option(p, DENOAGENTS_ZMQ_IMMEDIATE, 1);   /* no queue to nobody: a beat is for now */
    if (p->host[0] && strchr(p->host, ':')) pulse_set_option(p, DENOAGENTS_ZMQ_IPV6, 1);
    p->zmq.setsockopt(p->socket, DENOAGENTS_ZMQ_MAXMSGSIZE, &limit, sizeof limit);
    if (p->zmq.connect(p->socket, p->endpoint)) { p->zmq.close(p->socket); p->socket = NULL; }
}

static void pulse_send_beat(pulse_t *p) {
    unsigned char packet[PULSE_BEAT_SIZE] = {0};
    int64_t age, lag = __atomic_exchange_n(&p->worst_lag_ns, 0, __ATOMIC_ACQ_REL), turn = 0;
    int64_t late = p->now_ns - p->next_beat_ns, sent = pulse_now();
    uint32_t flags = 0;
    int i;
    age = sent - PULSE_GET(p->ticked_ns);
    if (age < 0) age = 0;
    if (watch_depth(p->watch)) for (i = 0; i < WATCH_DEPTH; i++) if (p->held_ns[i] > turn) turn = p->held_ns[i];
    if (age > PULSE_STALE_NS) flags |= PULSE_BEAT_BLOCKED;
    if (sent > PULSE_GET(p->lease_until)) flags |= PULSE_BEAT_NO_LEASE;
    if (PULSE_GET(p->leaving)) flags |= PULSE_BEAT_LEAVING;
#define PULSE_US(ns) ((ns) / 1000 > 0xFFFFFFFFLL ? 0xFFFFFFFFULL : (uint64_t)((ns) / 1000))
    pulse_put(packet, p->magic, 2);
    packet[2] = p->wire_version;
    packet[3] = p->beat_kind;
    pulse_put(packet + 4, flags, 4);
    pulse_put(packet + 8, p->incarnation, 8);
    pulse_put(packet + 16, (uint64_t)sent, 8);
    pulse_put(packet + 24, PULSE_US(age), 4);
    pulse_put(packet + 28, PULSE_US(lag), 4);
    pulse_put(packet + 32, PULSE_US(late < 0 ? 0 : late), 4);
    pulse_put(packet + 36, PULSE_US(turn), 4);
    pulse_put(packet + 40, p->beats + 1, 8);
#undef PULSE_US
    p->next_beat_ns += p->beat_ns;
    if (p->next_beat_ns <= p->now_ns) p->next_beat_ns = p->now_ns + p->beat_ns;
    if (!p->socket) return;
    p->sent_ns = sent;                                  /* before it is out: its answer must find it */
    if (p->zmq.send(p->socket, packet, sizeof packet, DENOAGENTS_ZMQ_DONTWAIT) == (int)sizeof packet)
        PULSE_SET(p->beats, p->beats + 1);
}

static void pulse_receive(pulse_t *p) {
    unsigned char packet[64];
    int budget;
    for (budget = 0; budget < 64 && p->socket; budget++) {
        int size = p->zmq.recv(p->socket, packet, sizeof packet, DENOAGENTS_ZMQ_DONTWAIT);
        if (size < 0) return;
        if (size == PULSE_ANSWER_SIZE) pulse_answer(p, packet);     /* a longer one says so in `size` */
    }
}

/* --- the probe: does anybody listen? ---------------------------------------------------------- */

static void pulse_resolve(pulse_t *p) {
    struct addrinfo hints, *found = NULL;
    memset(&hints, 0, sizeof hints);
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_family = strchr(p->host, ':') ? AF_INET6 : AF_INET;    /* what the zmq socket uses */
    if (getaddrinfo(p->host, p->port, &hints, &found) || !found) return;
    if (found->ai_addrlen <= sizeof p->address) {
        memcpy(&p->address, found->ai_addr, found->ai_addrlen);
        p->address_size = found->ai_addrlen;
    }
    freeaddrinfo(found);
}

static void pulse_end_probe(pulse_t *p, int error) {
    if (p->probe >= 0) close(p->probe);
    p->probe = -1;
    if (error == ECONNREFUSED) pulse_refused(p);
    else pulse_flag(p, PULSE_SILENT, PULSE_REFUSED | PULSE_ANSWERED);
}

static void pulse_start_probe(pulse_t *p) {
    int is_late = p->now_ns - p->proof_ns > p->replace_after_ns;    /* it can renew nothing any more */
    p->next_probe_ns = p->now_ns + (is_late ? 10 : 1) * p->beat_ns;
    if (!p->address_size) pulse_resolve(p);
    if (!p->address_size) { pulse_flag(p, PULSE_SILENT, PULSE_REFUSED | PULSE_ANSWERED); return; }
    p->probe = socket(p->address.ss_family, SOCK_STREAM, 0);
    if (p->probe < 0) return;
    fcntl(p->probe, F_SETFD, FD_CLOEXEC);
    fcntl(p->probe, F_SETFL, O_NONBLOCK);
    p->probe_started_ns = pulse_now();
    if (!connect(p->probe, (struct sockaddr *)&p->address, p->address_size)) pulse_end_probe(p, 0);
    else if (errno != EINPROGRESS) pulse_end_probe(p, errno);
}

static void pulse_read_probe(pulse_t *p) {
    int error = 0;
    socklen_t size = sizeof error;
    if (getsockopt(p->probe, SOL_SOCKET, SO_ERROR, &error, &size)) error = errno;
    pulse_end_probe(p, error);
}

/* --- the thread ------------------------------------------------------------------------------- */

static void pulse_keep_contact(pulse_t *p) {
    int64_t heard = p->answered_ns > p->started_ns ? p->answered_ns : p->started_ns;
    int is_silent = p->now_ns - heard > 2 * p->beat_ns + p->beat_ns / 2;
    if (!p->socket) pulse_connect(p);
    if (p->now_ns >= p->next_beat_ns) pulse_send_beat(p);
    if (p->probe >= 0 && p->now_ns - p->probe_started_ns > PULSE_PROBE_NS) pulse_end_probe(p, ETIMEDOUT);
    if (is_silent && p->probe < 0 && p->now_ns >= p->next_probe_ns) pulse_start_probe(p);
    if (!is_silent || p->now_ns < p->recreate_ns) return;
    if (p->recreate_wait_ns && p->socket) { p->zmq.close(p->socket); p->socket = NULL; pulse_connect(p); }
    p->recreate_wait_ns = p->recreate_wait_ns ? 2 * p->recreate_wait_ns : 1000 * PULSE_MS;
    if (p->recreate_wait_ns > 10000 * PULSE_MS) p->recreate_wait_ns = 10000 * PULSE_MS;
    p->recreate_ns = p->now_ns + p->recreate_wait_ns;
}

static void pulse_sleep(pulse_t *p) {
    int64_t wait = watch_depth(p->watch) || PULSE_GET(p->open_report) ? PULSE_BUSY_NS : PULSE_IDLE_NS;
    int64_t beat = p->next_beat_ns - pulse_now();
    char drained[16];
    ssize_t ignored;
    if (p->endpoint[0]) {
        denoagents_zmq_pollitem items[3];
        int count = 0, probe_at = -1, socket_at = -1;
        if (beat < wait) wait = beat;
        items[count].socket = NULL; items[count].fd = p->wake_read;
        items[count].events = DENOAGENTS_ZMQ_POLLIN; items[count++].revents = 0;
        if (p->socket) {
            socket_at = count;
            items[count].socket = p->socket; items[count].fd = 0;
            items[count].events = DENOAGENTS_ZMQ_POLLIN; items[count++].revents = 0;
        }
        if (p->probe >= 0) {
            probe_at = count;
            items[count].socket = NULL; items[count].fd = p->probe;
            items[count].events = DENOAGENTS_ZMQ_POLLOUT; items[count++].revents = 0;
        }
        /* Rounded up: a wait cut to 0 ms would spin until the beat is due. */
        p->zmq.poll(items, count, wait <= 0 ? 0 : (long)((wait + PULSE_MS - 1) / PULSE_MS));
        if (probe_at >= 0 && items[probe_at].revents) pulse_read_probe(p);
        (void)socket_at;
    } else {
        struct pollfd wake = {p->wake_read, POLLIN, 0};
        poll(&wake, 1, (int)(wait / PULSE_MS));
    }
    ignored = read(p->wake_read, drained, sizeof drained);
    (void)ignored;
}

static void *pulse_run(void *argument) {
    pulse_t *p = (pulse_t *)argument;
    int64_t before = pulse_now();
    if (p->endpoint[0]) p->context = p->given_context ? p->given_context : p->zmq.ctx_new();
    while (!PULSE_GET(p->stopping)) {
        p->now_ns = pulse_now();
        p->round_ns = p->now_ns - before;
        if (p->round_ns > PULSE_STEP_NS) p->round_ns = PULSE_STEP_NS;
        if (p->round_ns < 0) p->round_ns = 0;
        before = p->now_ns;
        pulse_watch_turn(p);
        pulse_watch_loop(p);
        if (p->endpoint[0]) {
            pulse_receive(p);
            pulse_keep_contact(p);
        }
        pulse_sleep(p);
    }
    if (p->probe >= 0) close(p->probe);
    if (p->socket) p->zmq.close(p->socket);
    if (p->context && !p->given_context) p->zmq.ctx_term(p->context);
    p->probe = -1;
    p->socket = p->context = NULL;
    return NULL;
}

static int pulse_start(pulse_t *p) {
    pthread_attr_t attributes;
    sigset_t all, before;
    int rc;
    p->started_ns = p->proof_ns = p->next_beat_ns = pulse_now();
    p->answered_ns = p->sent_ns = p->recreate_ns = p->recreate_wait_ns = p->next_probe_ns = 0;
    p->blocked_ns = p->reported_ns = 0;
    p->probe = -1;
    p->address_size = 0;
    p->ticked_ns = p->started_ns;
    p->seen_ticks = p->ticks;
    p->open_report = 0;
    p->stopping = 0;
    p->flags = 0;
    /* Signals belong to Python's main thread; the threads that libzmq starts from ours inherit the mask. */
    sigfillset(&all);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 512 * 1024);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = pthread_create(&p->thread, &attributes, pulse_run, p);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    p->is_running = rc == 0;
    return rc;
}

static void pulse_stop(pulse_t *p) {
    ssize_t ignored;
    if (!p->is_running) return;
    PULSE_SET(p->stopping, 1);
    ignored = write(p->wake_write, "x", 1);
    (void)ignored;
    pthread_join(p->thread, NULL);
    p->is_running = 0;
}

#endif
