// Ending an application: in the order of C++ [basic.start.term] and exit(3), destructors of
// thread-local objects, atexit functions, finalisers, stdio, and then the process.

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "linker.h"

struct destructor {
    struct destructor *next;
    void (*function)(void *);
    void *object;
};

static pthread_key_t destructors_key;
static volatile bool destructors_used; // the key exists
static pthread_once_t destructors_once = PTHREAD_ONCE_INIT;

static void run_destructors(void *list) {
    struct destructor *next = list;
    while (next) {
        struct destructor *this = next;
        next = this->next;
        pthread_setspecific(destructors_key, next); // it may register more
        this->function(this->object);
        __libc_free(this);
        next = pthread_getspecific(destructors_key);
    }
}

static void make_key(void) {
    destructors_used = pthread_key_create(&destructors_key, run_destructors) == 0;
}

// The C++ ABI's thread_local: called for each object that has a destructor.
EXPORT int __cxa_thread_atexit_impl(void (*function)(void *), void *object, void *library);
EXPORT int __cxa_thread_atexit_impl(void (*function)(void *), void *object, void *library) {
    (void)library; // objects are never unloaded
    struct destructor *entry = __libc_malloc(sizeof(*entry));
    if (!entry)
        return -1;
    pthread_once(&destructors_once, make_key);
    *entry = (struct destructor){pthread_getspecific(destructors_key), function, object};
    return pthread_setspecific(destructors_key, entry);
}

EXPORT _Noreturn void exit(int status) {
    if (destructors_used)
        run_destructors(pthread_getspecific(destructors_key));
    __funcs_on_exit();
    __libc_exit_fini();
    __stdio_exit();
    _exit(status);
}
