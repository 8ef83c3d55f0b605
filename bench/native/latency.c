/* See latency.h. */
#include "latency.h"

#include "loop.h"

#include <stdlib.h>

static uint32_t *samples; /* µs */
static size_t count, room;
static int sorted;

void latency_clear(void) {
    count = 0;
    sorted = 0;
}

void latency_add(uint64_t ns) {
    if (count == room) {
        room = room == 0 ? 1 << 16 : room * 2;
        samples = realloc(samples, room * sizeof *samples);
        if (samples == NULL)
            fail("no memory for latencies");
    }
    samples[count++] = (uint32_t)(ns / 1000);
}

static int compare(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

double latency_ms(double share) {
    if (count == 0)
        return 0;
    if (!sorted)
        qsort(samples, count, sizeof *samples, compare);
    sorted = 1;
    size_t at = (size_t)(share * (double)count);
    return samples[at < count ? at : count - 1] / 1000.0;
}
