/* What the parts of the load client share. */
#ifndef LOAD_H
#define LOAD_H
#include "latency.h"
#include "loop.h"
#include <stddef.h>

struct options {
    int port;
    int blind;            /* a subscriber counts as up when its request is sent: the server answers at the first event */
    const char *path;     /* of the stream; {} becomes the connection's number */
    const char *publish;  /* path of POST; @USER@ as in a body */
    const char *header;   /* a header line of the publishers */
    char **lines;         /* header lines of the subscribers, one each, repeated if they are fewer */
    int line_count;
};
extern struct options options;

/* What was heard since `listen_for`. `deliveries` are events heard for the first time, `disorder` are ids that do not
 * rise and, after a resume, numbers that do not; `stray` are events of an earlier phase. `most` is the largest number
 * of times that one connection came back, `returns` is how many came back in each tenth of a second of a resume. */
enum { TENTHS = 6000 };
struct tally {
    long deliveries, repeated, disorder, stray, without_id, dropped, reconnects, bytes;
    uint64_t last; /* when the last delivery came */
    long most, returns[TENTHS];
};
extern struct tally tally;
extern int subscribers_up, subscribers_failed;
extern char first_failure[160];

/* subscribers.c */
enum { MOST_EVENTS = 4096 }; /* of one phase */
void listen_for(int phase);
void subscribers_open(int count, int pace);
long subscribers_resume(int *events, int pace); /* gives how many there are */
void subscribers_close(void);
void hear(long total); /* until so many deliveries have come in this phase, or none for a while */

/* publishers.c. Both give the deliveries due. */
long flow(int phase, double rate, double seconds, int publishers, const char *template);
long lines(int phase, long count, const char *template);
extern long posts, refused; /* requests; for `lines`, lines that were answered */

/* events.c: the events of a phase. An event is for all subscribers, or for one, in turn, if @USER@ names it. */
enum { MOST_BODY = 1 << 18 };
void events_begin(const char *template);
int events_left(void);
size_t events_fill(char *body, size_t room, const char *template, int phase);
long events_due(long refused_events); /* the deliveries of all others */
extern long events, events_of_each; /* so far; in each body */
#endif
