// A file that is being received.
#pragma once

#include "call.h"

bool upload_start(struct upload *upload, const char *target); // false with errno set
bool upload_write(struct upload *upload, const char *bytes, size_t count);
bool upload_finish(struct upload *upload); // the target is now what was received
void upload_abandon(struct upload *upload);
