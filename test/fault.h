/* fault.h - puts test/fault.c in libc's place: the compiler includes it before each product file of the fault build.
 * The headers come first, since some libraries give a function another name there (musl's clock_gettime on 32 bits). */
#ifndef FAULT_H
#define FAULT_H

#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

void *fault_malloc(size_t size);
void *fault_calloc(size_t count, size_t size);
void *fault_realloc(void *p, size_t size);
ssize_t fault_read(int fd, void *buffer, size_t size);
ssize_t fault_write(int fd, const void *buffer, size_t size);
int fault_open(const char *name, int flags, ...);
int fault_close(int fd);
int fault_ftruncate(int fd, off_t size);
int fault_fsync(int fd);
int fault_rename(const char *from, const char *to);
int fault_unlink(const char *name);
int fault_fchmod(int fd, mode_t mode);
int fault_stat(const char *name, struct stat *status);
int fault_fstat(int fd, struct stat *status);
int fault_access(const char *name, int mode);
ssize_t fault_readlink(const char *name, char *buffer, size_t size);
int fault_fcntl(int fd, int command, ...);
int fault_socket(int family, int type, int protocol);
int fault_connect(int fd, const struct sockaddr *name, socklen_t length);
int fault_getsockopt(int fd, int level, int option, void *value, socklen_t *length);
ssize_t fault_send(int fd, const void *buffer, size_t size, int flags);
ssize_t fault_recv(int fd, void *buffer, size_t size, int flags);
int fault_poll(struct pollfd *fds, nfds_t n, int timeout);
int fault_clock_gettime(clockid_t clock, struct timespec *t);
int fault_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **result);
void fault_exit(int status);

#ifndef FAULT_C /* where the real ones are called */
#define malloc        fault_malloc
#define calloc        fault_calloc
#define realloc       fault_realloc
#define read          fault_read
#define write         fault_write
#define open          fault_open
#define close         fault_close
#define ftruncate     fault_ftruncate
#define fsync         fault_fsync
#define rename        fault_rename
#define unlink        fault_unlink
#define fchmod        fault_fchmod
#define access        fault_access
#define readlink      fault_readlink
#define fcntl         fault_fcntl
#define socket        fault_socket
#define connect       fault_connect
#define getsockopt    fault_getsockopt
#define send          fault_send
#define recv          fault_recv
#define poll          fault_poll
#define clock_gettime fault_clock_gettime
#define getaddrinfo   fault_getaddrinfo
#define _exit         fault_exit

#define stat(name, status) fault_stat(name, status) /* not the struct */
#define fstat(fd, status)  fault_fstat(fd, status)
#endif

#endif
