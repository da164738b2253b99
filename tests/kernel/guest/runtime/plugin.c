// A library to dlopen. NAME tells several builds apart.
#include <stdio.h>
#ifndef NAME
#define NAME "plugin"
#endif
#ifdef MODEL
#define PER_THREAD __thread __attribute__((tls_model(MODEL)))
#else
#define PER_THREAD __thread
#endif
PER_THREAD int plugin_counter = 40;
#ifdef MISSING
void nobody_has_this(void);
#endif

int plugin_next(void) {
#ifdef MISSING
    nobody_has_this();
#endif
    return ++plugin_counter;
}
const char *plugin_name(void) {
    return NAME;
}
__attribute__((constructor)) static void begin(void) {
    printf("constructor of %s\n", NAME);
}
__attribute__((destructor)) static void end(void) {
    printf("destructor of %s\n", NAME);
}
