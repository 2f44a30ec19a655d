/* The header of a packet: 48 bytes, little-endian, in front of the body in one ZeroMQ message part.

     0 u16 magic      2 u8 wire version   3 u8 kind      4 u8 flags      5 u8[3] zero
     8 u64 seq       16 u64 ack          24 i64 now_ns  32 u32 placement version
    36 u32 count     40 u32 raw length   44 u32 checksum of bytes 0..43 and of the body

   Magic, version and kind keep their places for ever; HELLO, WELCOME and REFUSED keep this whole layout.
   The checksum finds damage, not malice. Both supported architectures are little-endian. */
#ifndef DENOAGENTS_PACKET_H
#define DENOAGENTS_PACKET_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define DENOAGENTS_MAGIC 0x4164u /* "dA" */
#define DENOAGENTS_WIRE_VERSION 1u
#define DENOAGENTS_HEADER 48

typedef struct {
    uint16_t magic;
    uint8_t version, kind, flags, zero[3];
    uint64_t seq, ack;
    int64_t now_ns;
    uint32_t placement_version, count, raw_length, checksum;
} denoagents_header;

static inline uint64_t denoagents_mix(uint64_t lane, uint64_t word) {
    lane = (lane ^ word) * 0x9E3779B97F4A7C15ull;
    return lane ^ (lane >> 29);
}

/* Four independent lanes of eight bytes, folded to 32 bits; one flipped bit always changes the result's lane. */
static inline uint32_t denoagents_checksum(const void *header, const void *body, size_t size) {
    uint64_t lanes[4] = {0x243F6A8885A308D3ull, 0x13198A2E03707344ull, size, 0xA4093822299F31D0ull};
    uint64_t words[4];
    const unsigned char *at = body;
    memcpy(words, header, 32);
    for (int i = 0; i < 4; i++) lanes[i] = denoagents_mix(lanes[i], words[i]);
    words[1] = 0;
    memcpy(words, (const unsigned char *)header + 32, 12);
    lanes[0] = denoagents_mix(lanes[0], words[0]);
    lanes[1] = denoagents_mix(lanes[1], words[1]);
    for (; size >= 32; size -= 32, at += 32) {
        memcpy(words, at, 32);
        for (int i = 0; i < 4; i++) lanes[i] = denoagents_mix(lanes[i], words[i]);
    }
    if (size) {
        memset(words, 0, sizeof words);
        memcpy(words, at, size);
        for (int i = 0; i < 4; i++) lanes[i] = denoagents_mix(lanes[i], words[i]);
    }
    for (int i = 1; i < 4; i++) lanes[0] = denoagents_mix(lanes[0], lanes[i]);
    return (uint32_t)(lanes[0] ^ (lanes[0] >> 32));
}

#endif
