/* Every latency is kept, so that percentiles are exact. */
#ifndef LATENCY_H
#define LATENCY_H
#include <stdint.h>

void latency_clear(void);
void latency_add(uint64_t ns);
double latency_ms(double share); /* 0.5: the median, 1: the maximum */
#endif
