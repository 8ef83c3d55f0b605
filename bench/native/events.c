/* What is published, see load.h. */
#define _GNU_SOURCE
#include "load.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

/* With DATA bytes of data an event for all is 117 bytes on the wire: 6 for its chunk, 20 for the id line, 6 for
 * "data: ", 2 for the line ends. */
enum { DATA = 83 };

long events, events_of_each;
static long users; /* how many take events in turn; 0: each event is for all */

void events_begin(const char *template) {
    int to_one = strstr(template, "@USER@") != NULL || strstr(options.publish, "@USER@") != NULL;
    users = to_one ? (subscribers_up > 0 ? subscribers_up : 1) : 0;
    events = events_of_each = 0;
    for (const char *spot = template; (spot = strstr(spot, "@DATA@")) != NULL; spot += 6)
        events_of_each++;
}

/* Whether there are numbers left for the events of another body. Without subscribers, nobody has to tell them apart. */
int events_left(void) {
    long most = subscribers_up == 0 ? LONG_MAX - events_of_each : MOST_EVENTS * (users > 0 ? users : 1);
    return events + events_of_each <= most;
}

static size_t fill_data(char *data, int phase) {
    long number = users > 0 ? events / users : events;
    int used = snprintf(data, DATA + 1, "p=%02d n=%06ld t=%019llu ", phase, number, (unsigned long long)now());
    memset(data + used, 'x', (size_t)(DATA - used));
    events++;
    return DATA;
}

/* The template with each @DATA@ replaced by the data of a new event, and each @USER@ before it by that event's user. */
size_t events_fill(char *body, size_t room, const char *template, int phase) {
    size_t length = 0;
    for (const char *spot; (spot = strchr(template, '@')) != NULL;) {
        if (length + (size_t)(spot - template) + DATA + 1 >= room)
            fail("the body to publish is too large");
        memcpy(body + length, template, (size_t)(spot - template));
        length += (size_t)(spot - template);
        template = spot + 6;
        if (strncmp(spot, "@DATA@", 6) == 0)
            length += fill_data(body + length, phase);
        else if (strncmp(spot, "@USER@", 6) == 0)
            length += (size_t)sprintf(body + length, "%ld", users > 0 ? events % users : 0);
        else
            fail("a body has an @ that means nothing");
    }
    int rest = snprintf(body + length, room - length, "%s", template);
    if (length + (size_t)rest >= room)
        fail("the body to publish is too large");
    return length + (size_t)rest;
}

long events_due(long refused_events) {
    return users > 0 && subscribers_up > 0 ? events - refused_events : (events - refused_events) * subscribers_up;
}
