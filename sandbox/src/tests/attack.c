/* Native code that tries every way to a destination, and prints what the kernel answers to each.
 *
 * A program, or with -shared a library that does it when it is loaded. Compiled with
 *   ALLOWED, DENIED  addresses of this host, as numbers
 *   PORT             where something listens on both, by TCP and by UDP
 *   OWN              the port that is denied on every address of this host
 *   OUT              a file below $TMPDIR to print to, instead of stdout
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef MSG_FASTOPEN
#define MSG_FASTOPEN 0x20000000
#endif
#define TRIES 3000

static FILE *out;

static void told(const char *what, long answer) {
    if (answer < 0) fprintf(out, "%s: %s\n", what, strerrorname_np(errno));
    else fprintf(out, "%s: %ld\n", what, answer);
}

static struct sockaddr_in v4(unsigned ip, int port) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    to.sin_addr.s_addr = htonl(ip);
    return to;
}

/* The last 32 bits of an IPv6 address that begins with `prefix`. */
static struct sockaddr_in6 v6(const char *prefix, unsigned ip, int port) {
    struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    inet_pton(AF_INET6, prefix, &to.sin6_addr);
    ip = htonl(ip);
    memcpy(&to.sin6_addr.s6_addr[12], &ip, 4);
    return to;
}

static void connects(const char *what, int type, const void *to, unsigned length) {
    int family = ((const struct sockaddr *)to)->sa_family;
    int fd = socket(family, type, 0);
    told(what, connect(fd, to, length));
    close(fd);
}

static long sends(int fd, const void *to, unsigned length, int flags) {
    return sendto(fd, "x", 1, flags, to, length);
}

static long sends_message(int fd, void *to, unsigned length, void *control, size_t controls, int flags) {
    struct iovec parts[2] = {{"ab", 2}, {"cde", 3}};
    struct msghdr message = {to, length, parts, 2, control, controls, 0};
    return sendmsg(fd, &message, flags);
}

static struct sockaddr_in flips;
static int flipping = -1, ends, other;

static void *flip(void *unused) {
    unsigned to[] = {htonl(ALLOWED), htonl(DENIED)};
    for (unsigned i = 0; !__atomic_load_n(&ends, __ATOMIC_RELAXED); i++)
        __atomic_store_n(&flips.sin_addr.s_addr, to[i & 1], __ATOMIC_RELAXED);
    return unused;
}

static void *swap(void *unused) {
    /* The socket changes under the call, to one that is connected elsewhere or none at all. */
    while (!__atomic_load_n(&ends, __ATOMIC_RELAXED)) {
        int fresh = socket(AF_INET, SOCK_DGRAM, 0);
        if (fresh < 0) continue;
        dup2(fresh, flipping);
        close(fresh);
        dup2(other, flipping);
    }
    return unused;
}

static void races(const char *what, void *(*against)(void *)) {
    pthread_t thread;
    long reached = 0, allowed = 0;
    flips = v4(ALLOWED, PORT);
    ends = 0;
    other = socket(AF_INET, SOCK_DGRAM, 0);
    flipping = socket(AF_INET, SOCK_DGRAM, 0);
    pthread_create(&thread, NULL, against, NULL);
    for (int i = 0; i < TRIES; i++) {
        struct sockaddr_in peer;
        socklen_t length = sizeof peer;
        if (against == swap) flips = v4(i & 1 ? DENIED : ALLOWED, PORT);
        if (connect(flipping, (struct sockaddr *)&flips, sizeof flips) == 0) allowed++;
        if (getpeername(flipping, (struct sockaddr *)&peer, &length) == 0)
            reached += ntohl(peer.sin_addr.s_addr) == DENIED;
        sendto(flipping, "x", 1, 0, (struct sockaddr *)&flips, sizeof flips);
    }
    ends = 1;
    pthread_join(thread, NULL);
    close(flipping);
    close(other);
    fprintf(out, "%s, allowed: %s\n", what, allowed > 0 ? "some" : "none");
    fprintf(out, "%s, reached: %ld\n", what, reached);
}

static void attack(void) {
    struct sockaddr_in good = v4(ALLOWED, PORT), bad = v4(DENIED, PORT), own = v4(ALLOWED, OWN);
    struct sockaddr_in6 mapped = v6("::ffff:0.0.0.0", DENIED, PORT);
    struct sockaddr_in6 compatible = v6("::", DENIED, PORT), translated = v6("64:ff9b::", DENIED, PORT);
    struct sockaddr_in6 fine = v6("::ffff:0.0.0.0", ALLOWED, PORT);
    struct sockaddr_in6 own6 = {.sin6_family = AF_INET6, .sin6_port = htons(OWN), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    struct sockaddr_in6 any6 = {.sin6_family = AF_INET6, .sin6_port = htons(OWN)};
    struct sockaddr_in any = v4(0, OWN);
    struct sockaddr nobody = {.sa_family = AF_UNSPEC};
    int fd, udp;

    connects("connect allowed", SOCK_STREAM, &good, sizeof good);
    connects("connect allowed, mapped", SOCK_STREAM, &fine, sizeof fine);
    connects("connect denied", SOCK_STREAM, &bad, sizeof bad);
    connects("connect denied, mapped", SOCK_STREAM, &mapped, sizeof mapped);
    connects("connect denied, compatible", SOCK_STREAM, &compatible, sizeof compatible);
    connects("connect denied, translated", SOCK_STREAM, &translated, sizeof translated);
    connects("connect denied, datagrams", SOCK_DGRAM, &bad, sizeof bad);
    connects("connect denied, without waiting", SOCK_STREAM | SOCK_NONBLOCK, &bad, sizeof bad);
    connects("connect allowed, without waiting", SOCK_STREAM | SOCK_NONBLOCK, &good, sizeof good);
    connects("own port", SOCK_STREAM, &own, sizeof own);
    connects("own port of any", SOCK_STREAM, &any, sizeof any);
    connects("own port, version 6", SOCK_STREAM, &own6, sizeof own6);
    connects("own port of any, version 6", SOCK_STREAM, &any6, sizeof any6);
    connects("connect, too short", SOCK_STREAM, &good, 8);
    fd = socket(AF_INET, SOCK_STREAM, 0);
    told("connect to nowhere in memory", connect(fd, (void *)16, sizeof good));
    told("connect, a negative length", connect(fd, (void *)&good, -1));
    told("connect, too long", connect(fd, (void *)&good, 4096));
    told("connect to nobody", connect(fd, &nobody, sizeof nobody));
    close(fd);
    told("connect a closed one", connect(fd, (void *)&good, sizeof good));
    told("connect a file", connect(fileno(out), (void *)&good, sizeof good));

    udp = socket(AF_INET, SOCK_DGRAM, 0);
    told("sendto allowed", sends(udp, &good, sizeof good, 0));
    told("sendto denied", sends(udp, &bad, sizeof bad, 0));
    bad.sin_family = AF_UNSPEC;
    told("sendto denied, without a family", sends(udp, &bad, sizeof bad, 0));
    bad.sin_family = AF_INET;
    told("sendmsg allowed", sends_message(udp, &good, sizeof good, NULL, 0, 0));
    told("sendmsg denied", sends_message(udp, &bad, sizeof bad, NULL, 0, 0));
    char control[64] = {0};
    told("sendmsg with control", sends_message(udp, &good, sizeof good, control, sizeof control, 0));
    struct iovec part = {"mm", 2};
    struct mmsghdr many[3] = {
        {{&good, sizeof good, &part, 1, NULL, 0, 0}, 9},
        {{&bad, sizeof bad, &part, 1, NULL, 0, 0}, 9},
        {{&good, sizeof good, &part, 1, NULL, 0, 0}, 9},
    };
    told("sendmmsg allowed, denied", sendmmsg(udp, many, 3, 0));
    fprintf(out, "sendmmsg lengths: %u %u %u\n", many[0].msg_len, many[1].msg_len, many[2].msg_len);
    told("sendmmsg denied", sendmmsg(udp, many + 1, 2, 0));
    static char large[70000];
    told("sendto, too large", sendto(udp, large, sizeof large, 0, (void *)&good, sizeof good));
    told("sendto, from nowhere in memory", sendto(udp, (void *)16, 4, 0, (void *)&good, sizeof good));
    told("connect datagrams", connect(udp, (void *)&good, sizeof good));
    told("send on connected", send(udp, "x", 1, 0));
    told("sendmsg on connected", sends_message(udp, NULL, 0, NULL, 0, 0));
    told("connect datagrams elsewhere", connect(udp, (void *)&bad, sizeof bad));
    close(udp);

    fd = socket(AF_INET, SOCK_STREAM, 0);
    told("fast open denied", sends(fd, &bad, sizeof bad, MSG_FASTOPEN));
    told("fast open message denied", sends_message(fd, &bad, sizeof bad, NULL, 0, MSG_FASTOPEN));
    told("fast open allowed", sends(fd, &good, sizeof good, MSG_FASTOPEN));
    told("write on connected", write(fd, "x", 1));
    close(fd);

    told("sctp", socket(AF_INET, SOCK_STREAM, IPPROTO_SCTP));
    told("sequenced packets", socket(AF_INET, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    told("mptcp", socket(AF_INET, SOCK_STREAM, 262));
    fd = socket(AF_INET, SOCK_DGRAM, 0);
    char route[8] = {131, 7, 4, DENIED >> 24, (DENIED >> 16) & 255, (DENIED >> 8) & 255, DENIED & 255, 0};
    told("a source route", setsockopt(fd, IPPROTO_IP, IP_OPTIONS, route, sizeof route));
    close(fd);
    fd = socket(AF_INET6, SOCK_DGRAM, 0);
    told("a routing header", setsockopt(fd, IPPROTO_IPV6, IPV6_RTHDR, route, sizeof route));
    close(fd);
    struct sock_filter_ { unsigned short code; unsigned char jt, jf; unsigned k; } all = {6, 0, 0, SECCOMP_RET_ALLOW};
    struct { unsigned short length; void *filter; } program = {1, &all};
    told("a listener of its own",
         syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program));

    races("the address changes", flip);
    races("the socket changes", swap);
    fflush(out);
}

#ifdef OUT
__attribute__((constructor)) static void loaded(void) {
    char file[4096];
    snprintf(file, sizeof file, "%s/" OUT, getenv("TMPDIR"));
    out = fopen(file, "w");
    attack();
    fclose(out);
}
#else
int main(void) {
    out = stdout;
    attack();
}
#endif
