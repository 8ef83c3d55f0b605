/* A load client in one process: N EventSource connections and the publishers that feed them.
 *
 * Usage: load PORT STREAM_PATH HEADER_FILE PUBLISH_PATH PUBLISH_HEADER [blind]
 *
 * HEADER_FILE has a header line per connection. Commands come on stdin, a line each, and each is answered by one
 * JSON object on stdout, so that the driver can look at the server's processes between them:
 *
 *   open COUNT PACE                        connect up to COUNT, at most PACE under way
 *   flow PHASE RATE SECONDS PUBLISHERS FILE  POST the body in FILE, each @DATA@ in it being an event; RATE 0: as fast
 *                                          as answers come; SECONDS 0: until a line comes. Ends when all is delivered,
 *                                          or nothing came for a while
 *   lines PHASE COUNT FILE                 the same with COUNT lines, each as FILE says, in one request as NDJSON
 *   listen PHASE, hear TOTAL               wait for deliveries of what somebody else publishes in between
 *   close                                  hang up; each connection keeps the id of its last event
 *   resume PHASE EVENTS PACE               connect all that are not, with Last-Event-ID, and wait for EVENTS events on
 *                                          each; who is disconnected comes back as a browser does. EVENTS 0: a line
 *                                          that comes later says how many
 *
 * An event's data is "p=PHASE n=NUMBER t=NANOSECONDS ..."; NUMBER rises from 0 in each phase. If @USER@ is in the body
 * or the publish path, each event is for one connection, in turn: it becomes that one's number, and NUMBER is its own.
 */
#define _GNU_SOURCE
#include "load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct options options;

static void read_lines(const char *path) {
    size_t room = 0;
    for (char *line = strtok(whole_file(path), "\n"); line != NULL; line = strtok(NULL, "\n")) {
        if ((size_t)options.line_count == room)
            options.lines = realloc(options.lines, (room = room * 2 + 64) * sizeof *options.lines);
        options.lines[options.line_count++] = line;
    }
    if (options.line_count == 0)
        fail("the file of header lines is empty");
}

static int last_tenth(void) {
    int end = TENTHS;
    while (end > 0 && tally.returns[end - 1] == 0)
        end--;
    return end;
}

/* Every answer has the same fields; those that a command does not touch keep their values. */
static void answer(long expected, uint64_t began) {
    uint64_t ended = tally.last > began ? tally.last : now();
    printf("{\"up\": %d, \"failed\": %d, \"why\": \"%s\", \"seconds\": %.6f, ", subscribers_up, subscribers_failed,
           first_failure, (double)(ended - began) / 1e9);
    printf("\"deliveries\": %ld, \"lost\": %ld, \"repeated\": %ld, \"disorder\": %ld, \"stray\": %ld, ",
           tally.deliveries, expected - tally.deliveries, tally.repeated, tally.disorder, tally.stray);
    printf("\"posts\": %ld, \"refused\": %ld, ", posts, refused);
    printf("\"without_id\": %ld, \"dropped\": %ld, \"reconnects\": %ld, \"bytes\": %ld, ", tally.without_id,
           tally.dropped, tally.reconnects, tally.bytes);
    printf("\"most\": %ld, \"returns\": [0", tally.most);
    for (int i = 0, end = last_tenth(); i < end; i++)
        printf(", %ld", tally.returns[i]);
    printf("], ");
    printf("\"p50_ms\": %.3f, \"p99_ms\": %.3f, \"max_ms\": %.3f}\n", latency_ms(0.5), latency_ms(0.99),
           latency_ms(1));
    fflush(stdout);
}

static void obey(const char *line) {
    char path[512];
    int count, pace, phase, publishers;
    double rate, seconds;
    uint64_t began = now();
    long total;
    if (sscanf(line, "open %d %d", &count, &pace) == 2) {
        listen_for(0);
        subscribers_open(count, pace);
        answer(0, began);
    } else if (sscanf(line, "flow %d %lf %lf %d %511s", &phase, &rate, &seconds, &publishers, path) == 5) {
        char *template = whole_file(path);
        listen_for(phase);
        answer(flow(phase, rate, seconds, publishers, template), began);
        free(template);
    } else if (sscanf(line, "lines %d %ld %511s", &phase, &total, path) == 3) {
        char *template = whole_file(path);
        listen_for(phase);
        answer(lines(phase, total, template), began);
        free(template);
    } else if (sscanf(line, "listen %d", &phase) == 1) {
        listen_for(phase);
        answer(0, began);
    } else if (sscanf(line, "hear %ld", &total) == 1) {
        hear(total);
        answer(total, began);
    } else if (strcmp(line, "close\n") == 0) {
        subscribers_close();
        answer(0, began);
    } else if (sscanf(line, "resume %d %d %d", &phase, &count, &pace) == 3) {
        listen_for(phase);
        long subscribers = subscribers_resume(&count, pace);
        answer(count * subscribers, began);
    } else {
        fail("does not know this command");
    }
}

int main(int count, char **words) {
    if (count < 6)
        fail("usage: load PORT STREAM_PATH HEADER_FILE PUBLISH_PATH PUBLISH_HEADER [blind]");
    loop_begin();
    setvbuf(stdin, NULL, _IONBF, 0); /* epoll must see the line that ends a flow */
    options = (struct options){.port = atoi(words[1]), .path = words[2], .publish = words[4], .header = words[5]};
    options.blind = count > 6;
    read_lines(words[3]);
    char line[1024];
    while (fgets(line, sizeof line, stdin) != NULL)
        obey(line);
    return 0;
}
