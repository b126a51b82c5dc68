/* fault.c - the libc calls that the fault build of the tap makes in place of the real ones.
 *
 * The five product files are compiled with fault.h in front, so each such call comes here.
 * FAULT=CALL:N[+][=ERRNO],...  the N-th CALL fails, with + all from then on too; writes to the log don't count.  CALL is
 *                  the name that fault_due is given below; ERRNO is the number of another error than the usual one
 * FAULT_CRASH=N    the process dies of SIGKILL before the N-th of the calls that change files: open that creates, write,
 *                  ftruncate, fsync, rename, unlink; with rename+N they are counted from the first rename on
 * FAULT_HIT=FILE   is created once a call was made to fail or hangs, or the process dies
 * FAULT_NOW=N      the real-time clock stands still, N seconds after 1970
 * FAULT_RESOLVER=hang  a name is never resolved
 * FAULT_SPEED=N    the monotonic clock runs N times as fast, and poll waits so much shorter: pauses pass quickly
 * FAULT_LEAP=N     a poll that nothing ends waits N times shorter than by the monotonic clock: pauses pass quickly, and
 *                  however slow the machine is, no deadline passes but by waiting
 * FAULT_SPACE=N    the disk has room for N bytes: the write that goes beyond is cut short, the next one fails */
#define FAULT_C
#include "fault.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

#ifdef COVERAGE
void __gcov_dump(void); /* of GCC's libgcov */
#endif

static long long env_number(const char *name, long long absent)
{
	const char *text = getenv(name);

	return text ? strtoll(text, NULL, 10) : absent;
}

static void fault_tell(void)
{
	const char *name = getenv("FAULT_HIT");
	int fd = name ? open(name, O_WRONLY | O_CREAT, 0600) : -1;

	if (fd >= 0)
		close(fd);
}

/* If this part of FAULT is about the call: is it one of those to fail?  Then with which error. */
static bool fault_meets(const char *part, const char *call, unsigned long *calls, int *errnum)
{
	size_t n = strlen(call);
	unsigned long wanted;
	bool all;
	char *end;

	if (strncmp(part, call, n) != 0 || part[n] != ':')
		return false;
	wanted = strtoul(part + n + 1, &end, 10);
	all = *end == '+';
	if (end[all] == '=')
		*errnum = atoi(end + all + 1);
	++*calls;
	return *calls == wanted || (all && *calls > wanted);
}

/* Is this one of the calls to fail?  Counts only the calls of the kinds that FAULT names. */
static bool fault_due(const char *call, int errnum)
{
	enum { PARTS = 2 };
	static unsigned long calls[PARTS];
	const char *part = getenv("FAULT");
	size_t i;

	for (i = 0; i < PARTS && part; i++) {
		if (fault_meets(part, call, &calls[i], &errnum)) {
			fault_tell();
			errno = errnum;
			return true;
		}
		part = strchr(part, ',');
		part += part != NULL;
	}
	return false;
}

/* Calls that change files, one of which may be the last. */
static void fault_crash(bool renames)
{
	static const char late[] = "rename+";
	static long long calls;
	static bool renamed;
	const char *wanted = getenv("FAULT_CRASH");
	bool is_late = wanted && strncmp(wanted, late, strlen(late)) == 0;

	renamed = renamed || renames;
	if (!wanted || (is_late && !renamed) || ++calls != strtoll(wanted + (is_late ? strlen(late) : 0), NULL, 10))
		return;
	fault_tell();
	raise(SIGKILL);
}

/* How much of a write finds room on the disk.  0: nothing does. */
static size_t fault_room(size_t size)
{
	static long long written;
	long long left = env_number("FAULT_SPACE", LLONG_MAX) - written;

	if (left <= 0)
		return 0;
	if ((long long)size > left)
		size = (size_t)left;
	written += (long long)size;
	return size;
}

void *fault_malloc(size_t size)
{
	return fault_due("malloc", ENOMEM) ? NULL : malloc(size);
}

void *fault_calloc(size_t count, size_t size)
{
	return fault_due("calloc", ENOMEM) ? NULL : calloc(count, size);
}

void *fault_realloc(void *p, size_t size)
{
	return fault_due("realloc", ENOMEM) ? NULL : realloc(p, size);
}

ssize_t fault_read(int fd, void *buffer, size_t size)
{
	return fault_due("read", EIO) ? -1 : read(fd, buffer, size);
}

ssize_t fault_write(int fd, const void *buffer, size_t size)
{
	/* Log lines are not at stake: only what a target reads. */
	if (fd == STDERR_FILENO)
		return write(fd, buffer, size);
	fault_crash(false);
	if (fault_due("write", EIO))
		return -1;
	if (size && !(size = fault_room(size))) {
		fault_tell();
		errno = ENOSPC;
		return -1;
	}
	return write(fd, buffer, size);
}

int fault_open(const char *name, int flags, ...)
{
	mode_t mode = 0;
	va_list args;

	if (flags & O_CREAT) {
		va_start(args, flags);
		mode = (mode_t)va_arg(args, int); /* as a narrower one is passed */
		va_end(args);
		fault_crash(false);
	}
	return fault_due("open", EIO) ? -1 : open(name, flags, mode);
}

/* A descriptor is gone even if its close fails. */
int fault_close(int fd)
{
	int result = close(fd);

	return fault_due("close", EIO) ? -1 : result;
}

int fault_ftruncate(int fd, off_t size)
{
	fault_crash(false);
	return fault_due("ftruncate", EIO) ? -1 : ftruncate(fd, size);
}

int fault_fsync(int fd)
{
	fault_crash(false);
	return fault_due("fsync", EIO) ? -1 : fsync(fd);
}

int fault_rename(const char *from, const char *to)
{
	fault_crash(true);
	return fault_due("rename", EIO) ? -1 : rename(from, to);
}

int fault_unlink(const char *name)
{
	fault_crash(false);
	return fault_due("unlink", EIO) ? -1 : unlink(name);
}

int fault_fchmod(int fd, mode_t mode)
{
	return fault_due("fchmod", EPERM) ? -1 : fchmod(fd, mode);
}

int fault_stat(const char *name, struct stat *status)
{
	return fault_due("stat", EIO) ? -1 : stat(name, status);
}

int fault_fstat(int fd, struct stat *status)
{
	return fault_due("fstat", EIO) ? -1 : fstat(fd, status);
}

int fault_access(const char *name, int mode)
{
	return fault_due("access", EIO) ? -1 : access(name, mode);
}

ssize_t fault_readlink(const char *name, char *buffer, size_t size)
{
	return fault_due("readlink", EIO) ? -1 : readlink(name, buffer, size);
}

int fault_fcntl(int fd, int command, ...)
{
	va_list args;
	int result;

	if (command == F_SETLK ? fault_due("lock", ENOLCK) : command != F_GETFD && fault_due("fcntl", EIO))
		return -1;
	va_start(args, command);
	result = command == F_SETLK                         ? fcntl(fd, command, va_arg(args, struct flock *))
		 : command == F_SETFL || command == F_SETFD ? fcntl(fd, command, va_arg(args, int))
							    : fcntl(fd, command);
	va_end(args);
	return result;
}

int fault_socket(int family, int type, int protocol)
{
	return fault_due("socket", EMFILE) ? -1 : socket(family, type, protocol);
}

/* It goes on if only the waiting for it fails. */
int fault_connect(int fd, const struct sockaddr *name, socklen_t length)
{
	int result = connect(fd, name, length);

	return fault_due("connect", ENETUNREACH) ? -1 : result;
}

int fault_getsockopt(int fd, int level, int option, void *value, socklen_t *length)
{
	return fault_due("getsockopt", ENOBUFS) ? -1 : getsockopt(fd, level, option, value, length);
}

ssize_t fault_send(int fd, const void *buffer, size_t size, int flags)
{
	return fault_due("send", EIO) ? -1 : send(fd, buffer, size, flags);
}

ssize_t fault_recv(int fd, void *buffer, size_t size, int flags)
{
	return fault_due("recv", EIO) ? -1 : recv(fd, buffer, size, flags);
}

static long long leapt_ms; /* by which the monotonic clock is ahead */

static int poll_leaping(struct pollfd *fds, nfds_t n, int timeout, long long leap)
{
	int wait = (int)((timeout + leap - 1) / leap), result = poll(fds, n, wait);

	if (result == 0)
		leapt_ms += timeout - wait;
	return result;
}

int fault_poll(struct pollfd *fds, nfds_t n, int timeout)
{
	long long speed = env_number("FAULT_SPEED", 1), leap = env_number("FAULT_LEAP", 1);

	if (fault_due("poll", EIO))
		return -1;
	if (timeout > 0 && leap > 1)
		return poll_leaping(fds, n, timeout, leap);
	if (timeout > 0 && speed > 1)
		timeout = (int)((timeout + speed - 1) / speed);
	return poll(fds, n, timeout);
}

int fault_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **result)
{
	const char *fault = getenv("FAULT_RESOLVER");

	while (fault && strcmp(fault, "hang") == 0) {
		fault_tell();
		pause();
	}
	return getaddrinfo(node, service, hints, result);
}

/* Monotonic time passes FAULT_SPEED times as fast as it does, and is ahead by what poll leapt over. */
int fault_clock_gettime(clockid_t clock, struct timespec *t)
{
	static time_t start;
	long long now = env_number("FAULT_NOW", 0), speed = env_number("FAULT_SPEED", 1);
	int result = clock_gettime(clock, t);
	long long ns;

	if (result != 0)
		return result;
	if (clock == CLOCK_REALTIME && now) {
		t->tv_sec = (time_t)now;
		t->tv_nsec = 0;
	} else if (clock == CLOCK_MONOTONIC && speed > 1) {
		if (!start)
			start = t->tv_sec;
		ns = ((long long)(t->tv_sec - start) * 1000000000 + t->tv_nsec) * speed;
		t->tv_sec = start + (time_t)(ns / 1000000000);
		t->tv_nsec = (long)(ns % 1000000000);
	}
	if (clock == CLOCK_MONOTONIC) {
		ns = t->tv_nsec + leapt_ms % 1000 * 1000000;
		t->tv_sec += (time_t)(leapt_ms / 1000 + ns / 1000000000);
		t->tv_nsec = (long)(ns % 1000000000);
	}
	return 0;
}

/* An end without exit takes the counters of a coverage build along. */
void fault_exit(int status)
{
#ifdef COVERAGE
	__gcov_dump();
#endif
	_exit(status);
}
