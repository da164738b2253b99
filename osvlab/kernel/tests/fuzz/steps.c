// How lists of steps change: libFuzzer calls this instead of its own mutator.

#include "steps.h"

#include <stddef.h>
#include <string.h>

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed);

static uint32_t dice;

static size_t roll(size_t sides) {
    dice = dice * 1664525 + 1013904223;
    return (dice >> 8) % sides;
}

static void change_value(struct step *step) {
    static const uint64_t values[] = {
        0,      1,        2,        3,   0x7f,      0x80,      0xff,      0x1ff, 0x7fff,
        0xffff, 1u << 20, 1u << 31, ~0u, 1ul << 47, 1ul << 62, 1ul << 63, ~0ul,  ~0ul - 1,
    };
    switch (roll(4)) {
    case 0:
        step->value = values[roll(sizeof(values) / sizeof(*values))];
        break;
    case 1:
        step->value += roll(2) ? 1 : ~0ul;
        break;
    default:
        LLVMFuzzerMutate((uint8_t *)&step->value, sizeof(step->value), sizeof(step->value));
    }
}

static void change(struct step *step) {
    switch (roll(6)) {
    case 0:
        step->what = (uint8_t)roll(256);
        break;
    case 1:
        step->how = (uint8_t)roll(256);
        break;
    case 2:
        step->block = (uint16_t)(roll(2) ? roll(65536) : step->block + roll(8) - 4);
        break;
    case 3:
        step->at = (uint16_t)(roll(2) ? roll(512) : roll(65536));
        break;
    case 4:
        step->other = (uint16_t)roll(65536);
        break;
    default:
        change_value(step);
    }
}

static size_t insert(struct step *steps, size_t count) {
    size_t at = roll(count + 1), like = count > 0 ? roll(count) : 0;
    struct step new = {.what = (uint8_t)roll(256), .at = (uint16_t)roll(256)};
    if (count > 0 && roll(2))
        new = steps[like];
    memmove(steps + at + 1, steps + at, (count - at) * sizeof(*steps));
    steps[at] = new;
    change(&steps[at]);
    return count + 1;
}

static size_t take_out(struct step *steps, size_t count) {
    size_t at = roll(count);
    memmove(steps + at, steps + at + 1, (count - at - 1) * sizeof(*steps));
    return count - 1;
}

static void swap(struct step *one, struct step *other) {
    struct step kept = *one;
    *one = *other;
    *other = kept;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed) {
    struct step steps[STEPS_MAX + 1];
    size_t count = size / sizeof(*steps), room = most / sizeof(*steps);
    dice = seed;
    room = room < STEPS_MAX ? room : STEPS_MAX;
    count = count < room ? count : room;
    memcpy(steps, data, count * sizeof(*steps));
    for (size_t n = 1 + roll(3); n > 0; n--) {
        size_t how = roll(8);
        if (count == 0 || (how == 0 && count < room))
            count = insert(steps, count);
        else if (how == 1)
            count = take_out(steps, count);
        else if (how == 2)
            swap(&steps[roll(count)], &steps[roll(count)]);
        else
            change(&steps[roll(count)]);
    }
    memcpy(data, steps, count * sizeof(*steps));
    return count * sizeof(*steps);
}
