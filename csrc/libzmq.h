/* The functions of libzmq that denoagents calls, found at run time in the library that pyzmq uses.

   Nothing is linked: `dlopen` of pyzmq's own compiled backend module (or of a libzmq itself) and `dlsym`
   through its handle give the one libzmq of the process. Rules: the table is filled once and read only
   afterwards; the handle is never closed. Sockets belong to one thread, contexts to all of them. */
#ifndef DENOAGENTS_LIBZMQ_H
#define DENOAGENTS_LIBZMQ_H

#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* The ABI of libzmq 4.x: a message is 64 opaque bytes, aligned like a pointer. */
typedef union { unsigned char opaque[64]; void *align; } denoagents_zmq_msg;
typedef struct { void *socket; int fd; short events; short revents; } denoagents_zmq_pollitem;
typedef void (*denoagents_zmq_free)(void *data, void *hint);

enum {
    DENOAGENTS_ZMQ_PAIR = 0, DENOAGENTS_ZMQ_REP = 4,                    /* socket types */
    DENOAGENTS_ZMQ_DEALER = 5, DENOAGENTS_ZMQ_ROUTER = 6,
    DENOAGENTS_ZMQ_DONTWAIT = 1, DENOAGENTS_ZMQ_SNDMORE = 2,            /* send and receive flags */
    DENOAGENTS_ZMQ_POLLIN = 1, DENOAGENTS_ZMQ_POLLOUT = 2,              /* events */
    DENOAGENTS_ZMQ_FD = 14, DENOAGENTS_ZMQ_EVENTS = 15,                 /* options from here on */
    DENOAGENTS_ZMQ_LINGER = 17, DENOAGENTS_ZMQ_RECONNECT_IVL = 18, DENOAGENTS_ZMQ_BACKLOG = 19,
    DENOAGENTS_ZMQ_MAXMSGSIZE = 22, DENOAGENTS_ZMQ_SNDHWM = 23, DENOAGENTS_ZMQ_RCVHWM = 24,
    DENOAGENTS_ZMQ_LAST_ENDPOINT = 32, DENOAGENTS_ZMQ_ROUTER_MANDATORY = 33,
    DENOAGENTS_ZMQ_IMMEDIATE = 39, DENOAGENTS_ZMQ_IPV6 = 42, DENOAGENTS_ZMQ_CURVE_SERVER = 47,
    DENOAGENTS_ZMQ_CURVE_PUBLICKEY = 48, DENOAGENTS_ZMQ_CURVE_SECRETKEY = 49,
    DENOAGENTS_ZMQ_CURVE_SERVERKEY = 50, DENOAGENTS_ZMQ_ZAP_DOMAIN = 55,
    DENOAGENTS_ZMQ_ZAP_ENFORCE_DOMAIN = 93, DENOAGENTS_ZMQ_HANDSHAKE_IVL = 66,
    DENOAGENTS_ZMQ_HEARTBEAT_IVL = 75, DENOAGENTS_ZMQ_HEARTBEAT_TIMEOUT = 77,
    DENOAGENTS_ZMQ_CONNECT_TIMEOUT = 79, DENOAGENTS_ZMQ_TCP_MAXRT = 80,
    DENOAGENTS_ZMQ_IO_THREADS = 1, DENOAGENTS_ZMQ_MAX_SOCKETS = 2,      /* of a context */
    DENOAGENTS_ZMQ_HAUSNUMERO = 156384712                                /* where zmq's own errnos start */
};

struct denoagents_zmq {
    void (*version)(int *major, int *minor, int *patch);
    int (*get_errno)(void);
    const char *(*strerror)(int code);
    void *(*ctx_new)(void);
    int (*ctx_set)(void *context, int option, int value);
    int (*ctx_shutdown)(void *context);
    int (*ctx_term)(void *context);
    void *(*socket)(void *context, int type);
    int (*close)(void *socket);
    int (*setsockopt)(void *socket, int option, const void *value, size_t size);
    int (*getsockopt)(void *socket, int option, void *value, size_t *size);
    int (*bind)(void *socket, const char *endpoint);
    int (*connect)(void *socket, const char *endpoint);
    int (*disconnect)(void *socket, const char *endpoint);
    int (*msg_init)(denoagents_zmq_msg *message);
    int (*msg_init_size)(denoagents_zmq_msg *message, size_t size);
    int (*msg_init_data)(denoagents_zmq_msg *message, void *data, size_t size,
                         denoagents_zmq_free free_data, void *hint);
    int (*msg_send)(denoagents_zmq_msg *message, void *socket, int flags);
    int (*msg_recv)(denoagents_zmq_msg *message, void *socket, int flags);
    int (*msg_close)(denoagents_zmq_msg *message);
    int (*msg_move)(denoagents_zmq_msg *target, denoagents_zmq_msg *source);
    void *(*msg_data)(denoagents_zmq_msg *message);
    size_t (*msg_size)(const denoagents_zmq_msg *message);
    int (*msg_more)(const denoagents_zmq_msg *message);
    int (*send)(void *socket, const void *data, size_t size, int flags);
    int (*recv)(void *socket, void *buffer, size_t size, int flags);
    int (*poll)(denoagents_zmq_pollitem *items, int count, long timeout_ms);
    const char *(*msg_gets)(const denoagents_zmq_msg *message, const char *property);
    int (*socket_monitor)(void *socket, const char *endpoint, int events);
    int (*curve_keypair)(char *public_key, char *secret_key);           /* 41 bytes each, Z85 */
    int (*curve_public)(char *public_key, const char *secret_key);
    char *(*z85_encode)(char *out, const uint8_t *data, size_t size);
    uint8_t *(*z85_decode)(uint8_t *out, const char *text);
    int (*has)(const char *capability);
};

/* Fills `out` from the shared object at `path`: 0, or -1 when it cannot be opened, or is no libzmq 4.x
   with every symbol (then `dlerror` may say more). Calling it again is harmless. */
static inline int denoagents_zmq_open(const char *path, struct denoagents_zmq *out) {
    struct { const char *name; size_t offset; } symbols[] = {
#define DENOAGENTS_SYMBOL(name, field) {name, offsetof(struct denoagents_zmq, field)}
        DENOAGENTS_SYMBOL("zmq_version", version),
        DENOAGENTS_SYMBOL("zmq_errno", get_errno),
        DENOAGENTS_SYMBOL("zmq_strerror", strerror),
        DENOAGENTS_SYMBOL("zmq_ctx_new", ctx_new),
        DENOAGENTS_SYMBOL("zmq_ctx_set", ctx_set),
        DENOAGENTS_SYMBOL("zmq_ctx_shutdown", ctx_shutdown),
        DENOAGENTS_SYMBOL("zmq_ctx_term", ctx_term),
        DENOAGENTS_SYMBOL("zmq_socket", socket),
        DENOAGENTS_SYMBOL("zmq_close", close),
        DENOAGENTS_SYMBOL("zmq_setsockopt", setsockopt),
        DENOAGENTS_SYMBOL("zmq_getsockopt", getsockopt),
        DENOAGENTS_SYMBOL("zmq_bind", bind),
        DENOAGENTS_SYMBOL("zmq_connect", connect),
        DENOAGENTS_SYMBOL("zmq_disconnect", disconnect),
        DENOAGENTS_SYMBOL("zmq_msg_init", msg_init),
        DENOAGENTS_SYMBOL("zmq_msg_init_size", msg_init_size),
        DENOAGENTS_SYMBOL("zmq_msg_init_data", msg_init_data),
        DENOAGENTS_SYMBOL("zmq_msg_send", msg_send),
        DENOAGENTS_SYMBOL("zmq_msg_recv", msg_recv),
        DENOAGENTS_SYMBOL("zmq_msg_close", msg_close),
        DENOAGENTS_SYMBOL("zmq_msg_move", msg_move),
        DENOAGENTS_SYMBOL("zmq_msg_data", msg_data),
        DENOAGENTS_SYMBOL("zmq_msg_size", msg_size),
        DENOAGENTS_SYMBOL("zmq_msg_more", msg_more),
        DENOAGENTS_SYMBOL("zmq_send", send),
        DENOAGENTS_SYMBOL("zmq_recv", recv),
        DENOAGENTS_SYMBOL("zmq_poll", poll),
        DENOAGENTS_SYMBOL("zmq_msg_gets", msg_gets),
        DENOAGENTS_SYMBOL("zmq_socket_monitor", socket_monitor),
        DENOAGENTS_SYMBOL("zmq_curve_keypair", curve_keypair),
        DENOAGENTS_SYMBOL("zmq_curve_public", curve_public),
        DENOAGENTS_SYMBOL("zmq_z85_encode", z85_encode),
        DENOAGENTS_SYMBOL("zmq_z85_decode", z85_decode),
        DENOAGENTS_SYMBOL("zmq_has", has),
#undef DENOAGENTS_SYMBOL
    };
    struct denoagents_zmq found;
    int major = 0, minor = 0, patch = 0;
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!handle) return -1;
    for (size_t i = 0; i < sizeof symbols / sizeof symbols[0]; i++) {
        void *symbol = dlsym(handle, symbols[i].name);
        if (!symbol) return -1;
        memcpy((char *)&found + symbols[i].offset, &symbol, sizeof symbol);
    }
    found.version(&major, &minor, &patch);
    if (major != 4) return -1;
    *out = found;
    return 0;
}

#endif
