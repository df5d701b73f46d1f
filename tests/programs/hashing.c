/* Digests and checksums: MD5, SHA-1, CRC-32 and Adler, which rotate, swap and look up. */
#include "report.h"

#include <math.h>

enum { LONGEST = 4096 };
static unsigned char data[LONGEST + 128];

static uint32_t rotated(uint32_t x, unsigned by)
{
    return x << by | x >> (32 - by);
}

/* Pads in place to a multiple of 64 bytes, the length in bits at the end; the number of blocks. */
static size_t padded(size_t length, int big_endian)
{
    size_t blocks = (length + 8) / 64 + 1;
    uint64_t bits = length * 8;
    memset(data + length, 0, blocks * 64 - length);
    data[length] = 0x80;
    bits = big_endian ? __builtin_bswap64(bits) : bits;
    memcpy(data + blocks * 64 - 8, &bits, 8);
    return blocks;
}

static void md5(size_t length)
{
    static const unsigned char turns[4][4] = {{7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}};
    static uint32_t constants[64];
    uint32_t state[4] = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476};
    for (int i = 0; !constants[63] && i < 64; i++)
        constants[i] = (uint32_t)(int64_t)floor(fabs(sin(i + 1)) * 4294967296.0);
    for (size_t block = 0, blocks = padded(length, 0); block < blocks; block++) {
        uint32_t words[16], a = state[0], b = state[1], c = state[2], d = state[3];
        memcpy(words, data + block * 64, 64);
        for (unsigned i = 0; i < 64; i++) {
            uint32_t mixed, word;
            switch (i / 16) {
            case 0: mixed = (b & c) | (~b & d); word = i; break;
            case 1: mixed = (d & b) | (~d & c); word = 5 * i + 1; break;
            case 2: mixed = b ^ c ^ d; word = 3 * i + 5; break;
            default: mixed = c ^ (b | ~d); word = 7 * i; break;
            }
            uint32_t next = b + rotated(a + mixed + constants[i] + words[word % 16], turns[i / 16][i % 4]);
            a = d, d = c, c = b, b = next;
        }
        state[0] += a, state[1] += b, state[2] += c, state[3] += d;
    }
    for (int i = 0; i < 4; i++)
        value(state[i]);
}

static void sha1(size_t length)
{
    uint32_t state[5] = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0};
    for (size_t block = 0, blocks = padded(length, 1); block < blocks; block++) {
        uint32_t w[80], a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];
        memcpy(w, data + block * 64, 64);
        for (int i = 0; i < 80; i++)
            w[i] = i < 16 ? __builtin_bswap32(w[i]) : rotated(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
        for (int i = 0; i < 80; i++) {
            uint32_t mixed = i < 20 ? ((b & c) | (~b & d)) + 0x5A827999
                           : i < 40 ? (b ^ c ^ d) + 0x6ED9EBA1
                           : i < 60 ? ((b & c) | (b & d) | (c & d)) + 0x8F1BBCDC
                                    : (b ^ c ^ d) + 0xCA62C1D6;
            uint32_t next = rotated(a, 5) + mixed + e + w[i];
            e = d, d = c, c = rotated(b, 30), b = a, a = next;
        }
        state[0] += a, state[1] += b, state[2] += c, state[3] += d, state[4] += e;
    }
    for (int i = 0; i < 5; i++)
        value(state[i]);
}

static void checksums(size_t length)
{
    static uint32_t table[256];
    uint32_t crc = ~0u, low = 1, high = 0;
    for (uint32_t i = 0; !table[255] && i < 256; i++) {
        table[i] = i;
        for (int bit = 0; bit < 8; bit++)
            table[i] = table[i] >> 1 ^ (table[i] & 1 ? 0xEDB88320 : 0);
    }
    for (size_t i = 0; i < length; i++) {
        crc = crc >> 8 ^ table[(crc ^ data[i]) & 255];
        low = (low + data[i]) % 65521;
        high = (high + low) % 65521;
    }
    value(~crc);
    value(high << 16 | low);
}

int hashing(void)
{
    static void (*const digests[])(size_t) = {checksums, md5, sha1};
    static const char *const names[] = {"checksums", "md5", "sha1"};
    for (size_t method = 0; method < COUNT(digests); method++) {
        row("%s", names[method]);
        for (size_t length = 0; length <= LONGEST; length = length < 130 ? length + 1 : length * 2 - 3) {
            uint64_t seed = length;
            for (size_t i = 0; i < length; i++)
                data[i] = (unsigned char)random_next(&seed);
            digests[method](length);
        }
    }
    return 5;
}
