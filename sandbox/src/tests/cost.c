/* What a connection costs, and what data does: a client and a server on loopback, in one program.
 * Prints the median of a connection (socket, connect) in nanoseconds, and the MiB/s of a stream. */
#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define TIMES 2000
#define MIB 1024

static int listening;
static struct sockaddr_in to;

static long now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000L + t.tv_nsec;
}

static int order(const void *a, const void *b) {
    long x = *(const long *)a, y = *(const long *)b;
    return x < y ? -1 : x > y;
}

static void *receive(void *unused) {
    static char data[1 << 18];
    int fd = accept(listening, NULL, NULL);
    while (read(fd, data, sizeof data) > 0) {}
    close(fd);
    return unused;
}

int main(void) {
    static long took[TIMES];
    static char data[1 << 16];
    socklen_t length = sizeof to;
    pthread_t reader;
    listening = socket(AF_INET, SOCK_STREAM, 0);
    to.sin_family = AF_INET;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    bind(listening, (struct sockaddr *)&to, sizeof to);
    listen(listening, 128);
    getsockname(listening, (struct sockaddr *)&to, &length);
    for (int i = 0; i < TIMES; i++) {
        long begin = now();
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        connect(fd, (struct sockaddr *)&to, sizeof to);
        took[i] = now() - begin;
        close(accept(listening, NULL, NULL));
        close(fd);
    }
    qsort(took, TIMES, sizeof took[0], order);
    pthread_create(&reader, NULL, receive, NULL);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&to, sizeof to)) return 1;
    long begin = now();
    for (long sent = 0; sent < (long)MIB << 20;) {
        long part = send(fd, data, sizeof data, 0);
        if (part < 0) return 1;
        sent += part;
    }
    shutdown(fd, SHUT_WR);
    pthread_join(reader, NULL);
    printf("%ld %ld\n", took[TIMES / 2], MIB * 1000000000L / (now() - begin));
}
