/* Native code that a run leaves behind in its process. Loaded by process.dlopen; -DBURN uses a core, -DGROW takes memory, -DTHREADS
   starts threads, each of them as soon as the run is over, and -DUNLINKED holds a file that has no name any more, -DMAPPED one that is
   not even open. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void *wait_for_ever(void *unused) {
  for (;;) sleep(1000);
  return unused;
}

static void *go_on(void *unused) {
  (void)wait_for_ever;
  /* The run is over by then. */
  sleep(2);
#ifdef BURN
  for (volatile unsigned long count = 0;; count++) {
  }
#endif
#ifdef GROW
  for (int i = 0; i < 10; i++) {
    char *memory = malloc(64 << 20);
    if (memory) memset(memory, 1, 64 << 20);
  }
#endif
#ifdef THREADS
  pthread_attr_t small;
  pthread_attr_init(&small);
  pthread_attr_setstacksize(&small, 64 << 10);
  for (int i = 0; i < 60; i++) {
    pthread_t thread;
    if (pthread_create(&thread, &small, wait_for_ever, NULL) != 0) break;
  }
#endif
  return wait_for_ever(unused);
}

__attribute__((constructor)) static void leave(void) {
#if defined UNLINKED || defined MAPPED
  char path[4096];
  snprintf(path, sizeof path, "%s/left behind", getenv("TMPDIR"));
  int file = open(path, O_RDWR | O_CREAT, 0600);
  if (file < 0 || ftruncate(file, 4096) != 0) return;
  unlink(path);
#ifdef MAPPED
  mmap(NULL, 4096, PROT_READ, MAP_SHARED, file, 0);
  close(file);
#endif
#endif
  pthread_t thread;
  pthread_create(&thread, NULL, go_on, NULL);
}
