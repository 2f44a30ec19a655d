/* The running turn, written by the loop's thread and read by the pulse's thread without a lock.
 *
 * Rules: one writer. A seqlock: the sequence is odd while the writer writes; a reader that saw it
 * change reads again, a bounded number of times. Turns nest when a handler's call to an idle local
 * actor runs at once: this is a small stack; deeper turns are counted, the innermost kept answers.
 */
#ifndef DENOAGENTS_WATCH_H
#define DENOAGENTS_WATCH_H

#include <stdint.h>
#include <string.h>

#define WATCH_NAME 95                   /* bytes kept of each UTF-8 name */
#define WATCH_DEPTH 8

typedef struct {
    int64_t since_ns;                   /* when this step began */
    uint64_t step;                      /* its number, from 1; never used twice */
    uint8_t actor_size, method_size;
    char actor[WATCH_NAME];
    char method[WATCH_NAME];
} watch_frame_t;

typedef struct {
    uint64_t sequence;                  /* odd: being written */
    uint64_t steps;                     /* begun so far */
    uint32_t depth;                     /* running now, nested; 0 = the loop is between turns */
    watch_frame_t frames[WATCH_DEPTH];
} watch_t;

/* Up to WATCH_NAME bytes, in overlapping words: three times as fast as what memcpy becomes here. */
static inline void watch_copy(char *to, const char *from, size_t size) {
    size_t at;
    if (size >= 16) {
        for (at = 0; at + 16 < size; at += 16) memcpy(to + at, from + at, 16);
        memcpy(to + size - 16, from + size - 16, 16);
    } else if (size >= 8) {
        memcpy(to, from, 8);
        memcpy(to + size - 8, from + size - 8, 8);
    } else if (size >= 4) {
        memcpy(to, from, 4);
        memcpy(to + size - 4, from + size - 4, 4);
    } else {
        for (at = 0; at < size; at++) to[at] = from[at];
    }
}

static inline void watch_open_write(watch_t *watch) {
    __atomic_store_n(&watch->sequence, watch->sequence + 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE);
}

static inline void watch_close_write(watch_t *watch) {
    __atomic_store_n(&watch->sequence, watch->sequence + 1, __ATOMIC_RELEASE);
}

static inline void watch_begin(watch_t *watch, const char *actor, size_t actor_size,
                               const char *method, size_t method_size, int64_t now) {
    uint64_t step = watch->steps + 1;
    watch_open_write(watch);
    watch->steps = step;
    if (watch->depth < WATCH_DEPTH) {
        watch_frame_t *frame = &watch->frames[watch->depth];
        if (actor_size > WATCH_NAME) actor_size = WATCH_NAME;
        if (method_size > WATCH_NAME) method_size = WATCH_NAME;
        frame->since_ns = now;
        frame->step = step;
        frame->actor_size = (uint8_t)actor_size;
        frame->method_size = (uint8_t)method_size;
        watch_copy(frame->actor, actor, actor_size);
        watch_copy(frame->method, method, method_size);
    }
    watch->depth++;
    watch_close_write(watch);
}

static inline void watch_end(watch_t *watch) {
    if (!watch->depth) return;
    watch_open_write(watch);
    watch->depth--;
    watch_close_write(watch);
}

/* How many turns are running; a hint, good enough to choose how long to sleep. */
static inline uint32_t watch_depth(watch_t *watch) {
    return __atomic_load_n(&watch->depth, __ATOMIC_RELAXED);
}

/* Copies the kept frames, outermost first; their number, or -1 if the writer never paused. */
static inline int watch_read(watch_t *watch, watch_frame_t *frames) {
    int attempt;
    for (attempt = 0; attempt < 64; attempt++) {
        uint64_t before = __atomic_load_n(&watch->sequence, __ATOMIC_ACQUIRE);
        uint32_t depth;
        if (before & 1) continue;
        depth = watch_depth(watch);
        if (depth > WATCH_DEPTH) depth = WATCH_DEPTH;
        memcpy(frames, watch->frames, depth * sizeof(watch_frame_t));
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (__atomic_load_n(&watch->sequence, __ATOMIC_RELAXED) == before) return (int)depth;
    }
    return -1;
}

#endif
