// A request from inside, into a call that has been initialised.
#pragma once

#include "call.h"

void request_inside(struct call *call, const char *method, const char *uri, const char *body);
