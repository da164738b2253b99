// What the files of the /file family share.
#pragma once

#include "call.h"
#include "files.h"

// The path of a file that a request names. False: the reply says what is wrong.
bool file_named(struct call *call, const char *name, char path[FILE_PATH_LIMIT]);

void file_status(struct call *call, const char *path); // op=GETFILESTATUS
void file_list(struct call *call, const char *path);   // op=LISTSTATUS
