// The disk with a configuration that cloud-init looks for. The input is the disk from its first
// volume descriptor on.

#include "fuzz.h"

#include <string.h>
#include <unistd.h>

#include "source.h"

enum { SYSTEM_AREA = 16 * 2048 };

static char disks[] = "/tmp/iso-fuzz-XXXXXX", path[sizeof(disks) + 1];
static int disk;

static void finish(void) {
    unlink(path);
    unlink(disks);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc, (void)argv;
    disk = mkstemp(disks);
    snprintf(path, sizeof(path), "%s1", disks);
    must(disk >= 0 && link(disks, path) == 0);
    atexit(finish);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct text text;
    const char *error = NULL;
    must(ftruncate(disk, 0) == 0);
    must(pwrite(disk, data, size, SYSTEM_AREA) == (ssize_t)size);
    if (source_iso(disks, &text, &error)) {
        must(strnlen(text.bytes, text.size + 1) <= text.size);
        free(text.bytes);
    }
    return 0;
}
