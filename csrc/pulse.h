/* The beating thread: heartbeats, the lease, and the watch over the running turn, without the GIL.
 *
 * Rules: this thread alone touches its socket and its probe. It takes no lock and no Python object.
 */
#ifndef DENOAGENTS_PULSE_H
#define DENOAGENTS_PULSE_H

#include "pulse_lease.h"

/* --- the thread ------------------------------------------------------------------------------- */

static void pulse_keep_contact(pulse_t *p) {
    int64_t heard = p->answered_ns > p->started_ns ? p->answered_ns : p->started_ns;
    int is_silent = p->now_ns - heard > 2 * p->beat_ns + p->beat_ns / 2;
    if (!p->socket) pulse_connect(p);
    if (p->now_ns >= p->next_beat_ns) pulse_send_beat(p);
    if (p->probe >= 0 && p->now_ns - p->probe_started_ns > PULSE_PROBE_NS)
        pulse_end_probe(p, ETIMEDOUT);
    if (is_silent && p->probe < 0 && p->now_ns >= p->next_probe_ns) pulse_start_probe(p);
    if (!is_silent || p->now_ns < p->recreate_ns) return;
    if (p->recreate_wait_ns && p->socket) {
        p->zmq.close(p->socket);
        pulse_connect(p);
    }
    p->recreate_wait_ns = p->recreate_wait_ns ? 2 * p->recreate_wait_ns : 1000 * PULSE_MS;
    if (p->recreate_wait_ns > 10000 * PULSE_MS) p->recreate_wait_ns = 10000 * PULSE_MS;
    p->recreate_ns = p->now_ns + p->recreate_wait_ns;
}

static void pulse_sleep(pulse_t *p) {
    int is_busy = watch_depth(p->watch) || PULSE_GET(p->open_report);
    int64_t wait = is_busy ? PULSE_BUSY_NS : PULSE_IDLE_NS;
    int64_t beat = p->next_beat_ns - pulse_now();
    char drained[16];
    ssize_t ignored;
    if (p->endpoint[0]) {
        denoagents_zmq_pollitem items[3];
        int count = 0, probe_at = -1;
        if (beat < wait) wait = beat;
        items[count].socket = NULL; items[count].fd = p->wake_read;
        items[count].events = DENOAGENTS_ZMQ_POLLIN; items[count++].revents = 0;
        if (p->socket) {
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
    if (p->endpoint[0]) pulse_resolve(p);
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
    /* Signals belong to Python's main thread; threads that libzmq starts from ours inherit this. */
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
