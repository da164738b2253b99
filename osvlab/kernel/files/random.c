// Random numbers: ChaCha20 as a generator that forgets (D. J. Bernstein, "Fast-key-erasure
// random-number generators"; the cipher is RFC 8439).
//
// Invariant: after every request the key has been replaced by fresh key stream, so that what was
// given out cannot be computed from the state that is left. The key is stirred with RDRAND where
// the processor has it, and with the jitter of the time stamp counter.

#include "vnode.h"

#include "syscalls_files.h"

static struct mutex lock = MUTEX(lock, "random");
static u32 key[8];
static u64 counter;
static bool seeded;

static u32 rotate(u32 x, int n) {
    return x << n | x >> (32 - n);
}

static void quarter_round(u32 *a, u32 *b, u32 *c, u32 *d) {
    *a += *b, *d = rotate(*d ^ *a, 16);
    *c += *d, *b = rotate(*b ^ *c, 12);
    *a += *b, *d = rotate(*d ^ *a, 8);
    *c += *d, *b = rotate(*b ^ *c, 7);
}

// The words of each quarter round: first the columns of the square, then its diagonals.
static const u8 quarters[8][4] = {{0, 4, 8, 12},  {1, 5, 9, 13},  {2, 6, 10, 14}, {3, 7, 11, 15},
                                  {0, 5, 10, 15}, {1, 6, 11, 12}, {2, 7, 8, 13},  {3, 4, 9, 14}};

// One block of 64 bytes of key stream. RFC 8439, section 2.3, with a 64-bit counter.
static void chacha_block(const u32 in_key[8], u64 count, u32 out[16]) {
    u32 start[16] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};
    memcpy(start + 4, in_key, 32);
    start[12] = (u32)count;
    start[13] = (u32)(count >> 32);
    memcpy(out, start, sizeof(start));
    for (int i = 0; i < 10 * 8; i++) {
        const u8 *q = quarters[i % 8];
        quarter_round(&out[q[0]], &out[q[1]], &out[q[2]], &out[q[3]]);
    }
    for (int i = 0; i < 16; i++)
        out[i] += start[i];
}

static u64 time_stamp(void) {
    u32 low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (u64)high << 32 | low;
}

static bool hardware(u64 *out) {
    u32 a = 1, b, c = 0, d;
    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    if (!(c >> 30 & 1))
        return false;
    u8 carry;
    __asm__ volatile("rdrand %0; setc %1" : "=r"(*out), "=q"(carry));
    return carry;
}

// Mixes a value into the key: the key becomes the key stream of (key xor value).
static void stir(u64 value) {
    u32 block[16];
    key[0] ^= (u32)value;
    key[1] ^= (u32)(value >> 32);
    chacha_block(key, counter++, block);
    memcpy(key, block, sizeof(key));
}

static void seed(void) {
    u64 value = 0;
    // How long a block takes varies with everything around us, by a bit or less.
    int rounds = hardware(&value) ? 8 : 64;
    stir(clock_realtime());
    for (int i = 0; i < rounds; i++) {
        stir(time_stamp());
        if (hardware(&value))
            stir(value);
    }
    seeded = true;
}

// Gives up to 32 bytes of a block and keeps its other half as the next key.
void random_bytes(void *out, size_t size) {
    u8 *at = out;
    mutex_lock(&lock);
    if (!seeded)
        seed();
    stir(time_stamp());
    while (size > 0) {
        u32 block[16];
        size_t piece = MIN(size, (size_t)32);
        chacha_block(key, counter++, block);
        memcpy(key, block, 32);
        memcpy(at, block + 8, piece);
        memset(block, 0, sizeof(block));
        at += piece;
        size -= piece;
    }
    mutex_unlock(&lock);
}

long sys_getrandom(void *user, size_t size, unsigned flags) {
    if (flags & ~7U)
        return -EINVAL;
    size = MIN(size, (size_t)INT32_MAX & ~(PAGE_SIZE - 1));
    for (size_t done = 0; done < size;) {
        u8 piece[256];
        size_t length = MIN(sizeof(piece), size - done);
        random_bytes(piece, length);
        if (user_write((char *)user + done, piece, length) < 0)
            return done > 0 ? (long)done : -EFAULT;
        done += length;
    }
    return (long)size;
}
