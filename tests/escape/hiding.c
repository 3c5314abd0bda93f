/* Native code that hides what it takes. Loaded by process.dlopen; -DTHREADS makes threads without end, else the first thread ends,
   so that the process shows no size any more, and another one takes memory: more than a run may, less than would hurt. */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifdef THREADS
static void *wait_for_ever(void *unused) {
  for (;;) sleep(1000);
  return unused;
}

__attribute__((constructor)) static void hide(void) {
  pthread_attr_t small;
  pthread_attr_init(&small);
  pthread_attr_setstacksize(&small, 64 << 10);
  for (int i = 0; i < 3000; i++) {
    pthread_t thread;
    if (pthread_create(&thread, &small, wait_for_ever, NULL) != 0) break;
  }
}
#else
static void *take(void *unused) {
  for (int i = 0; i < 20; i++) {
    char *memory = malloc(64 << 20);
    if (memory) memset(memory, 1, 64 << 20);
    usleep(50000);
  }
  for (;;) sleep(1000);
  return unused;
}

static void leave(int signal) {
  (void)signal;
  syscall(SYS_exit, 0);
}

__attribute__((constructor)) static void hide(void) {
  pthread_t thread;
  signal(SIGUSR2, leave);
  pthread_create(&thread, NULL, take, NULL);
  syscall(SYS_tgkill, getpid(), getpid(), SIGUSR2);
}
#endif
