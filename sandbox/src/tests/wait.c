/* Connects to a peer that does not answer (PORT) in one thread, and to one that does (GOOD) in another. */
#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

static int reach(int port) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return connect(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&to, sizeof to);
}

static void *waits(void *unused) {
    reach(PORT);
    return unused;
}

int main(void) {
    pthread_t threads[SILENT];
    for (int i = 0; i < SILENT; i++) pthread_create(&threads[i], NULL, waits, NULL);
    sleep(1);
    printf("%d\n", reach(GOOD));
    fflush(stdout);
    pthread_join(threads[0], NULL);
}
