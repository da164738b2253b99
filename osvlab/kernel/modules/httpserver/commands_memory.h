// Memory of the commands that commands_parse gives.
#pragma once

void commands_forget(void); // all that this thread has parsed
