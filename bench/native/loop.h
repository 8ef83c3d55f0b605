/* What the programs share. One thread; everything waits in one epoll. */
#ifndef LOOP_H
#define LOOP_H
#include <stdint.h>

/* Something that epoll watches: each kind of connection begins with one. */
struct source {
    int fd;
    void (*ready)(struct source *source, uint32_t events);
};

enum { FOREVER = -1, MS = 1000000 }; /* ns */

void loop_begin(void); /* before all else; also lets the process open as many files as it may */
uint64_t now(void);    /* ns, monotonic */
void turn(int64_t ns); /* wait for what is ready, at most so long, and handle it */
void watch(struct source *source, uint32_t events);
int dial(struct source *source, int port, uint32_t events); /* gives an errno, 0 if the connection is under way */
void fail(const char *what);
char *whole_file(const char *path);
#endif
