/* What native code in a job tries. Loaded by process.dlopen, it writes "name: outcome" lines to $TMPDIR/native and ends. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <net/if.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static FILE *out;

static void told(const char *what, long answer) {
  fprintf(out, "%s: %s\n", what, answer >= 0 ? "done" : strerrorname_np(errno));
}

static void opened(const char *path) {
  int file = open(path, O_RDONLY);
  told(path, file);
  if (file >= 0) close(file);
}

static void shown(const char *name) {
  char line[256];
  FILE *status = fopen("/proc/self/status", "r");
  while (status && fgets(line, sizeof line, status))
    if (strncmp(line, name, strlen(name)) == 0) fprintf(out, "%s", line);
  if (status) fclose(status);
}

__attribute__((constructor)) static void attempts(void) {
  char path[4096];
  snprintf(path, sizeof path, "%s/native", getenv("TMPDIR"));
  out = fopen(path, "w");
  if (!out) return;
  pid_t worker = getppid();

  /* Memory that outlives the run, and a way to other runs. */
  told("shared memory", shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600));
  told("message queue", msgget(IPC_PRIVATE, IPC_CREAT | 0600));
  told("semaphore", semget(IPC_PRIVATE, 1, IPC_CREAT | 0600));
  told("POSIX queue", syscall(SYS_mq_open, "native", O_CREAT | O_RDWR, 0600, NULL));
  /* Memory that is not counted with the process. */
  told("memfd", syscall(SYS_memfd_create, "native", 0));
  void *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  told("shared mapping", shared == MAP_FAILED ? -1 : 0);
  int pipes[2];
  told("pipe", pipe(pipes));
  told("large pipe", fcntl(pipes[0], F_SETPIPE_SZ, 1 << 20));
  int pair[2];
  told("socket pair", socketpair(AF_UNIX, SOCK_STREAM, 0, pair));

  int stream = socket(AF_INET, SOCK_STREAM, 0);
  told("stream socket", stream);
  int size = 4 << 20;
  told("large socket", setsockopt(stream, SOL_SOCKET, SO_SNDBUF, &size, sizeof size));
  /* Descriptors that are not counted with those of the process. */
  told("descriptors of its own", syscall(SYS_close_range, 1000, 1001, 2 /* CLOSE_RANGE_UNSHARE */));
  told("thread with descriptors of its own", syscall(SYS_clone, 0x10900 /* THREAD, SIGHAND, VM */, 0, 0, 0, 0));
  /* By way of an address that nobody has judged. */
  unsigned char route[] = {131, 7, 4, 169, 254, 169, 254, 0};
  told("route of a socket", setsockopt(stream, IPPROTO_IP, 4 /* IP_OPTIONS */, route, sizeof route));

  /* Signals to the worker by a descriptor's owner. */
  told("owner of a descriptor", fcntl(pipes[0], F_SETOWN, worker));
  struct f_owner_ex owner = {F_OWNER_PID, worker};
  told("owner of a descriptor, extended", fcntl(pipes[0], F_SETOWN_EX, &owner));
  told("signal of a descriptor", fcntl(pipes[0], F_SETSIG, SIGKILL));
  told("owner of a socket", ioctl(stream, 0x8901 /* FIOSETOWN */, &worker));
  told("group of a socket", ioctl(stream, 0x8902 /* SIOCSPGRP */, &worker));

  /* Outliving a killed worker. */
  told("death of the worker", prctl(PR_SET_PDEATHSIG, 0));
  told("session", setsid());

  /* Calls that are newer than many a list. */
  int file = open(path, O_RDONLY);
  told("setxattrat", syscall(463, file, "", 0x1000, "user.x", NULL, 0));
  told("open_tree_attr", syscall(467, -100, "/", 0, NULL, 0));
  told("file_setattr", syscall(469, -100, "/", NULL, 0, 0));
  told("call of the future", syscall(1000));

  /* The superuser's. */
  told("packet socket", socket(AF_PACKET, SOCK_RAW, 0));
  told("raw socket", socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
  struct ifreq interface = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING | IFF_LOOPBACK};
  told("flags of an interface", ioctl(stream, SIOCSIFFLAGS, &interface));
  told("other user", syscall(SYS_setresuid, 0, 0, 0));
  shown("CapInh:");
  shown("CapPrm:");
  shown("CapEff:");
  shown("CapBnd:");
  shown("CapAmb:");

  /* What the machine and its other processes are. */
  opened("/proc/self/net/tcp");
  opened("/proc/self/mountinfo");
  opened("/proc/self/mounts");
  opened("/proc/thread-self/net/tcp");
  opened("/proc/self/stat");
  opened("/proc/self/maps");
  opened("/proc/self/status");
  fclose(out);
}
