/* Asks for streamed answers and reads them: N requests at the same time, in one process.
 *
 * Usage: ask PORT PATH HEADER_FILE BODY_FILE
 *
 * HEADER_FILE has a header line per request, BODY_FILE the question of all. Commands come on stdin, a line each, and
 * each is answered by one JSON object on stdout with what was heard since the command before:
 *
 *   open COUNT   ask, and wait until all answers have begun
 *   hear MS      read for so long
 *   finish       read until all answers are complete, or nothing came for a while
 *
 * A token is "n=NUMBER t=MICROSECONDS", see model.c; an event may bring several.
 */
#define _GNU_SOURCE
#include "latency.h"
#include "loop.h"
#include "stream.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PATIENCE = 10 /* s without anything new */, MOST_REQUEST = 16384, READ = 1 << 16 };

struct asker {
    struct source source;
    long next; /* number of the token that should come */
    int over;
    int failed;
    struct stream in;
};

static const char *path, *body;
static char **lines;
static int port, line_count, asker_count;
static struct asker *askers;

static struct {
    long tokens, events, bytes, repeated;
    uint64_t last; /* when the last came */
} heard;
static int begun, complete, failed;
static char why[160];

static void read_lines(char *text) {
    int room = 0;
    for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        if (line_count == room)
            lines = realloc(lines, (size_t)(room = room * 2 + 64) * sizeof *lines);
        lines[line_count++] = line;
    }
    if (line_count == 0)
        fail("the file of header lines is empty");
}

static void give_up(struct asker *asker, const char *reason, int code) {
    if (asker->over)
        return;
    if (why[0] == 0)
        snprintf(why, sizeof why, "%s %d", reason, code);
    close(asker->source.fd);
    asker->over = asker->failed = 1;
    failed++;
}

static void hear_token(struct asker *asker, long number, uint64_t sent) {
    if (number < asker->next) {
        heard.repeated++; /* or it is late, and then counts as lost too */
        return;
    }
    begun += asker->next == 0;
    asker->next = number + 1;
    heard.tokens++;
    heard.last = now();
    latency_add(heard.last - sent * 1000);
}

static void hear_event(void *whose, struct stream *stream) {
    struct asker *asker = whose;
    heard.events++;
    if (strcmp(stream->data, "[DONE]") == 0) {
        close(asker->source.fd);
        asker->over = 1;
        complete++;
        return;
    }
    for (char *at = stream->data; (at = strstr(at, " n=")) != NULL;) {
        long number = strtol(at + 3, &at, 10);
        if (strncmp(at, " t=", 3) == 0)
            hear_token(asker, number, strtoull(at + 3, &at, 10));
    }
}

static void hear(struct source *source, uint32_t events) {
    static char bytes[READ];
    struct asker *asker = (struct asker *)source;
    (void)events;
    ssize_t got = read(source->fd, bytes, sizeof bytes);
    if (got <= 0) {
        if (got == 0 || errno != EAGAIN)
            give_up(asker, "closed by the server", got < 0 ? errno : 0);
        return;
    }
    heard.bytes += got;
    stream_feed(&asker->in, bytes, (size_t)got, hear_event, asker);
    if (asker->in.state != HEAD && asker->in.status != 200)
        give_up(asker, "status", asker->in.status);
    else if (asker->in.state == ENDED || asker->in.state == BROKEN)
        give_up(asker, "the answer ended without [DONE]", 0);
}

static void ask(struct source *source, uint32_t events) {
    struct asker *asker = (struct asker *)source;
    char request[MOST_REQUEST];
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(source->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    int length = snprintf(request, sizeof request,
                          "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\n%s\r\n"
                          "Content-Length: %zu\r\n\r\n%s",
                          path, port, lines[(asker - askers) % line_count], strlen(body), body);
    if (error != 0 || events & EPOLLERR || write(source->fd, request, (size_t)length) != length) {
        give_up(asker, "the request could not be sent", error);
        return;
    }
    source->ready = hear;
    watch(source, EPOLLIN);
}

static int patient(uint64_t began) {
    uint64_t progress = heard.last > began ? heard.last : began;
    return now() - progress < PATIENCE * 1000000000ull;
}

static void open_all(int count) {
    uint64_t began = now();
    askers = calloc((size_t)count, sizeof *askers);
    asker_count = count;
    for (int i = 0; i < count; i++) {
        askers[i].source.ready = ask;
        if (dial(&askers[i].source, port, EPOLLOUT) != 0)
            fail("no socket for a request");
    }
    while (begun + failed < count && patient(began))
        turn(100 * MS);
}

static void finish(void) {
    for (uint64_t began = now(); complete + failed < asker_count && patient(began);)
        turn(100 * MS);
}

static void hear_for(long ms) {
    for (uint64_t end = now() + (uint64_t)ms * MS, time; (time = now()) < end;)
        turn((int64_t)(end - time));
}

static void report(uint64_t began) {
    printf("{\"begun\": %d, \"complete\": %d, \"failed\": %d, \"why\": \"%s\", \"seconds\": %.6f, ", begun, complete,
           failed, why, (double)(now() - began) / 1e9);
    printf("\"tokens\": %ld, \"events\": %ld, \"bytes\": %ld, \"repeated\": %ld, ", heard.tokens, heard.events,
           heard.bytes, heard.repeated);
    printf("\"p50_ms\": %.3f, \"p99_ms\": %.3f, \"max_ms\": %.3f}\n", latency_ms(0.5), latency_ms(0.99), latency_ms(1));
    fflush(stdout);
}

int main(int count, char **words) {
    if (count != 5)
        fail("usage: ask PORT PATH HEADER_FILE BODY_FILE");
    loop_begin();
    port = atoi(words[1]);
    path = words[2];
    read_lines(whole_file(words[3]));
    body = whole_file(words[4]);
    char line[64];
    while (fgets(line, sizeof line, stdin) != NULL) {
        uint64_t began = now();
        long number;
        memset(&heard, 0, sizeof heard);
        latency_clear();
        if (sscanf(line, "open %ld", &number) == 1)
            open_all((int)number);
        else if (sscanf(line, "hear %ld", &number) == 1)
            hear_for(number);
        else if (strcmp(line, "finish\n") == 0)
            finish();
        else
            fail("does not know this command");
        report(began);
    }
    return 0;
}
