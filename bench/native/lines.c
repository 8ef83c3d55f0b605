/* A backend that publishes NDJSON: one request, whose lines go out as fast as the server takes them, and whose answer
 * lines are read as they come. */
#define _GNU_SOURCE
#include "load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { CHUNK = 1 << 14, SPARE = 1 << 10, PATIENCE = 10 /* s */ };

static struct {
    struct source source;
    int phase, ended; /* ended: the last chunk is made */
    long count;
    const char *template;
    size_t length, sent;
    char out[CHUNK + SPARE];
    size_t start_length; /* bytes in `start`, the beginning of the answer's line so far */
    char start[16];
} stream;

static void take_line(void) {
    if (stream.start[0] == '{') {
        posts++;
        if (strncmp(stream.start, "{\"id\"", 5) != 0 && refused++ == 0)
            snprintf(first_failure, sizeof first_failure, "a line was refused");
    } else if (strncmp(stream.start, "HTTP/", 5) == 0 && strncmp(stream.start + 9, "200", 3) != 0) {
        fail("the stream of lines is refused");
    }
    memset(stream.start, 0, sizeof stream.start);
    stream.start_length = 0;
}

static void read_answers(void) {
    static char bytes[1 << 16];
    ssize_t got = read(stream.source.fd, bytes, sizeof bytes);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0 && (got < 0 || !stream.ended || posts < events)) {
        fprintf(stderr, "%ld of %ld lines were answered, errno %d\n", posts, events, got < 0 ? errno : 0);
        fail("the server left the stream of lines");
    }
    if (got <= 0) { /* the server closes after the last answer; events may still be on their way */
        close(stream.source.fd);
        stream.source.fd = -1;
    }
    for (ssize_t i = 0; i < got; i++)
        if (bytes[i] == '\n')
            take_line();
        else if (stream.start_length < sizeof stream.start - 1)
            stream.start[stream.start_length++] = bytes[i];
}

/* The next lines as one chunk: its size is five digits wide. */
static void make_chunk(void) {
    size_t length = 0;
    char *lines = stream.out + 7;
    while (events < stream.count && events_left() && length < CHUNK - SPARE) {
        length += events_fill(lines + length, CHUNK - length, stream.template, stream.phase);
        lines[length++] = '\n';
    }
    char size[8];
    snprintf(size, sizeof size, "%05zx\r\n", length);
    memcpy(stream.out, size, 7);
    memcpy(lines + length, "\r\n", 2);
    stream.ended = length == 0;
    stream.length = 7 + length + 2;
    stream.sent = 0;
}

static void write_lines(void) {
    for (int turns = 0; turns < 8; turns++) {
        if (stream.sent == stream.length && stream.ended) {
            watch(&stream.source, EPOLLIN);
            return;
        }
        if (stream.sent == stream.length)
            make_chunk();
        ssize_t sent = write(stream.source.fd, stream.out + stream.sent, stream.length - stream.sent);
        if (sent < 0 && errno != EAGAIN)
            fail("the server left the stream of lines");
        if (sent < 0)
            return;
        stream.sent += (size_t)sent;
    }
}

static void ready(struct source *source, uint32_t ready) {
    (void)source;
    if (ready & (EPOLLIN | EPOLLHUP | EPOLLERR))
        read_answers();
    if (ready & EPOLLOUT && stream.source.fd >= 0)
        write_lines();
}

static void ask(void) {
    stream.length = (size_t)snprintf(stream.out, sizeof stream.out,
                                     "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/x-ndjson\r\n"
                                     "%s\r\nTransfer-Encoding: chunked\r\n\r\n",
                                     options.publish, options.port, options.header);
    stream.sent = stream.start_length = 0;
    stream.ended = 0;
    memset(stream.start, 0, sizeof stream.start);
    stream.source.ready = ready;
    if (dial(&stream.source, options.port, EPOLLIN | EPOLLOUT) != 0)
        fail("no socket for a publisher");
}

long lines(int phase, long count, const char *template) {
    posts = refused = 0;
    stream.phase = phase;
    stream.count = count;
    stream.template = template;
    events_begin(template);
    ask();
    uint64_t progress = now();
    for (long before = -1; !stream.ended || posts < events || tally.deliveries < events_due(refused); turn(10 * MS)) {
        if (tally.deliveries + posts != before)
            progress = now();
        before = tally.deliveries + posts;
        if (now() - progress > PATIENCE * 1000000000ull)
            break;
    }
    close(stream.source.fd);
    return events_due(refused);
}
