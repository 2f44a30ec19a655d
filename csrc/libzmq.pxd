"""What csrc/libzmq.h declares, for the Cython parts."""

cdef extern from "libzmq.h" nogil:
    ctypedef struct zmq_msg "denoagents_zmq_msg":
        pass
    struct denoagents_zmq:
        int (*get_errno)() noexcept nogil
        const char *(*strerror)(int) noexcept nogil
        void (*version)(int *, int *, int *) noexcept nogil
        void *(*ctx_new)() noexcept nogil
        int (*ctx_set)(void *, int, int) noexcept nogil
        int (*ctx_term)(void *) noexcept nogil
        void *(*socket)(void *, int) noexcept nogil
        int (*close)(void *) noexcept nogil
        int (*setsockopt)(void *, int, const void *, size_t) noexcept nogil
        int (*getsockopt)(void *, int, void *, size_t *) noexcept nogil
        int (*bind)(void *, const char *) noexcept nogil
        int (*connect)(void *, const char *) noexcept nogil
        int (*msg_init)(zmq_msg *) noexcept nogil
        int (*msg_init_size)(zmq_msg *, size_t) noexcept nogil
        int (*msg_send)(zmq_msg *, void *, int) noexcept nogil
        int (*msg_recv)(zmq_msg *, void *, int) noexcept nogil
        int (*msg_close)(zmq_msg *) noexcept nogil
        int (*msg_move)(zmq_msg *, zmq_msg *) noexcept nogil
        void *(*msg_data)(zmq_msg *) noexcept nogil
        size_t (*msg_size)(const zmq_msg *) noexcept nogil
        int (*msg_more)(const zmq_msg *) noexcept nogil
        int (*send)(void *, const void *, size_t, int) noexcept nogil
        const char *(*msg_gets)(const zmq_msg *, const char *) noexcept nogil
        int (*socket_monitor)(void *, const char *, int) noexcept nogil
        int (*curve_keypair)(char *, char *) noexcept nogil
        int (*curve_public)(char *, const char *) noexcept nogil
        char *(*z85_encode)(char *, const unsigned char *, size_t) noexcept nogil
        unsigned char *(*z85_decode)(unsigned char *, const char *) noexcept nogil
        int (*has)(const char *) noexcept nogil
    int denoagents_zmq_open(const char *path, denoagents_zmq *out)
    int PAIR "DENOAGENTS_ZMQ_PAIR"
    int REP "DENOAGENTS_ZMQ_REP"
    int DEALER "DENOAGENTS_ZMQ_DEALER"
    int ROUTER "DENOAGENTS_ZMQ_ROUTER"
    int DONTWAIT "DENOAGENTS_ZMQ_DONTWAIT"
    int SNDMORE "DENOAGENTS_ZMQ_SNDMORE"
    int POLLIN "DENOAGENTS_ZMQ_POLLIN"
    int POLLOUT "DENOAGENTS_ZMQ_POLLOUT"
    int FD "DENOAGENTS_ZMQ_FD"
    int EVENTS "DENOAGENTS_ZMQ_EVENTS"
    int LINGER "DENOAGENTS_ZMQ_LINGER"
    int RECONNECT_IVL "DENOAGENTS_ZMQ_RECONNECT_IVL"
    int BACKLOG "DENOAGENTS_ZMQ_BACKLOG"
    int MAXMSGSIZE "DENOAGENTS_ZMQ_MAXMSGSIZE"
    int SNDHWM "DENOAGENTS_ZMQ_SNDHWM"
    int RCVHWM "DENOAGENTS_ZMQ_RCVHWM"
    int LAST_ENDPOINT "DENOAGENTS_ZMQ_LAST_ENDPOINT"
    int ROUTER_MANDATORY "DENOAGENTS_ZMQ_ROUTER_MANDATORY"
    int IMMEDIATE "DENOAGENTS_ZMQ_IMMEDIATE"
    int CURVE_SERVER "DENOAGENTS_ZMQ_CURVE_SERVER"
    int CURVE_PUBLICKEY "DENOAGENTS_ZMQ_CURVE_PUBLICKEY"
    int CURVE_SECRETKEY "DENOAGENTS_ZMQ_CURVE_SECRETKEY"
    int CURVE_SERVERKEY "DENOAGENTS_ZMQ_CURVE_SERVERKEY"
    int ZAP_DOMAIN "DENOAGENTS_ZMQ_ZAP_DOMAIN"
    int ZAP_ENFORCE_DOMAIN "DENOAGENTS_ZMQ_ZAP_ENFORCE_DOMAIN"
    int HANDSHAKE_IVL "DENOAGENTS_ZMQ_HANDSHAKE_IVL"
    int HEARTBEAT_IVL "DENOAGENTS_ZMQ_HEARTBEAT_IVL"
    int HEARTBEAT_TIMEOUT "DENOAGENTS_ZMQ_HEARTBEAT_TIMEOUT"
    int IO_THREADS "DENOAGENTS_ZMQ_IO_THREADS"
    int MAX_SOCKETS "DENOAGENTS_ZMQ_MAX_SOCKETS"
    int HAUSNUMERO "DENOAGENTS_ZMQ_HAUSNUMERO"
