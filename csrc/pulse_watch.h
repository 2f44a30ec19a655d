/* The beating thread's eye on the running turn and the loop, and the lines it writes itself.
 *
 * Rules: time counts against a turn or the loop only as far as this thread ran, in steps of at most
 * PULSE_STEP_NS, so that a process that was frozen and wakes is not taken for one that blocks.
 * Nothing here waits: a stderr that takes no line loses it.
 */
#ifndef DENOAGENTS_PULSE_WATCH_H
#define DENOAGENTS_PULSE_WATCH_H

#include "pulse_state.h"

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
    struct pollfd standard_error = {2, POLLOUT, 0};
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
                    "{\"event\": \"%s\", \"actor\": \"%s\", \"method\": \"%s\", "
                    "\"held_ms\": %lld, %s\"pid\": %ld, \"level\": \"%s\", "
                    "\"timestamp\": \"%s.%06ldZ\"}\n",
                    event, actor, method, (long long)(report->held_ns / PULSE_MS), more,
                    (long)getpid(), level, stamp, ts.tv_nsec / 1000);
    if (size >= (int)sizeof line) size = (int)sizeof line - 1;
    /* A pipe that polls writable takes a line of this size at once. */
    if (poll(&standard_error, 1, 0) != 1 || !(standard_error.revents & POLLOUT)) return;
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
    if (pulse_close_report(p, p->report.step))
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
    for (i = depth; i < WATCH_DEPTH; i++) p->held_ns[i] = 0;
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
    uint64_t before = PULSE_GET(p->open_report), open;
    int depth = pulse_look(p, frames);
    open = PULSE_GET(p->open_report);
    if (!open || open != before) return;
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
    if (p->blocked_ns >= p->block_limit_ns && p->ends_process) pulse_end_process(p);
}

#endif
