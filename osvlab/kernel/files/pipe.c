#include "poll.h"
const struct file_operations fifo_operations = {.stream = true};
