/* The beating thread's talk with the broker: beats, answers, the lease, and the probe.
 *
 * Rules: a lease is renewed from the time at which something was sent, never from when its answer
 * came.
 * Layouts: denoagents/cluster/beat.py.
 */
#ifndef DENOAGENTS_PULSE_LEASE_H
#define DENOAGENTS_PULSE_LEASE_H

#include "pulse_watch.h"

/* --- the lease -------------------------------------------------------------------------------- */

/* `proof_ns`: a time at which the broker certainly had not replaced us, or could not. */
static void pulse_renew(pulse_t *p, int64_t proof_ns) {
    if (PULSE_GET(p->flags) & PULSE_EVICTED) return;
    if (p->blocked_ns >= p->block_limit_ns) return;
    if (proof_ns > p->proof_ns) p->proof_ns = proof_ns;
    if (proof_ns + p->stop_after_ns > PULSE_GET(p->lease_until))
        PULSE_SET(p->lease_until, proof_ns + p->stop_after_ns);
}

/* Nobody listens. That proves we live on only if no broker had the time to replace us since the
 * last proof; otherwise one may have done so and died, and only its successor's answer can tell. */
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
    if (pulse_little(packet, 2) != p->magic || packet[2] != p->wire_version) return;
    if (packet[3] != p->answer_kind || pulse_little(packet + 8, 8) != p->incarnation) return;
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
    if (!p->socket) return;                             /* no descriptor left: next round again */
    pulse_set_option(p, DENOAGENTS_ZMQ_LINGER, 0);
    pulse_set_option(p, DENOAGENTS_ZMQ_SNDHWM, 4);
    pulse_set_option(p, DENOAGENTS_ZMQ_RCVHWM, 64);
    pulse_set_option(p, DENOAGENTS_ZMQ_IMMEDIATE, 1);   /* no queue to nobody: a beat is for now */
    if (p->host[0] && strchr(p->host, ':')) pulse_set_option(p, DENOAGENTS_ZMQ_IPV6, 1);
    p->zmq.setsockopt(p->socket, DENOAGENTS_ZMQ_MAXMSGSIZE, &limit, sizeof limit);
    if (p->is_secured && (
            p->zmq.setsockopt(p->socket, DENOAGENTS_ZMQ_CURVE_PUBLICKEY, p->public_key, 32) ||
            p->zmq.setsockopt(p->socket, DENOAGENTS_ZMQ_CURVE_SECRETKEY, p->secret_key, 32) ||
            p->zmq.setsockopt(p->socket, DENOAGENTS_ZMQ_CURVE_SERVERKEY, p->server_key, 32))) {
        p->zmq.close(p->socket);                        /* rather no beat than one in the open */
        p->socket = NULL;
        return;
    }
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
    for (i = 0; i < WATCH_DEPTH; i++) if (p->held_ns[i] > turn) turn = p->held_ns[i];
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
    p->sent_ns = sent;                                  /* first: its answer must find it */
    if (p->zmq.send(p->socket, packet, sizeof packet, DENOAGENTS_ZMQ_DONTWAIT) > 0)
        PULSE_SET(p->beats, p->beats + 1);
    else if (!p->beats)                                 /* the connection is being made */
        p->next_beat_ns = p->now_ns + 2 * PULSE_MS;
}

static void pulse_receive(pulse_t *p) {
    unsigned char packet[64];
    int budget;
    for (budget = 0; budget < 64 && p->socket; budget++) {
        int size = p->zmq.recv(p->socket, packet, sizeof packet, DENOAGENTS_ZMQ_DONTWAIT);
        if (size < 0) return;
        if (size == PULSE_ANSWER_SIZE) pulse_answer(p, packet);   /* `size` counts all of it */
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
    int is_late = p->now_ns - p->proof_ns > p->replace_after_ns;    /* then it can renew nothing */
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

#endif
